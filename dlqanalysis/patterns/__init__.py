"""What failed together, how often, since when: failures in, tables out. All times are UTC.

Trends compare the last `window` before `now` with the windows before it, where `now` is the newest
failure in the frame unless given: an export of last month reads the same today as it did then.

A row of a frame from dlq.summary has a `count` and is counted as so many failures.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from dlqanalysis.distinct import distinct as told_apart
from dlqanalysis.distinct import polars_texts
from dlqanalysis.errors import SettingsError, did_you_mean, need
from dlqanalysis.patterns import tally
from dlqanalysis.patterns.contrast import lift

__all__ = ["busiest", "counts", "exhausted", "groups", "lift", "quiet", "timeline"]

#: what a failure depended on -> rules of the built-in rulebook that blame it
DEPENDENCIES = {
    "database": ("db-lost", "db-login", "db-busy", "database-says-no"),
    "external": (
        "throttled", "http-server-error", "cloud-busy", "mail-busy", "network", "timeout", "dns",
        "rate-quota", "quota-or-billing", "api-credentials",
    ),
    "broker": ("redis-away", "redis-refused", "broker-away", "amqp-refused"),
}  # fmt: skip


def depends_on(rules: pd.Series) -> pd.Series:
    """For names of rules what they blame: database, external (somebody else's service), broker, or empty."""
    blamed = {rule: what for what, names in DEPENDENCIES.items() for rule in names}
    return rules.map(blamed).fillna("").astype("str")


def groups(
    failures: pd.DataFrame, window: str = "24h", now: datetime | str | None = None
) -> pd.DataFrame:
    """One row a fingerprint, the largest first.

    count and share; first_failed, last_failed; recent (in the last window), usual (per window before)
    and trend (new, rising, steady, falling, stopped, rare, too short to say); exhausted (share out of retries);
    the class of most of its rows with that class's share, rule, dependency (database, external, broker) and why; task_name and queues, the most
    frequent named first; source and failure_id of the newest row, for dlq.details.
    """
    need(failures, "fingerprint")
    codes, found = told_apart(polars_texts(failures["fingerprint"]))
    ids = found.to_list()
    table = tally.of(failures, codes, len(ids), window, now)
    newest = tally.last_place(failures, codes, len(ids))
    verdict, share = tally.leading(failures, "failure_class", codes, len(ids))
    spoken = tally.last_place(failures, codes, len(ids), verdict)
    table = table.assign(
        fingerprint=pd.Series(ids, dtype="str"),
        failure_class=pd.Series(verdict, dtype="str"),
        class_share=share,
        rule=tally.taken(failures, "rule", spoken),
        dependency=depends_on(tally.taken(failures, "rule", spoken)),
        why=tally.taken(failures, "why", spoken),
        task_name=tally.names_of(failures, "task_name", codes, len(ids)),
        exception_type=tally.names_of(failures, "exception_type", codes, len(ids)),
        template=tally.taken(failures, "template", newest),
        queues=tally.names_of(failures, "queue", codes, len(ids)),
        source=tally.taken(failures, "source", newest),
        failure_id=tally.taken(failures, "failure_id", newest),
    )
    order = [
        *("fingerprint", "failure_class", "task_name", "exception_type", "template"),
        *("count", "share", "first_failed", "last_failed", "recent", "usual", "trend", "exhausted"),
        *("queues", "class_share", "rule", "dependency", "why", "source", "failure_id"),
    ]
    return tally.ordered(table[order], ["fingerprint"])


def counts(
    failures: pd.DataFrame,
    by: str | Sequence[str] = "task_name",
    window: str = "24h",
    now: datetime | str | None = None,
) -> pd.DataFrame:
    """One row a value of `by` (or combination of values): count, share, first, last, trend, exhausted."""
    need(failures)
    columns = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    for name in columns:
        need(failures, name, hint=did_you_mean(name, failures.columns))
    keys = [pd.factorize(failures[name], use_na_sentinel=False) for name in columns]
    codes = np.zeros(len(failures), np.int64)
    for part, distinct in keys:
        codes = codes * max(len(distinct), 1) + part
    places, combined = pd.factorize(codes)
    table = tally.of(failures, places, len(combined), window, now)
    rest = np.asarray(combined)
    for name, (_, distinct) in reversed(list(zip(columns, keys, strict=True))):
        rest, part = np.divmod(rest, max(len(distinct), 1))
        values = pd.Index(distinct).take(part)
        values = values.astype("str") if values.dtype in ("category", "object") else values
        table.insert(0, name, values)
    return tally.ordered(table, columns)


def exhausted(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures that used up their retries: as many as allowed, or 3 where nobody says how many."""
    return failures.loc[tally.is_exhausted(failures)]


def timeline(
    failures: pd.DataFrame, every: str = "1h", by: str | None = "failure_class", top: int = 7
) -> pd.DataFrame:
    """Failures per interval: at (its start, UTC), the value of `by`, count. Empty intervals count 0.

    Values of `by` beyond the `top` most frequent are put together as `other`. `attrs["undated"]` says
    how many failures have no time and are not counted. Where `every` is empty, the interval is one of which a few
    hundred fill their time; `attrs["every"]` says which.
    """
    need(failures, "failed_at")
    times = tally.times_of(failures)
    dated = times != tally.NAT
    every = every or tally.readable_step(int(np.ptp(times[dated])) if dated.any() else 0)
    step = tally.micros(every)
    if by is not None:
        need(failures, by, hint=did_you_mean(by, failures.columns))
        labels, series = tally.top_values(
            failures[by][dated], top, tally.stands_for(failures)[dated]
        )
    else:
        labels, series = np.zeros(int(dated.sum()), np.int64), ["failures"]
    bins = (times[dated] - tally.MONDAY) // step
    if len(bins):
        low, high = int(bins.min()), int(bins.max())
    else:
        low, high = 0, -1
    wide = high - low + 1
    if wide > tally.MOST_BINS:
        raise SettingsError(
            f"every='{every}' makes {wide:,} intervals of these failures. Write"
            f" every='{tally.readable_step(wide * step)}', or load less with since= and until=."
        )
    grid = tally.sums(
        (bins - low) * len(series) + labels, tally.stands_for(failures)[dated], wide * len(series)
    )
    starts = (np.arange(wide) + low) * step + tally.MONDAY
    table = pd.DataFrame({"at": np.repeat(tally.stamps(starts), len(series))})
    if by is not None:
        table[by] = pd.Categorical.from_codes(np.tile(np.arange(len(series)), wide), series)
    table["count"] = grid[: wide * len(series)]
    table.attrs = {"every": every, "undated": int(tally.stands_for(failures)[~dated].sum())}
    return table


def busiest(failures: pd.DataFrame, every: str = "1h", n: int = 5) -> pd.DataFrame:
    """The n intervals with most failures: at, count, times_usual (of the mean), and the task that led it. Where `every`
    is empty, they are as long as those of `timeline`."""
    line = timeline(failures, every, by=None)
    mean = line["count"].mean() if len(line) else 1.0
    worst = line.nlargest(n, "count").reset_index(drop=True)
    step = tally.micros(line.attrs["every"])
    bins = (tally.times_of(failures) - tally.MONDAY) // step
    wanted = (worst["at"].dt.tz_localize(None).to_numpy().view("int64") - tally.MONDAY) // step
    places = pd.Index(wanted).get_indexer(pd.Index(bins))
    inside = failures.loc[places >= 0]
    leading, share = tally.leading(inside, "task_name", places[places >= 0], len(worst))
    return worst.assign(
        times_usual=(worst["count"] / mean).round(1),
        task_name=pd.Series(leading, dtype="str"),
        task_share=share,
    )


def quiet(failures: pd.DataFrame, n: int = 5) -> pd.DataFrame:
    """The n longest stretches without a failure: after, before (UTC), length."""
    times = tally.times_of(failures)
    times = np.sort(times[times != tally.NAT])
    gaps = np.diff(times)
    longest = np.argsort(-gaps, kind="stable")[: min(n, np.count_nonzero(gaps))]
    after, before = tally.stamps(times[:-1][longest]), tally.stamps(times[1:][longest])
    return pd.DataFrame({"after": after, "before": before, "length": before - after})
