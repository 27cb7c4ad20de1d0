"""P1 to P15: what each bench measured of them, in one table. A bench names its figures where it measures them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bench.beside import Result

GOALS = [f"P{n}" for n in range(1, 16)]


class Figure(NamedTuple):
    """A ratio, count or size that a bench measured, and where it should be."""

    goal: str
    what: str
    measured: float
    sign: str  #: "<=" or ">="
    bound: float

    @property
    def met(self) -> bool:
        """Whether it is there."""
        return self.measured <= self.bound if self.sign == "<=" else self.measured >= self.bound


class Section(NamedTuple):
    """What a bench has to say: the lines of its section, its figures, and the ways that it ran."""

    lines: list[str]
    figures: list[Figure]
    ways: Mapping[str, Result] = {}


def at_most(goal: str, what: str, measured: float, bound: float) -> Figure:
    """A figure that should not be above a bound."""
    return Figure(goal, what, float(measured), "<=", bound)


def at_least(goal: str, what: str, measured: float, bound: float) -> Figure:
    """A figure that should not be below a bound."""
    return Figure(goal, what, float(measured), ">=", bound)


def kept(section: Section, machine: str) -> dict[str, Any]:
    """A section as RESULTS.json keeps it."""
    ways = {
        name: {"seconds": one.seconds, "megabytes": one.megabytes, "spread": one.spread}
        for name, one in section.ways.items()
    }
    at = datetime.now(UTC).isoformat(timespec="minutes")
    figures = [one._asdict() for one in section.figures]
    return {"at": at, "machine": machine, "figures": figures, "ways": ways}


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All figures that were measured, by goal; a goal that nothing was measured of says so."""
    found = [
        (Figure(**figure), bench, result["at"])
        for bench, result in sorted(results.items())
        for figure in result["figures"]
    ]
    rows, met, measured = [], 0, 0
    for goal in GOALS:
        mine = [one for one in found if one[0].goal == goal]
        measured += bool(mine)
        met += bool(mine) and all(figure.met for figure, _, _ in mine)
        rows += [
            f"| {goal} | {f.what} | {f.sign} {_number(f.bound)} | {_number(f.measured)}"
            f" | {'yes' if f.met else '**no**'} | {bench} | {at[5:16].replace('T', ' ')} |"
            for f, bench, at in mine
        ] or [f"| {goal} | not measured | | | **no** | | |"]
    times = sorted(at for _, _, at in found)
    return [
        f"{met} of {len(GOALS)} goals met in all their figures, {measured} measured"
        f"{f', from {times[0]} to {times[-1]}' if times else ''}. Less than 1 is faster or smaller than what is divided by.",
        "",
        "| | figure | goal | measured | met | bench | at (UTC) |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
