"""Random weeks of failures: quiet ones, in which nothing begins, and the same with one story planted in them.

A quiet week is not a calm one: groups of very different sizes and rhythms (round the clock, office hours, no weekends,
a nightly job), days busier than others, and failures that come in clumps, as retries and batches do.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

START = pd.Timestamp("2026-10-05T00:00:00Z")  # a Monday
HOUR = pd.Timedelta("1h")
RHYTHMS = ("steady", "office", "weekdays", "nightly", "clock")
TENANTS = tuple(f"tenant-{number}" for number in range(12))
#: exception, message: what is usual somewhere; a number in it differs from row to row
_USUAL = (
    ("TimeoutError", "read timed out after {n} ms"),
    ("ValueError", "invalid literal for int() with base 10: '{n}'"),
    ("KeyError", "'field_{k}'"),
    ("IntegrityError", 'duplicate key value violates unique constraint "uq_{k}"'),
    ("ConnectionError", "connection to 10.0.0.{n} refused"),
    ("HTTPError", "422 Client Error: Unprocessable Entity for url: https://api{k}.example/x/{n}"),
    ("CardError", "card declined for order {n}"),
    ("RenderError", "template {k} has no block for {n}"),
)

Hours = npt.NDArray[np.float64]


@dataclass
class Week:
    """Failures (records for from_records), deploys, and what was planted: nothing in a quiet week."""

    records: list[dict[str, Any]]
    deploys: pd.DataFrame
    days: int
    story: str = ""  #: what was planted
    onset: pd.Timestamp | None = None  #: of its first failure; none where it has no moment
    names: tuple[str, ...] = field(default=())  #: words that one sentence about it must have


def rhythm(rng: np.random.Generator, count: int, days: int, kind: str) -> Hours:
    """Hours after the start of `count` failures that come in a rhythm, with days that are busier than others."""
    hours = np.arange(days * 24)
    weight = np.ones(len(hours))
    if kind in ("office", "weekdays", "clock"):
        moved = hours >= days * 12 if kind == "clock" else 0  # the clocks go back in the middle
        weight = 0.2 + np.exp(-((((hours - moved) % 24 - 13) / 4.5) ** 2))
    if kind == "weekdays":
        weight = weight * np.where(hours // 24 % 7 >= 5, 0.1, 1.0)
    if kind == "nightly":
        weight = np.where(hours % 24 == 2, 20.0, 0.2)
    weight = weight * np.repeat(rng.gamma(20, 1 / 20, days), 24)  # about a fifth up or down
    return rng.choice(hours, count, p=weight / weight.sum()) + rng.random(count)


def clumped(rng: np.random.Generator, hours: Hours, mean: float) -> Hours:
    """Each of these with some more right behind it, `mean` in all: what a batch or a retry makes of one error."""
    more = rng.geometric(1 / mean, len(hours))
    return np.repeat(hours, more) + np.where(
        np.arange(more.sum()) == np.repeat(np.cumsum(more) - more, more),
        0,
        rng.exponential(0.03, more.sum()),
    )


def rows(rng: np.random.Generator, hours: Iterable[float], task: str, queue: str, kind: str, message: str,
         number: int = 0, **payload: Any) -> list[dict[str, Any]]:  # fmt: skip
    """Records of one group."""
    made = []
    for hour in hours:
        tenant = TENANTS[int(len(TENANTS) * rng.random() ** 1.5)]
        made.append(
            {"failed_at": (START + float(hour) * HOUR).floor("us"), "task_name": task, "queue": queue,
             "exception_type": kind, "worker": f"w{rng.integers(1, 5)}", "status": "failed",
             "exception_message": message.format(n=rng.integers(1000, 99999), k=number),
             "task_id": f"{rng.integers(2**62):x}", "args": [],
             "kwargs": {"tenant": tenant, "record": int(rng.integers(1, 10**7)), **payload}}
        )  # fmt: skip
    return made


def quiet(seed: int, clumps: bool = True) -> Week:
    """A week or two in which nothing begins."""
    rng = np.random.default_rng([2026, seed])
    days = int(rng.choice([7, 14]))
    records: list[dict[str, Any]] = []
    for number in range(int(rng.integers(2, 16))):
        count = int(np.clip(rng.lognormal(3.2, 1.4), 1, 800))
        kind, message = _USUAL[rng.integers(len(_USUAL))]
        hours = rhythm(rng, count, days, str(rng.choice(RHYTHMS)))
        if clumps and rng.random() < 0.5:
            hours = clumped(rng, hours[: max(1, count // 2)], float(rng.uniform(1.2, 3)))
        hours = hours[hours < days * 24]
        records += rows(
            rng, hours, f"app.tasks.job_{number}", f"q{number % 5}", kind, message, number
        )
    at = np.sort(rng.uniform(0, days * 24, int(rng.integers(0, 12))))
    deploys = pd.DataFrame(
        {"at": [START + hour * HOUR for hour in at], "service": "app", "kind": "deploy", "text": "",
         "version": [f"1.{number}" for number in range(len(at))]}
    )  # fmt: skip
    deploys["at"] = pd.to_datetime(deploys["at"], utc=True)
    return Week(records, deploys, days)


# -- stories -------------------------------------------------------------------------------------------------------


def planted(seed: int, story: str, clumps: bool = True) -> Week:
    """A quiet week with one story in it."""
    week = quiet(seed, clumps)
    rng = np.random.default_rng([77, seed, STORIES.index(story)])
    week.story = story
    _PLANT[story](rng, week)
    return week


def _at(rng: np.random.Generator, week: Week, low: float = 0.3, high: float = 0.9) -> float:
    """When it begins, in hours: not so early that nobody knows what was usual."""
    return float(rng.uniform(low, high) * week.days * 24)


def _begin(week: Week, hours: Hours, *names: str) -> None:
    week.onset, week.names = (START + float(hours.min()) * HOUR).floor("us"), names


def _provider_outage(rng: np.random.Generator, week: Week) -> None:
    """One provider is down for a quarter of an hour to six hours: several tasks in several queues."""
    start, length = _at(rng, week), float(rng.uniform(0.25, 6))
    tasks = int(rng.integers(3, 6))
    each = [start + length * rng.random(int(rng.integers(15, 80))) for _ in range(tasks)]
    for number, hours in enumerate(each):
        week.records += rows(rng, hours, f"app.tasks.pay_{number}", f"pay{number}", "ConnectionError",
                             "HTTPSConnectionPool(host='pay.example', port=443): Max retries exceeded")  # fmt: skip
    _begin(week, np.concatenate(each), f"{tasks} kinds of task in {tasks} queues")


def _bad_deploy(rng: np.random.Generator, week: Week) -> None:
    """A release at night breaks a task for good."""
    end = week.days * 24
    start = float(
        rng.integers(int(week.days * 0.3) + 1, max(int(week.days * 0.9), 4)) * 24
    ) + rng.uniform(0, 5)
    hours = np.append(start, start + np.cumsum(rng.exponential(1 / rng.uniform(1, 20), 3000)))
    hours = hours[hours < end]
    week.records += rows(
        rng,
        hours,
        "app.tasks.render",
        "q1",
        "AttributeError",
        "'NoneType' object has no attribute 'total'",
    )
    deploy = {"at": (START + (start - rng.uniform(0.003, 0.4)) * HOUR).floor("us"), "service": "app", "kind": "deploy",
              "text": "", "version": "9.9"}  # fmt: skip
    week.deploys = pd.concat([week.deploys, pd.DataFrame([deploy])]).sort_values(
        "at", ignore_index=True
    )
    _begin(week, hours, "app.tasks.render", "after app 9.9")


def _one_tenant(rng: np.random.Generator, week: Week) -> None:
    """One tenant's import is broken: its records fail for some hours, in a task that fails for others as well."""
    week.records += rows(
        rng,
        rhythm(rng, 60, week.days, "office"),
        "app.tasks.load",
        "q2",
        "ValueError",
        "no date in row {n}",
    )
    start, length = _at(rng, week), float(rng.uniform(1, 12))
    hours = start + length * rng.random(int(rng.integers(30, 150)))
    week.records += rows(
        rng,
        hours,
        "app.tasks.load",
        "q2",
        "DoesNotExist",
        "Record {n} does not exist",
        tenant="kestrel",
    )
    _begin(week, hours, "app.tasks.load", "tenant kestrel")


