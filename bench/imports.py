"""What a first line costs: importing dlqanalysis, and its verbs, beside pandas. Each in a new interpreter."""

import subprocess
import sys
import time
from statistics import median

REPEAT = 7
WAYS = {
    "python": "pass",
    "import pandas": "import pandas",
    "import dlqanalysis as dlq": "import dlqanalysis as dlq",
    "with the verbs load, classify, fingerprint": "import dlqanalysis as dlq; dlq.load, dlq.classify, dlq.fingerprint",
    "pandas, polars, pyarrow.compute": "import pandas, polars, pyarrow.compute",
}


def run(repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeat):
        for name, code in WAYS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken[name].append(time.perf_counter() - start)
    seconds = {name: median(times) for name, times in taken.items()}
    pandas = seconds["import pandas"]
    return [
        "| code | s | / import pandas |",
        "|---|---|---|",
        *(f"| {name} | {one:.3f} | {one / pandas:.2f} |" for name, one in seconds.items()),
    ]
