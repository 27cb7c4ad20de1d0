"""Durations, moments, selections: what a person may write, and one sentence for what they may not."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis.errors import DLQError, SettingsError
from dlqanalysis.model import Finding, Item, Receipt, Selection, State, duration, moment, words

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("1s", 1), ("24h", 86400), ("7d", 604800), ("2w", 1209600), (" 5 m ", 300)],
)
def test_duration(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "-1d", "1.5h", "7D", "7", "d", "7 days", "999999999999w", "9" * 5000 + "d", "٣x"]
)
def test_what_is_no_duration_is_a_sentence(text):
    with pytest.raises(SettingsError) as caught:
        duration(text)
    assert len(str(caught.value)) < 5100 and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("", None),
        ("7d", NOW - timedelta(days=7)),
        ("0m", NOW),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01 10:00:00.000001Z", datetime(2026, 11, 1, 10, 0, 0, 1, tzinfo=UTC)),
        (date(2026, 11, 1), datetime(2026, 11, 1, tzinfo=UTC)),
        (
            datetime(2026, 11, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            datetime(2026, 11, 1, tzinfo=UTC),
        ),
    ],
)
def test_moment(given, expected):
    assert moment(given, now=NOW) == expected


@pytest.mark.parametrize(
    "given",
    [
        "yesterday", "2026-13-01", "2026-11-01T10:00:00", "20261101", "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00", "99999999w", datetime(2026, 1, 1), 5, 1.5, ["7d"],
    ],
)  # fmt: skip
def test_what_is_no_moment_is_a_sentence(given):
    with pytest.raises(SettingsError, match=r"\.$"):
        moment(given, now=NOW)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_a_sentence(text):
    try:
        found = moment(text, now=NOW)
    except DLQError:
        return
    assert found is None or found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("emails", ("emails",)),
        (" emails , memos,", ("emails", "memos")),
        (["a,b", " c "], ("a,b", "c")),  # a list is taken as it is: names may hold commas
        (("a",), ("a",)),
    ],
)
def test_words(given, expected):
    assert words(given) == expected


def test_a_selection_says_what_it_selects():
    everything = Selection()
    assert not everything.narrows
    assert everything.status == ("failed",)
    one = Selection(
        since=datetime(2026, 11, 1, tzinfo=UTC),
        until=datetime(2026, 11, 2, tzinfo=UTC),
        queue=("emails", "memos"),
        limit=5000,
    )
    assert one.narrows
    for part in ("2026-11-01 00:00Z", "2026-11-02 00:00Z", "queue emails, memos", "5,000"):
        assert part in str(one)


@pytest.mark.parametrize("field", ["queue", "task", "exception"])
def test_a_filter_narrows(field):
    assert Selection(**{field: ("x",)}).narrows
    assert not Selection(status=("replayed",)).narrows


def test_nouns_cannot_be_changed_by_accident():
    item = Item(
        failure_id="1", task_id="t", task_name="n", queue="q", content_hash="c", generation=1
    )
    for noun, field in (
        (item, "failure_id"),
        (Receipt(failure_id="1", state=State.SENT), "state"),
        (Finding(name="depth", severity="warning", text="12 failures."), "severity"),
    ):
        with pytest.raises((AttributeError, TypeError)):
            setattr(noun, field, "other")
