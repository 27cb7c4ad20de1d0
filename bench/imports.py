"""What a first line costs: importing dlqanalysis, and its verbs, beside pandas. Each in a new interpreter."""

import subprocess
import sys
import time
from statistics import median

from bench.beside import ROOT
from bench.goals import Section, at_most

REPEAT = 7
OURS, PANDAS = "import dlqanalysis as dlq", "import pandas"
TABLE = "load_ext and the first table of the demo's export"
_NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "dlqanalysis")
shell.run_cell("import dlqanalysis as dlq\\nfailures = dlq.load('notebooks/data/demo_export.parquet', since=None)\\nfailures = failures.pipe(dlq.classify).pipe(dlq.fingerprint)\\ntable = dlq.groups(failures)").raise_error()
print(shell.user_ns["table"].head().to_html())
"""
WAYS = {
    "python": "pass",
    PANDAS: "import pandas",
    OURS: "import dlqanalysis as dlq",
    "with the verbs load, classify, fingerprint": "import dlqanalysis as dlq; dlq.load, dlq.classify, dlq.fingerprint",
    "pandas, polars, pyarrow.compute": "import pandas, polars, pyarrow.compute",
    TABLE: _NOTEBOOK,
}


def run(repeat: int = REPEAT) -> Section:
    """The section, P12's start-up."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeat):
        for name, code in WAYS.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
            )
            taken[name].append(time.perf_counter() - start)
    seconds = {name: median(times) for name, times in taken.items()}
    pandas = seconds[PANDAS]
    figures = [
        at_most("P12", "import dlqanalysis / import pandas", seconds[OURS] / pandas, 1.2),
        at_most("P12", "load_ext and the first table, in a new interpreter, s", seconds[TABLE], 2),
    ]
    lines = [
        "| code | s | / import pandas |",
        "|---|---|---|",
        *(f"| {name} | {one:.3f} | {one / pandas:.2f} |" for name, one in seconds.items()),
    ]
    return Section(lines, figures)
