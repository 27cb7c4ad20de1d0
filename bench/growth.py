"""From ten thousand failures to a million: time and memory of the whole road, and of a weekly report's numbers by a
summary that holds no rows. Ten million have a bench of their own (`ten_million`)."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import data
from bench.beside import Result, beside
from bench.goals import Figure, Section, at_most
from bench.whole import ours as whole

SIZES = (10_000, 100_000, 1_000_000)
WHOLE, SUMMARY = "load, classify, fingerprint, groups", "summary of it"
Found = list[tuple[str, int, Result]]  #: way, failures, what it took


def run(sizes: tuple[int, ...] = SIZES, repeat: int = 3) -> Section:
    """The section, P14 as far as a million."""
    found: Found = []
    for rows in sizes:
        with data.postgres(rows) as url:
            ways = {WHOLE: whole, SUMMARY: summary}
            found += [(n, rows, one) for n, one in beside(ways, repeat, url=url).items()]
    figures, fits = grown(found)
    return Section(
        [*table(found), "", f"Fits: {'; '.join(fits)}."],
        figures,
        {f"{n}, {rows:,}": one for n, rows, one in found},
    )


def grown(found: Found) -> tuple[list[Figure], list[str]]:
    """How time and memory of each way grow from its smallest size to its largest, as figures and in words."""
    fits, figures = [], []
    for name in dict.fromkeys(name for name, _, _ in found):
        points = [(rows, one.seconds, one.megabytes) for n, rows, one in found if n == name]
        most = f"{max(p[0] for p in points):,}"
        for what, at, unit in (("time", 1, "s"), ("memory", 2, "MB")):
            power, slope = _fit([p[0] for p in points], [p[at] for p in points])
            fits.append(
                f"{what} of {name}: {slope:.3g} {unit} for a million more, grows as rows to the {power:.2f}"
            )
            figures.append(
                at_most("P14", f"{what} of {name} grows to {most} as rows to the power of", power, 1.1)
            )  # fmt: skip
    return figures, fits


def table(found: Found) -> list[str]:
    """What each way took at each size."""
    return [
        "| way | failures | s | s for a million | peak MB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {rows:,} | {one.seconds:.2f} | {one.seconds * 1e6 / rows:.2f} | {one.megabytes:,.0f} |"
            for name, rows, one in sorted(found, key=lambda row: (row[0], row[1]))
        ),
    ]


def _fit(rows: list[int], values: list[float]) -> tuple[float, float]:
    """The power that what is added from size to size grows by, and what a million more rows add."""
    slope = (values[-1] - values[0]) / (rows[-1] - rows[0]) * 1e6
    extra = np.maximum(np.array(values[1:]) - values[0], 1e-6)
    power = (
        np.polyfit(np.log(np.array(rows[1:]) - rows[0]), np.log(extra), 1)[0]
        if len(rows) > 2
        else 1.0
    )
    return float(power), slope


def summary(url: str) -> Iterator[Any]:
    """dlq.summary, and what a weekly report counts in it."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    assert dlq.summary and dlq.classify and dlq.fingerprint and dlq.groups
    yield
    failures = dlq.summary(source, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    dlq.coverage(failures), dlq.timeline(failures)
    yield len(dlq.groups(failures))
