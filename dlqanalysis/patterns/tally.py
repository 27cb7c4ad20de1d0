"""The counting itself: one pass over integer codes, each code a group. A row may stand for many failures."""

import numpy as np
import pandas as pd

from dlqanalysis.distinct import paired
from dlqanalysis.errors import SettingsError
from dlqanalysis.model import FailureClass, duration, moment

#: attempts after which a failure counts as exhausted where no maximum is known
RETRIES_WHEN_UNKNOWN = 3
MOST_BINS = 5_000  #: intervals of a timeline
_DAY = 86_400_000_000  # microseconds, as in the frame
NAT = np.iinfo(np.int64).min
MONDAY = 4 * _DAY  # 1970-01-05, so that weeks begin on Monday


def of(failures, codes, size, window, now):  # type: ignore[no-untyped-def]
    """One row a code: count, share, first_failed, last_failed, recent, usual, trend, exhausted."""
    step = micros(window)
    times = times_of(failures)
    dated = times != NAT
    end = moment(now)
    last = (
        int(pd.Timestamp(end).as_unit("us").asm8.view("int64"))
        if end is not None
        else (int(times[dated].max()) if dated.any() else 0)
    )
    start = int(times[dated].min()) if dated.any() else last
    before = max(0.0, (last - step - start) / step)
    many = stands_for(failures)
    count = sums(codes, many, size)
    lately = dated & (times > last - step) & (times <= last)
    recent = sums(codes[lately], many[lately], size)
    before_that = dated & (times <= last - step)
    earlier = sums(codes[before_that], many[before_that], size)
    usual = earlier / before if before > 0 else np.full(size, np.nan)
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, codes[dated], times[dated])
    newest = np.full(size, NAT)
    np.maximum.at(newest, codes[dated], times[dated])
    first[newest == NAT] = NAT
    out = is_exhausted(failures)
    spent = sums(codes[out], many[out], size)
    table = pd.DataFrame(
        {
            "count": count,
            "share": count / max(int(many.sum()), 1),
            "first_failed": stamps(first),
            "last_failed": stamps(newest),
            "recent": recent,
            "usual": usual,
            "trend": pd.Series(trend(recent, earlier, usual, before), dtype="str"),
            "exhausted": spent / np.maximum(count, 1),
        }
    )
    as_of = f"{stamps(np.array([last]))[0]:%Y-%m-%d %H:%M}Z"
    said = f"trend: the last {window} before {as_of} against the usual {window} of the time before"
    table.attrs = {"as_of": as_of, "window": window}
    table.attrs |= (
        {"notes": [said]} if len(failures) else {"empty": "There is no such failure to count."}
    )
    return table


def trend(recent, earlier, usual, before):  # type: ignore[no-untyped-def]
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


def is_exhausted(failures: pd.DataFrame) -> np.ndarray:
    """Which failures used up their retries: as many as allowed, or 3 where nobody says how many."""
    made = failures["retries"].to_numpy("float64", na_value=np.nan)
    allowed = failures["max_retries"].to_numpy("float64", na_value=np.nan)
    with np.errstate(invalid="ignore"):
        return made >= np.where(np.isnan(allowed), RETRIES_WHEN_UNKNOWN, allowed)


def leading(failures, column, codes, size):  # type: ignore[no-untyped-def]
    """The most frequent value of a column in each group, and its share of the group."""
    best = np.full(size, None, dtype=object)
    share = np.full(size, np.nan)
    if column in failures.columns:
        many = stands_for(failures)
        total = np.maximum(sums(codes, many, size), 1)
        for group, value, count in _pairs(failures[column], codes, many):
            if best[group] is None:
                best[group], share[group] = value, count / total[group]
    return best, share


def names_of(failures, column, codes, size, most=2):  # type: ignore[no-untyped-def]
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
    sizes = sums(places, many[there], len(pairs))
    order = np.lexsort((pairs % wide, -sizes, pairs // wide))
    names = [str(value) for value in words]
    for pair, size in zip(pairs[order], sizes[order], strict=True):
        yield int(pair // wide), names[pair % wide], int(size)


def last_place(failures, codes, size, wanted=None):  # type: ignore[no-untyped-def]
    """The row number of the newest failure of each group; with `wanted`, of those of that class."""
    order = np.argsort(times_of(failures), kind="stable")
    if wanted is not None and "failure_class" in failures.columns:
        of, distinct = pd.factorize(failures["failure_class"])
        number = {str(value): place for place, value in enumerate(distinct)}
        target = np.array([number.get(value, -1) for value in wanted], np.int64)
        order = order[of[order] == target[codes[order]]]
    last = np.full(size, -1)
    last[codes[order]] = order  # the last of several assignments to one place stays
    return last


def taken(failures, column, places):  # type: ignore[no-untyped-def]
    """A column at these rows; missing where a row is -1 or the column is not there."""
    if column not in failures.columns:
        return pd.Series([None] * len(places), dtype="str")
    values = pd.Index(failures[column]).take(np.maximum(places, 0)) if len(failures) else []
    return pd.Series(values, dtype="str").where(places >= 0)


def top_values(column: pd.Series, top: int, many: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Each row's place among the most frequent values, and those values; the rest are `other`."""
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    names = [str(value) for value in distinct]
    sizes = sums(codes + 1, many, len(names) + 1)
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


def ordered(table: pd.DataFrame, ties: list[str]) -> pd.DataFrame:
    """The largest first; of equals by `ties`."""
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


def sums(codes: np.ndarray, many: np.ndarray, size: int) -> np.ndarray:
    """How many failures there are of each code."""
    return np.bincount(codes, weights=many, minlength=size).astype(np.int64)


def times_of(failures: pd.DataFrame) -> np.ndarray:
    """failed_at as microseconds since 1970, UTC; the smallest integer where there is none."""
    return failures["failed_at"].dt.tz_localize(None).to_numpy().astype("M8[us]").view("int64")


def stamps(micros: np.ndarray) -> pd.DatetimeIndex:
    """Microseconds since 1970 as times, UTC."""
    return pd.DatetimeIndex(micros.astype("M8[us]")).tz_localize("UTC")


def micros(text: str) -> int:
    """A length of time in microseconds."""
    step = int(duration(text).total_seconds()) * 1_000_000
    if step <= 0:
        raise SettingsError(f"'{text}' is no length of time. Write 15m, 1h, 1d or 1w.")
    return step


def readable_step(span: int) -> str:
    """An interval that makes a few hundred of this span (microseconds)."""
    for text in ("1m", "5m", "15m", "1h", "6h", "1d", "1w", "30d", "365d"):
        if span / micros(text) <= MOST_BINS / 10:
            return text
    return "3650d"
