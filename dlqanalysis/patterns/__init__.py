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
from dlqanalysis.distinct import paired, polars_texts
from dlqanalysis.errors import SettingsError, did_you_mean, need
from dlqanalysis.model import FailureClass, duration, moment
from dlqanalysis.patterns.contrast import lift

__all__ = ["busiest", "counts", "exhausted", "groups", "lift", "quiet", "timeline"]

RETRIES_WHEN_UNKNOWN = (
    3  #: attempts after which a failure counts as exhausted where no maximum is known
)
MOST_BINS = 5_000
_DAY = 86_400_000_000  # microseconds, as in the frame
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
    table = _tally(failures, codes, len(ids), window, now)
    newest = _last_place(failures, codes, len(ids))
    verdict, share = _leading(failures, "failure_class", codes, len(ids))
    spoken = _last_place(failures, codes, len(ids), verdict)
    table = table.assign(
        fingerprint=pd.Series(ids, dtype="str"),
        failure_class=pd.Series(verdict, dtype="str"),
        class_share=share,
        rule=_taken(failures, "rule", spoken),
        dependency=depends_on(_taken(failures, "rule", spoken)),
        why=_taken(failures, "why", spoken),
        task_name=_names(failures, "task_name", codes, len(ids)),
        exception_type=_names(failures, "exception_type", codes, len(ids)),
        template=_taken(failures, "template", newest),
        queues=_names(failures, "queue", codes, len(ids)),
        source=_taken(failures, "source", newest),
        failure_id=_taken(failures, "failure_id", newest),
    )
    order = [
        *("fingerprint", "failure_class", "task_name", "exception_type", "template"),
        *("count", "share", "first_failed", "last_failed", "recent", "usual", "trend", "exhausted"),
        *("queues", "class_share", "rule", "dependency", "why", "source", "failure_id"),
    ]
    return _ordered(table[order], ["fingerprint"])


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
    table = _tally(failures, places, len(combined), window, now)
    rest = np.asarray(combined)
    for name, (_, distinct) in reversed(list(zip(columns, keys, strict=True))):
        rest, part = np.divmod(rest, max(len(distinct), 1))
        values = pd.Index(distinct).take(part)
        values = values.astype("str") if values.dtype in ("category", "object") else values
        table.insert(0, name, values)
    return _ordered(table, columns)


