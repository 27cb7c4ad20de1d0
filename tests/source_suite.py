"""What every source must be able to do: call `check_source` with an opened source that holds some failures.

`state` gives what the system holds, so that reading can be shown to change nothing.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pandas as pd

import dlqanalysis as dlq
from dlqanalysis.frame import HEAVY, SCHEMA, check, content_hash
from dlqanalysis.model import FailureClass, Source

_HASHED = ["task_id", "task_name", "queue", "args", "kwargs"]


def check_source(source: Source, state: Callable[[], Any] | None = None) -> pd.DataFrame:
    """Runs all checks; gives the frame of everything."""
    before = state() if state else None
    whole = load(source)
    assert len(whole) > 2, "give the suite some failures to work with"
    payloads = whole.loc[whole["payload_state"] != "missing", "payload_state"]  # a log has none
    assert payloads.empty or "unreadable" in set(payloads), "plant one that cannot be read, too"
    shape(source, whole)
    pd.testing.assert_frame_equal(whole, load(source))
    filters(source, whole)
    limits(source, whole)
    heavy(source, whole)
    plan = dlq.plan(whole, reason="suite", limit=5, classes=tuple(FailureClass))
    assert len(plan.chosen) <= 5
    if state:
        assert state() == before, "reading has changed something"
    return whole


def load(source: Source, **selection: Any) -> pd.DataFrame:
    return dlq.load(source, **{"since": None, **selection})


def shape(source: Source, whole: pd.DataFrame) -> None:
    """A failures frame: columns, dtypes, order, ids; and nobody's secret in a name."""
    check(whole)
    assert set(whole["source"]) == {source.name} and "@" not in source.name
    keys = whole[["failed_at", "failure_id"]]
    assert keys.sort_values(["failed_at", "failure_id"]).index.equals(whole.index)
    assert whole["payload_state"].notna().all()
    assert set(whole["payload_state"]) <= {"complete", "truncated", "unreadable", "missing"}
    assert whole.attrs["source"] == source.name and not whole.attrs["truncated"]
    hashes = [content_hash(*row) for row in whole[_HASHED].itertuples(index=False, name=None)]
    assert all(len(one) == 16 for one in hashes)


def filters(source: Source, whole: pd.DataFrame) -> None:
    """Asking the source for less gives the same as taking less of everything."""
    for column, name in (
        ("queue", "queue"),
        ("task_name", "task"),
        ("exception_type", "exception"),
    ):
        for value in sorted(whole[column].dropna().unique())[:5]:
            if "," in value or value != value.strip() or not value:
                continue
            last = whole[column].astype("str").str.rpartition(".")[2]
            wanted = (whole[column] == value) | ((last == value) & (name != "queue"))
            same(load(source, **{name: value}), whole[wanted])
    dated = whole[whole["failed_at"].notna()]
    if len(dated):  # some systems tell no time
        middle = dated["failed_at"].iloc[len(dated) // 2].to_pydatetime().astimezone(UTC)
        same(load(source, since=middle), dated[dated["failed_at"] >= middle])
        same(load(source, until=middle), dated[dated["failed_at"] < middle])
    for nothing in ({"queue": "no-such"}, {"task": "no-such"}, {"exception": "no-such"}):
        none = load(source, **nothing)
        assert len(none) == 0 and dict(none.dtypes) == SCHEMA


def limits(source: Source, whole: pd.DataFrame) -> None:
    """A limit keeps the newest and says that it cut."""
    cut = load(source, limit=2)
    assert len(cut) == 2 and cut.attrs["truncated"] and "2" in " ".join(cut.attrs["notes"])
    newest = whole["failed_at"].sort_values(ascending=False, na_position="last").head(2)
    assert sorted(cut["failed_at"].dropna()) == sorted(newest.dropna())
    assert not load(source, limit=len(whole)).attrs["truncated"]


def heavy(source: Source, whole: pd.DataFrame) -> None:
    """Raw only where it is asked for; the heavy columns for some rows, and everything of one failure."""
    assert whole["raw"].isna().all(), "raw came unasked: a million of them do not fit"
    if whole.attrs["tracebacks"] == "none":  # else it has all of them at hand, or one of each kind
        assert whole["traceback"].isna().all()
    some = whole.head(3)
    full = dlq.details(source, some)
    assert full["failure_id"].tolist() == some["failure_id"].tolist()
    asked = load(source, columns=list(HEAVY)).set_index("failure_id")
    for name in HEAVY:
        want = asked[name].loc[some["failure_id"]].reset_index(drop=True)
        pd.testing.assert_series_equal(full[name].reset_index(drop=True), want)
    for failure_id in whole["failure_id"]:
        assert dlq.show(source, failure_id)["failure_id"] == failure_id


def same(part: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert part["failure_id"].tolist() == wanted["failure_id"].tolist()
