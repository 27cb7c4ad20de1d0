"""python -m dlqanalysis.cli: what `dlq` is, where scripts are not on the PATH."""

from dlqanalysis.cli import main

main()