def exhausted(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures that used up their retries: as many as allowed, or 3 where nobody says how many."""
    return failures.loc[_exhausted(failures)]


def timeline(
    failures: pd.DataFrame, every: str = "1h", by: str | None = "failure_class", top: int = 7
) -> pd.DataFrame:
    """Failures per interval: at (its start, UTC), the value of `by`, count. Empty intervals count 0.

    Values of `by` beyond the `top` most frequent are put together as `other`. `attrs["undated"]` says
    how many failures have no time and are not counted.
    """
    need(failures, "failed_at")
    step = _micros(every)
    times = _times(failures)
    dated = times != _NAT
    if by is not None:
        need(failures, by, hint=did_you_mean(by, failures.columns))
        labels, series = _top(failures[by][dated], top, stands_for(failures)[dated])
    else:
        labels, series = np.zeros(int(dated.sum()), np.int64), ["failures"]
    bins = (times[dated] - _MONDAY) // step
    if len(bins):
        low, high = int(bins.min()), int(bins.max())
    else:
        low, high = 0, -1
    wide = high - low + 1
    if wide > MOST_BINS:
        raise SettingsError(
            f"every='{every}' makes {wide:,} intervals of these failures. Write"
            f" every='{_readable_step(wide * step)}', or load less with since= and until=."
        )
    grid = _sums(
        (bins - low) * len(series) + labels, stands_for(failures)[dated], wide * len(series)
    )
    starts = (np.arange(wide) + low) * step + _MONDAY
    table = pd.DataFrame({"at": np.repeat(_stamps(starts), len(series))})
    if by is not None:
        table[by] = pd.Categorical.from_codes(np.tile(np.arange(len(series)), wide), series)
    table["count"] = grid[: wide * len(series)]
    table.attrs = {"every": every, "undated": int(stands_for(failures)[~dated].sum())}
    return table


def busiest(failures: pd.DataFrame, every: str = "1h", n: int = 5) -> pd.DataFrame:
    """The n intervals with most failures: at, count, times_usual (of the mean), and the task that led it."""
    line = timeline(failures, every, by=None)
    mean = line["count"].mean() if len(line) else 1.0
    worst = line.nlargest(n, "count").reset_index(drop=True)
    step = _micros(every)
    bins = (_times(failures) - _MONDAY) // step
    wanted = (worst["at"].dt.tz_localize(None).to_numpy().view("int64") - _MONDAY) // step
    places = pd.Index(wanted).get_indexer(pd.Index(bins))
    inside = failures.loc[places >= 0]
    leading, share = _leading(inside, "task_name", places[places >= 0], len(worst))
    return worst.assign(
        times_usual=(worst["count"] / mean).round(1),
        task_name=pd.Series(leading, dtype="str"),
        task_share=share,
    )


def quiet(failures: pd.DataFrame, n: int = 5) -> pd.DataFrame:
    """The n longest stretches without a failure: after, before (UTC), length."""
    times = _times(failures)
    times = np.sort(times[times != _NAT])
    gaps = np.diff(times)
    longest = np.argsort(-gaps, kind="stable")[:n]
    after, before = _stamps(times[:-1][longest]), _stamps(times[1:][longest])
    return pd.DataFrame({"after": after, "before": before, "length": before - after})


# -- the counting itself: one pass over integer codes ------------------------------------------------

_NAT = np.iinfo(np.int64).min
_MONDAY = 4 * _DAY  # 1970-01-05, so that weeks begin on Monday


def _tally(failures, codes, size, window, now):  # type: ignore[no-untyped-def]
    """count .. exhausted of each code."""
    step = _micros(window)
    times = _times(failures)
    dated = times != _NAT
    end = moment(now)
    last = (
        int(pd.Timestamp(end).as_unit("us").asm8.view("int64"))
        if end is not None
        else (int(times[dated].max()) if dated.any() else 0)
    )
    start = int(times[dated].min()) if dated.any() else last
    before = max(0.0, (last - step - start) / step)
    many = stands_for(failures)
    count = _sums(codes, many, size)
    lately = dated & (times > last - step) & (times <= last)
    recent = _sums(codes[lately], many[lately], size)
    before_that = dated & (times <= last - step)
    earlier = _sums(codes[before_that], many[before_that], size)
    usual = earlier / before if before > 0 else np.full(size, np.nan)
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, codes[dated], times[dated])
    newest = np.full(size, _NAT)
    np.maximum.at(newest, codes[dated], times[dated])
    first[newest == _NAT] = _NAT
    out = _exhausted(failures)
    spent = _sums(codes[out], many[out], size)
    table = pd.DataFrame(
        {
            "count": count,
            "share": count / max(int(many.sum()), 1),
            "first_failed": _stamps(first),
            "last_failed": _stamps(newest),
            "recent": recent,
            "usual": usual,
            "trend": pd.Series(_trend(recent, earlier, usual, before), dtype="str"),
            "exhausted": spent / np.maximum(count, 1),
        }
    )
    as_of = f"{_stamps(np.array([last]))[0]:%Y-%m-%d %H:%M}Z"
    said = f"trend: the last {window} before {as_of} against the usual {window} of the time before"
    table.attrs = {"as_of": as_of, "window": window}
    table.attrs |= (
        {"notes": [said]} if len(failures) else {"empty": "There is no failure to count."}
    )
    return table


def _trend(recent, earlier, usual, before):  # type: ignore[no-untyped-def]
    """A word for each group. A change counts from a factor of two that chance does not explain:
    three standard deviations of a Poisson count."""
    if before < 1:
        return np.full(len(recent), "too short to say")
    noise = 3 * np.sqrt(np.maximum(usual, 1.0))
    return np.select(
        [
            recent + earlier == 0,
            earlier == 0,
            (recent == 0) & (usual >= 3),
            (recent >= 2 * usual) & (recent - usual >= noise),
            (recent <= usual / 2) & (usual - recent >= noise),
            (recent + usual) < 3,
        ],
        ["undated", "new", "stopped", "rising", "falling", "rare"],
        "steady",
    )


def _exhausted(failures: pd.DataFrame) -> np.ndarray:
    made = failures["retries"].to_numpy("float64", na_value=np.nan)
    allowed = failures["max_retries"].to_numpy("float64", na_value=np.nan)
    with np.errstate(invalid="ignore"):
        return made >= np.where(np.isnan(allowed), RETRIES_WHEN_UNKNOWN, allowed)


def _leading(failures, column, codes, size):  # type: ignore[no-untyped-def]
    """The most frequent value of a column in each group, and its share of the group."""
    best = np.full(size, None, dtype=object)
    share = np.full(size, np.nan)
    if column in failures.columns:
        many = stands_for(failures)
        total = np.maximum(_sums(codes, many, size), 1)
        for group, value, count in _pairs(failures[column], codes, many):
            if best[group] is None:
                best[group], share[group] = value, count / total[group]
    return best, share


def _names(failures, column, codes, size, most=2):  # type: ignore[no-untyped-def]
    """The values of a column in each group as one text, most frequent first: `emails, memos (+2)`."""
    found: list[list[str]] = [[] for _ in range(size)]
    for group, value, _ in _pairs(failures[column], codes, stands_for(failures)):
        found[group].append(value)
    texts = [
        ", ".join(names[:most]) + (f" (+{len(names) - most})" if len(names) > most else "")
        for names in found
    ]
    return pd.Series([text or None for text in texts], dtype="str")


def _pairs(column, codes, many):  # type: ignore[no-untyped-def]
    """(group, value, count), the most frequent value of a group first; missing values left out."""
    values, words = pd.factorize(column, use_na_sentinel=True)
    there = values >= 0
    wide = max(len(words), 1)
    size = int(codes.max(initial=-1)) + 1
    places, pairs = paired(codes[there], size, values[there].astype(np.int64), wide)
    sizes = _sums(places, many[there], len(pairs))
    order = np.lexsort((pairs % wide, -sizes, pairs // wide))
    names = [str(value) for value in words]
    for pair, size in zip(pairs[order], sizes[order], strict=True):
        yield int(pair // wide), names[pair % wide], int(size)


def _last_place(failures, codes, size, wanted=None):  # type: ignore[no-untyped-def]
    """The row number of the newest failure of each group; with `wanted`, of those of that class."""
    order = np.argsort(_times(failures), kind="stable")
    if wanted is not None and "failure_class" in failures.columns:
        of, distinct = pd.factorize(failures["failure_class"])
        number = {str(value): place for place, value in enumerate(distinct)}
        target = np.array([number.get(value, -1) for value in wanted], np.int64)
        order = order[of[order] == target[codes[order]]]
    last = np.full(size, -1)
    last[codes[order]] = order  # the last of several assignments to one place stays
    return last


def _taken(failures, column, places):  # type: ignore[no-untyped-def]
    if column not in failures.columns:
        return pd.Series([None] * len(places), dtype="str")
    values = pd.Index(failures[column]).take(np.maximum(places, 0)) if len(failures) else []
    return pd.Series(values, dtype="str").where(places >= 0)


def _top(column: pd.Series, top: int, many: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Each row's place among the most frequent values, and those values; the rest are `other`."""
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    names = [str(value) for value in distinct]
    sizes = _sums(codes + 1, many, len(names) + 1)
    order = sorted(range(len(names)), key=lambda place: (-sizes[place + 1], names[place]))
    if column.name == "failure_class":
        classes = [str(word) for word in FailureClass]
        order = [names.index(word) for word in classes if word in names]
    series = [names[place] for place in order[:top]]
    place_of = np.full(len(names) + 1, len(series))
    for place, value in enumerate(order[:top]):
        place_of[value] = place
    if len(order) > top:
        series.append("other")
    if sizes[0]:
        place_of[-1] = len(series)
        series.append("(none)")
    return place_of[codes], series


def _ordered(table: pd.DataFrame, ties: list[str]) -> pd.DataFrame:
    attrs = table.attrs
    table = table.sort_values(["count", *ties], ascending=[False] + [True] * len(ties))
    table = table.reset_index(drop=True)
    table.attrs = attrs
    return table


def stands_for(failures: pd.DataFrame) -> np.ndarray:
    """How many failures each row stands for."""
    if "count" in failures.columns:
        return failures["count"].to_numpy(np.int64)
    return np.ones(len(failures), np.int64)


def _sums(codes: np.ndarray, many: np.ndarray, size: int) -> np.ndarray:
    """How many failures there are of each code."""
    return np.bincount(codes, weights=many, minlength=size).astype(np.int64)


def _times(failures: pd.DataFrame) -> np.ndarray:
    """failed_at as microseconds since 1970, UTC; the smallest integer where there is none."""
    return failures["failed_at"].dt.tz_localize(None).to_numpy().astype("M8[us]").view("int64")


def _stamps(micros: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(micros.astype("M8[us]")).tz_localize("UTC")


def _micros(text: str) -> int:
    step = int(duration(text).total_seconds()) * 1_000_000
    if step <= 0:
        raise SettingsError(f"'{text}' is no length of time. Write 15m, 1h, 1d or 1w.")
    return step


def _readable_step(span: int) -> str:
    for text in ("1m", "5m", "15m", "1h", "6h", "1d", "1w", "30d", "365d"):
        if span / _micros(text) <= MOST_BINS / 10:
            return text
    return "3650d"
