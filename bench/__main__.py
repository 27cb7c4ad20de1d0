"""Runs the benches, or the ones named; writes each one's section of RESULTS.md, its figures to RESULTS.json, and at
the end all goals beside what was measured. A bench that fails is told and keeps its last figures; the others go on."""

import importlib
import json
import sys
import time
from pathlib import Path

from bench import data, goals
from bench.beside import Failed
from bench.report import machine, write

HERE = Path(__file__).parent
#: run only when they are named: hours of faults, a table of ten million rows, and broken code
NAMED_ONLY = {"mutants", "reliability", "ten_million"}
KEEPS_ITSELF = {"reliability"}  #: writes a page of its own
NOT_BENCHES = {"__init__", "__main__", "beside", "data", "goals", "messages", "mutating", "others", "report", "timing", "weeks"}  # fmt: skip


def main(names: list[str]) -> int:
    """0 when every bench named ran. A bench is a module of this folder with `run() -> Section`."""
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHES)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"There is no bench '{unknown[0]}'. Known: {', '.join(known)}.")
    failed = []
    with data.shared_servers():
        for name in names or [name for name in known if name not in NAMED_ONLY]:
            try:
                _run(name)
            except Failed as error:
                failed.append(name)
                sys.stdout.write(f"## {name}\n\nFAILED: {error}\n\n")
                sys.stdout.flush()
    _say("goals", goals.table(_kept()))
    if failed:
        sys.stdout.write(f"Failed, and left with their last figures: {', '.join(failed)}.\n")
    return len(failed)


def _run(name: str) -> None:
    here, module, begun = machine(), importlib.import_module(f"bench.{name}"), time.monotonic()
    if name in KEEPS_ITSELF:
        sys.stdout.write("\n".join([f"## {name}", "", here, "", *module.run(), ""]))
        return
    section = module.run()
    _keep(name, section, here)
    _say(name, [here, "", *section.lines])
    sys.stdout.write(f"({name} took {time.monotonic() - begun:.0f} s)\n\n")


def _kept() -> dict[str, dict]:
    path = HERE / "RESULTS.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _keep(name: str, section: goals.Section, machine: str) -> None:
    results = _kept() | {name: goals.kept(section, machine)}
    text = json.dumps(dict(sorted(results.items())), indent=1)
    (HERE / "RESULTS.json").write_text(f"{text}\n", encoding="utf-8")


def _say(name: str, lines: list[str]) -> None:
    text = "\n".join([f"## {name}", "", *lines, ""])
    write(HERE / "RESULTS.md", name, text)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
