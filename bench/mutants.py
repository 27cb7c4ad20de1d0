"""How many broken places the tests see: mutants of the packages that decide what is sent, and what is shown. Runs when it
is named (`make bench ONLY=mutants`); about an hour on two cores. DLQ_TEST_*_URL name services that are kept up, as for
the tests. The survivors are written out in reports/mutants/; docs/decisions/0018-mutants.md tells why they live."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.beside import ROOT, Failed
from bench.goals import Section

SIZE, SEED, PATIENCE = 60, 20261129, 3600  #: PATIENCE: seconds for one package
GOAL = 0.85
#: package -> the tests that are run on each of its mutants (of these, those that pass through the broken function)
TESTS = {
    "plan": ("plan", "plan_care", "repair"),
    "journal": ("journal", "notes", "replay", "replay_care", "plan", "silence"),
    "replay": (
        "replay",
        "replay_care",
        "resume",
        "preflight",
        "probe",
        "accounting",
        "silence",
        "pace",
    ),
    "signals": ("signals", "rules", "classify", "traps"),
    "fingerprint": ("fingerprint", "summary", "classify"),
    "redact": ("redact", "redact_labelled", "redact_draws"),
}
SEEN = ("killed", "timeout", "segfault")  #: a test fails, or never ends


def run() -> Section:
    """The section: of each package how many mutants there are, were drawn, and were seen."""
    lines = ["| package | mutants | drawn | killed | timeout | survived | no test | seen |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for package in TESTS:
        made, drawn = tried(package)
        became = Counter(one["became"] for one in drawn.values())
        seen = sum(became[name] for name in SEEN) / len(drawn)
        lines.append(
            f"| {package} | {made:,} | {len(drawn)} | {became['killed'] + became['segfault']} | {became['timeout']} |"
            f" {became['survived']} | {became['no tests']} | {seen:.0%} |"
        )
    return Section(
        [*lines, "", f"Of each, {GOAL:.0%} should be seen: killed by a test, or kept from ending."],
        [],
    )


def tried(
    package: str, size: int = SIZE, seed: int = SEED
) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many mutants the package has, and what became of those drawn: {name: {"became": ..., "change": ...}}.
    Those that the tests saw in an earlier run are not tried again; remove reports/mutants to begin anew."""
    kept = ROOT / "reports" / "mutants"
    kept.mkdir(parents=True, exist_ok=True)
    seen = kept / f"{package}.json"
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        (kept / f"{package}.log").open("w") as log,
    ):
        _copy(Path(folder))
        if seen.exists():
            shutil.copy(seen, Path(folder) / "mutants.json")
        tests = [f"tests/test_{name}.py" for name in TESTS[package]]
        command = [sys.executable, "-m", "bench.mutating", package, str(size), str(seed), *tests]
        try:
            subprocess.run(
                command, cwd=folder, stdout=log, stderr=log, timeout=PATIENCE, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Failed(f"mutants of {package}: {error}; see {log.name}") from error
        told = json.loads((Path(folder) / "mutants.json").read_text(encoding="utf-8"))
    lived = [
        f"{name}: {one['became']}\n{one['change']}"
        for name, one in told["drawn"].items()
        if one["became"] not in SEEN
    ]
    (kept / f"{package}.txt").write_text("\n".join(lived), encoding="utf-8")
    again = {n: one for n, one in told["drawn"].items() if one["became"] in SEEN}
    seen.write_text(json.dumps({**told, "drawn": again}), encoding="utf-8")
    return told["made"], told["drawn"]


def _copy(folder: Path) -> None:
    """What git knows, as it is now: a mutant is written into it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