def _leak(rng: np.random.Generator, week: Week) -> None:
    """Something wears out: more and more over the whole time."""
    count = int(rng.integers(60, 300))
    hours = week.days * 24 * np.sqrt(rng.random(count))
    week.records += rows(
        rng, hours, "app.tasks.build", "q3", "BuildError", "build {n} ended with state 7"
    )
    week.names = ("app.tasks.build", "more and more")


def _retry_storm(rng: np.random.Generator, week: Week) -> None:
    """A few tasks are retried without end: the same ids, again and again."""
    start, length = _at(rng, week), float(rng.uniform(0.5, 3))
    ids = [f"storm-{number}" for number in range(int(rng.integers(3, 9)))]
    hours = start + length * rng.random(len(ids) * int(rng.integers(15, 60)))
    made = rows(rng, hours, "app.tasks.sync", "q4", "LockError", "resource is locked")
    for number, row in enumerate(made):
        row["task_id"] = ids[number % len(ids)]
        row["kwargs"] = {"record": number % len(ids)}
    week.records += made
    _begin(week, hours, "app.tasks.sync")


def _surge(rng: np.random.Generator, week: Week) -> None:
    """What fails all the time fails five to twenty times as often for some hours."""
    usual = int(rng.integers(50, 400))
    each = [rhythm(rng, usual, week.days, "office")]
    start, length = _at(rng, week), float(rng.uniform(1, 8))
    more = int(max(25, usual / (week.days * 24) * length * rng.uniform(5, 20)))
    each.append(start + length * rng.random(more))
    for hours in each:
        week.records += rows(
            rng, hours, "app.tasks.geocode", "q0", "TimeoutError", "geocoder: timed out"
        )
    _begin(week, each[1], "app.tasks.geocode")


_PLANT = {
    "provider outage": _provider_outage,
    "bad deploy at night": _bad_deploy,
    "one tenant's data": _one_tenant,
    "leak": _leak,
    "retry storm": _retry_storm,
    "surge of the usual": _surge,
}
STORIES = tuple(_PLANT)
