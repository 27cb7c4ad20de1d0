"""Failures that stand for the same work; what cannot be told is a row too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dlqanalysis.duplicates import duplicates
from dlqanalysis.duplicates.effects import side_effects
from dlqanalysis.duplicates.keys import business_keys
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.patterns.lives import affected
from dlqanalysis.profile import Profile

START = datetime(2026, 11, 2, tzinfo=UTC)
MEMO = "memo_{property_id}_{template_id}"


def failure(name: str, hours: float = 0, **more):
    return {
        "failure_id": name,
        "task_id": f"task-{name}",
        "task_name": "api.tasks.generate_memo",
        "failed_at": START + timedelta(hours=hours),
        "kwargs": {"name": name},
    } | more


def answer(table: pd.DataFrame) -> dict[str, tuple]:
    return {
        row.failure_id: (row.kind, None if pd.isna(row.first) else bool(row.first), row.because)
        for row in table.itertuples()
    }


ENTRIES = [
    (
        "the same task twice in one source",
        [failure("a"), failure("b", 1, task_id="task-a")],
        {"a": ("entry", True, "same task_id"), "b": ("entry", False, "same task_id")},
    ),
    (
        "the same task in the table and in the broker",
        [failure("a"), failure("b", 1, task_id="task-a", source="amqp:memos.dlq")],
        {
            "a": ("entry", True, "same task_id in two sources"),
            "b": ("entry", False, "same task_id in two sources"),
        },
    ),
    (
        "the same payload under another id, keys in another order",
        [
            failure("a", 0, kwargs='{"p": 1, "t": [1, 2]}'),
            failure("b", 1, kwargs='{"t":[1,2],"p":1}'),
            failure("c", 2, kwargs='{"t":[2,1],"p":1}'),
        ],
        {
            "a": ("entry", True, "same task and payload"),
            "b": ("entry", False, "same task and payload"),
        },
    ),
    (
        "the same payload for another task is no copy",
        [failure("a", kwargs={}), failure("b", kwargs={}, task_name="other")],
        {},
    ),
    (
        "a task without arguments",
        [failure("a", kwargs={}, args=[]), failure("b", 1, kwargs={}, args=[])],
        {
            "a": ("entry", True, "same task, no arguments"),
            "b": ("entry", False, "same task, no arguments"),
        },
    ),
    (
        "a cut-off payload equals nothing",
        [failure(n, kwargs='{"p": 1}', payload_state="truncated") for n in "ab"],
        {},
    ),
    (
        "a payload that nobody has equals nothing",
        [failure(n, kwargs=None, args=None) for n in "ab"],
        {},
    ),
    ("ids that are missing are not the same id", [failure(n, task_id=None) for n in "ab"], {}),
    ("ids that are empty are not the same id", [failure(n, task_id="") for n in "ab"], {}),
    (
        "the oldest goes, but one that cannot be replayed does not go first",
        [
            failure("old", 0, task_id="t", kwargs="{'x': ", payload_state="unreadable"),
            failure("new", 1, task_id="t"),
        ],
        {"new": ("entry", True, "same task_id"), "old": ("entry", False, "same task_id")},
    ),
    (
        "a chain of an id and a payload is one set with one first",
        [
            failure("c", 0, kwargs={"p": 1}),
            failure("a", 1, task_id="t", kwargs={"p": 2}),
            failure("b", 2, task_id="t", kwargs={"p": 1}),
        ],
        {
            "c": ("entry", True, "same task and payload"),
            "a": ("entry", False, "same task_id"),
            "b": ("entry", False, "same task_id"),
        },
    ),
]


@pytest.mark.parametrize(("name", "records", "expected"), ENTRIES)
def test_copies_of_an_entry(name, records, expected):
    assert answer(duplicates(from_records(records))) == expected, name


def test_copies_count_and_carry_the_first_ones_id():
    table = duplicates(
        from_records([failure(n, hour, task_id="t") for hour, n in enumerate("abc")])
    )
    assert list(table["copies"]) == [3, 3, 3]
    assert list(table["key"]) == ["t", "t", "t"]
    assert list(table.columns) == [
        "kind", "key", "copies", "first", "source", "failure_id", "failed_at", "because",
    ]  # fmt: skip


def memo(name, hours, property_id, **more):
    return failure(
        name, hours, kwargs={"property_id": property_id, "template_id": 3, "n": name}, **more
    )


def test_the_same_business_key_under_other_ids():
    failures = from_records([memo("a", 0, 12), memo("b", 5, "12"), memo("c", 6, 13)])
    table = duplicates(failures, MEMO)
    assert answer(table) == {
        "a": ("business_key", True, "same business key"),
        "b": ("business_key", False, "same business key"),
    }
    assert set(table["key"]) == {"memo_12_3"}


@pytest.mark.parametrize(
    ("kwargs", "state", "because"),
    [
        ({"template_id": 1}, None, "cannot tell: property_id is missing"),
        ({"property_id": None, "template_id": 1}, None, "cannot tell: property_id is missing"),
        ({"property_id": 5}, None, "cannot tell: template_id is missing"),
        ('{"property_id": 5, "temp', "truncated", "cannot tell: the payload is truncated"),
        ("{'property_id': 5}", None, "cannot tell: the payload is unreadable"),
    ],
)
def test_what_cannot_be_told_is_a_row(kwargs, state, because):
    failures = from_records([failure("x", kwargs=kwargs, payload_state=state), memo("a", 0, 1)])
    assert answer(duplicates(failures, MEMO)) == {"x": ("cannot_tell", None, because)}


def test_copies_come_before_what_cannot_be_told():
    untold = failure("x", kwargs={"template_id": 1})
    table = duplicates(from_records([untold, memo("a", 1, 12), memo("b", 2, 12)]), MEMO)
    kinds = list(dict.fromkeys(table["kind"]))
    assert kinds[-1] == "cannot_tell" and len(kinds) > 1


@pytest.mark.parametrize(
    "key, hint",
    [
        ("memo_{property}_{template_id}", "Did you mean 'property_id'?"),
        ("memo_{zzz}", "Known: property_id, template_id."),
        ("memo_{3}", "Known: 0, 1."),
    ],
)
def test_a_name_that_no_payload_has_is_answered_with_those_that_there_are(key, hint):
    rows = [failure(n, args=[n, 2], kwargs={"property_id": 1, "template_id": n}) for n in "ab"]
    for table in (duplicates(from_records(rows), key), side_effects(from_records(rows), key, [])):
        [note] = table.attrs["notes"]
        assert note.startswith("No failure has ") and key in note and note.endswith(hint)
    assert not duplicates(from_records(rows), "memo_{property_id}").attrs["notes"]


def test_a_template_for_each_task_by_its_whole_name_or_its_last_part():
    failures = from_records(
        [
            memo("a", 0, 1), memo("b", 1, 1),
            failure("m1", task_name="mail.send", args=["x@example.com", 7]),
            failure("m2", 1, task_name="mail.send", args=["x@example.com", 8]),
            failure("o1", task_name="other"),
        ]
    )  # fmt: skip
    table = duplicates(failures, {"generate_memo": MEMO, "mail.send": "mail_{0}"})
    assert dict(zip(table["failure_id"], table["key"], strict=True)) == {
        "a": "memo_1_3", "b": "memo_1_3", "m1": "mail_x@example.com", "m2": "mail_x@example.com",
    }  # fmt: skip


def test_keys_of_the_failure_itself_and_inside_objects():
    failures = from_records(
        [
            failure(
                "a",
                30,
                queue="memos",
                kwargs={"user": {"id": 5}},
                enqueued_at="2026-10-31T23:59:00Z",
            )
        ]
    )
    keys = business_keys(failures, "{queue}:{user.id}:{failed_on}:{enqueued_on}")
    assert list(keys) == ["memos:5:2026-11-03:2026-10-31"]


@pytest.mark.parametrize(
    "template", ["memo", "memo_{}", "memo_{a!r}", "memo_{a:>9}", "memo_{a", "memo_}"]
)
def test_a_template_that_does_not_hold_is_refused(template):
    with pytest.raises(SettingsError, match=r"memo_\{property_id\}"):
        duplicates(empty(), template)


def test_positional_arguments_have_the_names_that_signatures_give_them():
    """A memo was sent a second time: its property stood in args, so that its key could not be built."""
    taken = Profile(
        signatures={
            "generate_memo": "property_id: int, user = None, *, template_id: int = 3",
            "mail.send": "to: str",
        }
    )
    failures = from_records(
        [
            failure("both", 0, args=[1, {"id": 5}], kwargs={"template_id": 3}),
            failure("kwargs", 1, args=[9], kwargs={"property_id": 1, "template_id": 3}),
            failure("short", 2, args=[], kwargs={"template_id": 3}),
            failure("odd", 3, args={"property_id": 1}, kwargs={"template_id": 3}),
            failure("other", 4, args=[1], kwargs={"template_id": 3}, task_name="other"),
        ]
    )
    keys = business_keys(failures, MEMO, taken)
    assert list(keys.fillna("-")) == ["memo_1_3", "memo_1_3", "-", "-", "-"]
    assert business_keys(failures, "{user.id}", taken).fillna("-").tolist() == ["5", *"----"]
    found = duplicates(failures, MEMO, profile=taken)
    copies = found[found["kind"] == "business_key"]
    assert list(copies["failure_id"]) == ["both", "kwargs"]
    done = side_effects(failures.head(1), MEMO, ["memo_1_3"], taken)
    assert list(done["effect"]) == ["done"]
    assert list(affected(failures, replace(taken, affected=("property_id",)))["failures"]) == [2]
    [note] = duplicates(
        from_records([failure("a", args=[1], kwargs={})]), "memo_{property_id}"
    ).attrs["notes"]
    assert "What stands in args has names by [signatures] of the profile" in note


def test_a_template_reaches_nothing_but_the_payload():
    failures = from_records([failure("a")])
    assert business_keys(failures, "{name.__class__}").isna().all()


def test_within_tells_a_weekly_mail_from_a_mail_sent_twice():
    records = [failure("a", 0), failure("b", 1), failure("c", 24 * 7), failure("d", 24 * 7 + 1)]
    for record in records:
        record["kwargs"] = {"user": 1}
    failures = from_records(records)
    assert set(duplicates(failures)["copies"]) == {4}
    table = duplicates(failures, "mail_{user}", within="24h")
    assert set(table["copies"]) == {2}
    assert list(table.loc[table["first"] & (table["kind"] == "entry"), "failure_id"]) == ["a", "c"]


def test_side_effects_have_three_answers():
    failures = from_records([memo("a", 0, 1), memo("b", 0, 2), failure("c")])
    table = side_effects(failures, MEMO, ["memo_1_3"]).set_index("failure_id")
    assert dict(table["effect"].astype(str)) == {"a": "done", "b": "not_done", "c": "cannot_tell"}
    assert table.loc["c", "evidence"] == "property_id is missing"
    says = "Of 3 failures 1 is done already and 1 is not; of 1 nobody can tell"
    assert table.attrs["says"] == says
    alone = side_effects(failures.head(1), MEMO, ["memo_1_3"]).attrs["says"]
    assert alone == "Of 1 failure 1 is done already and 0 are not"


def test_nobody_looked_is_not_the_same_as_not_done():
    table = side_effects(from_records([memo("a", 0, 1)]), MEMO, None)
    assert (table.loc[0, "effect"], table.loc[0, "evidence"]) == (
        "cannot_tell",
        "nobody looked it up",
    )


def test_a_task_without_a_template_cannot_be_told():
    table = side_effects(from_records([memo("a", 0, 1)]), {"other": "x_{y}"}, ["memo_1_3"])
    assert (table.loc[0, "effect"], table.loc[0, "evidence"]) == (
        "cannot_tell", "no key template for this task",
    )  # fmt: skip


def test_a_frame_of_effects_brings_its_evidence():
    done = pd.DataFrame({"key": ["memo_1_3", "memo_1_3", None], "communication": [77, 78, 79]})
    table = side_effects(from_records([memo("a", 0, 1)]), MEMO, done)
    assert table.loc[0, "evidence"] == "found, communication 77"
    with pytest.raises(SchemaError, match="no column 'key'"):
        side_effects(from_records([memo("a", 0, 1)]), MEMO, done[["communication"]])


def test_numbers_are_looked_up_as_text():
    table = side_effects(from_records([memo("a", 0, 1)]), "{property_id}", pd.Series([1, 2]))
    assert list(table["effect"]) == ["done"]


def test_frames_without_rows():
    full = duplicates(from_records([memo("a", 0, 1), memo("b", 1, 1), failure("c")]), MEMO)
    nothing = duplicates(empty(), MEMO)
    assert len(nothing) == 0 and dict(nothing.dtypes) == dict(full.dtypes)
    assert len(side_effects(empty(), MEMO, ["x"])) == 0
    assert len(duplicates(empty(), {"a": MEMO})) == 0
    assert len(duplicates(empty())) == 0


def test_any_index_will_do():
    failures = from_records([memo("a", 0, 12), memo("b", 5, 12), failure("c")])
    shuffled = failures.iloc[[2, 0, 1]].set_axis([5, 5, 5])
    pd.testing.assert_frame_equal(duplicates(failures, MEMO), duplicates(shuffled, MEMO))
    assert list(side_effects(shuffled, MEMO, [])["failure_id"]) == ["b", "a", "c"]


def test_a_sentence_counts_each_failure_once():
    twice = [failure(str(n), n, kwargs={"property_id": n // 3, "template_id": 1}) for n in range(6)]
    alone, odd = failure("x"), failure("y", kwargs={"template_id": 1})
    found = duplicates(from_records([*twice, odd]), MEMO)
    assert found.attrs["says"] == "4 of 7 failures are copies of 2 others; of 1 nobody can tell"
    assert duplicates(from_records([alone])).attrs["says"] == "No failure of 1 is a copy of another"
    pair = [failure("a"), failure("b", 1, task_id="task-a")]
    assert duplicates(from_records(pair)).attrs["says"] == "1 of 2 failures is a copy of 1 other"
