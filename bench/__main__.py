"""Runs the benches, or the ones named, and writes each one's section of RESULTS.md."""

import importlib
import sys
from pathlib import Path

from bench.report import machine, write

HERE = Path(__file__).parent
#: runs for hours and writes a page of its own: only when it is named
NAMED_ONLY = {"reliability"}
NOT_BENCHES = {"__init__", "__main__", "beside", "data", "messages", "others", "report", "timing"}


def main(names: list[str]) -> int:
    """0 when every bench named ran. A bench is a module of this folder with `run() -> list of lines`."""
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHES)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"There is no bench '{unknown[0]}'. Known: {', '.join(known)}.")
    for name in names or [name for name in known if name not in NAMED_ONLY]:
        module = importlib.import_module(f"bench.{name}")
        lines = module.run()
        text = "\n".join([f"## {name}", "", f"{machine()}", "", *lines, ""])
        write(HERE / "RESULTS.md", name, text)
        sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
