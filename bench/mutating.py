"""Breaks one package in many places, one at a time, and runs its tests on each: `bench.mutants` starts this in a copy of
the repository. python -m bench.mutating FOLDER SIZE SEED TEST [TEST ...]

Of all mutants that mutmut makes of dlqanalysis/FOLDER, SIZE are drawn; mutants.json tells what became of each. Those
that mutants.json names already are not tried again.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

CONFIG = """
[tool.mutmut]
source_paths = ["dlqanalysis"]
only_mutate = ["dlqanalysis/{folder}/*"]
also_copy = ["queries", "notebooks", "docs", "bench", ".ci", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
timeout_constant = 15.0
process_isolation = "forkserver"
forkserver_warmup = "import"
preload_modules_file = "preload.txt"
"""
#: imported once, before each mutant's process is forked; none of them has threads that a fork would lose
PRELOAD = ["pytest", "pandas", "pyarrow", "sqlalchemy", "psycopg", "redis", "pydantic"]
#: texts are left alone: a sentence with two letters more, or in capitals, is no broken thought
LEFT_ALONE = "operator_string"


def main(folder: str, size: int, seed: int, tests: list[str]) -> None:
    """Draw, try, and write mutants.json: {"made": all mutants, "drawn": {name: {"became": ..., "change": ...}}}."""
    kept = Path("mutants.json")
    told = json.loads(kept.read_text("utf-8"))["drawn"] if kept.exists() else {}
    with Path("pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(CONFIG.format(folder=folder, tests=json.dumps(tests)))
    Path("preload.txt").write_text("\n".join(PRELOAD), encoding="utf-8")
    from mutmut import __main__ as mutmut  # it reads pyproject.toml when it is imported
    from mutmut.mutation import diff_apply, mutators
    from mutmut.stats import status_by_exit_code

    mutators.mutation_operators[:] = [  # type: ignore[index]
        pair for pair in mutators.mutation_operators if pair[1].__name__ != LEFT_ALONE
    ]
    collect, drawn, made = mutmut.collect_source_file_mutation_data, [], []

    def draw(**options: Any) -> Any:
        mutants, by_path = collect(**options)
        made.extend(name for _, name, _ in mutants)
        wanted = set(random.Random(seed).sample(sorted(made), min(size, len(made))))
        drawn.extend(mutant for mutant in mutants if mutant[1] in wanted - told.keys())
        return list(drawn), by_path

    mutmut.collect_source_file_mutation_data = draw
    mutmut.cli.main(["run", "--max-children", "2"], standalone_mode=False)
    for data, name, _ in drawn:
        data.load()
        became = status_by_exit_code[data.exit_code_by_key[name]]
        change = "" if became == "killed" else diff_apply.get_diff_for_mutant(name)
        told[name] = {"became": became, "change": change}
    kept.write_text(json.dumps({"made": len(made), "drawn": told}), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
