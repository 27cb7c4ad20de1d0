"""The verdict: figures over a labelled table, evidence, and one answer for a row whatever stands beside it."""

import traceback
from collections import Counter
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis.classify import (
    _FRAME,
    _FRAMES,
    classify,
    coverage,
    related,
    rule_stub,
    rule_stubs,
    unknown_groups,
)
from dlqanalysis.classify.rules import builtin, parse, read, rulebook
from dlqanalysis.errors import RulebookError, SchemaError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.signals import signals

TABLE = Path(__file__).parent / "data" / "verdicts.tsv"
CLASS = {"T": "transient", "P": "permanent", "D": "data", "U": "unknown"}
WHEN = "2026-11-01T10:00:00Z"


def _rows() -> list[tuple[tuple[str, ...], str, str]]:
    rows = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            letters, kind, message = line.split("\t")
            texts = [
                part.replace("\\\\", "\x00")
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\x00", "\\")
                for part in (kind, message)
            ]
            rows.append((tuple(CLASS[letter] for letter in letters), texts[0], texts[1]))
    return rows


ROWS = _rows()


def _frame(rows, **more):
    return from_records(
        {
            "failure_id": str(number),
            "task_name": "tasks.run",
            "exception_type": kind,
            "exception_message": message,
            "failed_at": WHEN,
            "kwargs": {},
            **more,
        }
        for number, (_, kind, message) in enumerate(rows)
    )


@pytest.fixture(scope="module")
def judged():
    frame = classify(_frame(ROWS))
    return frame.set_index(frame["failure_id"].astype(int)).sort_index()


def test_the_figures_hold_over_the_labelled_table(judged):
    """unsafe: PERMANENT/DATA called transient. The goals are 1 %, 93 %, 90 % and 5 %; here with margin."""
    count, unsafe = Counter(), []
    told = zip(ROWS, judged["failure_class"], judged["rule"], strict=True)
    for (accept, kind, message), said, rule in told:
        count["rows"] += 1
        count["right"] += said in accept
        count["decided"] += said != "unknown"
        stays = accept[0] in ("permanent", "data") and "transient" not in accept
        if stays and said == "transient":
            unsafe.append(f"{rule}: {kind}: {message[:200]}")
        if accept[0] == "transient":
            count["may go"] += 1
            count["missed"] += said in ("permanent", "data") and said not in accept
    assert count["rows"] >= 6_900
    assert unsafe == []
    assert count["right"] / count["rows"] >= 0.985
    assert count["decided"] / count["rows"] >= 0.97
    assert count["missed"] / count["may go"] <= 0.01


def test_every_rule_decides_a_labelled_row(judged):
    """A rule that never wins over the whole table is dead: mend it, move it up or delete it."""
    names = {rule.name for rule in builtin()} - {"payload-unreadable"}  # that one reads no text
    assert names - set(judged["rule"]) == set()


def test_masked_numbers_change_no_verdict(judged):
    """What is judged is the text without its numbers; codes must stay in it, or a verdict would hang on an id."""
    book = rulebook()
    other = []
    for number, (_, kind, message) in enumerate(ROWS):
        match = book.judge(signals(kind, message))
        if (match.rule.name if match else "") != judged.loc[number, "rule"]:
            other.append((kind, message))
    assert other == []


def test_every_answer_is_explained_in_one_sentence(judged):
    decided = judged[judged["rule"] != ""]
    assert judged["why"].str.len().between(10, 200).all()
    assert judged["why"].notna().all()
    assert (decided["why"].str.contains('"') | (decided["why"].str.len() > 10)).all()
    assert set(judged["confidence"].cat.categories) == {"high", "medium", "low"}


@pytest.mark.parametrize(
    ("kind", "message", "quoted"),
    [
        ("GraphQLError", "Throttled by the gateway", '"Throttled"'),
        ("OperationalError", "(2006, 'gone')", '"(2006)"'),
        ("PDOException", "SQLSTATE[HY000] [1045] no", '"SQLSTATE[HY000] [1045]"'),
    ],
)
def test_evidence_is_quoted_in_whole_words(kind, message, quoted):
    assert quoted in classify(_frame([((), kind, message)])).iloc[0]["why"]


def test_a_stray_word_or_a_guess_from_a_name_is_no_statement_that_was_overruled():
    text = 'duplicate key value violates unique constraint "a_key"'
    rows = [
        ((), "IntegrityError", text),
        ((), "NoCredentialsError", "Unable to locate credentials"),
    ]
    assert not classify(_frame(rows))["why"].str.contains("outweighs").any()


def test_what_a_verdict_overruled_is_said():
    row = classify(
        _frame([((), "IntegrityError", "duplicate key value, after the connection timed out")])
    ).iloc[0]
    assert row["failure_class"] == "data"
    assert "outweighs" in row["why"]
    assert "(transient)" in row["why"]
    assert row["confidence"] == "high"


def test_causes_in_a_traceback_decide_for_a_silent_wrapper():
    trace = (
        'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    x()\nConnectionRefusedError:'
        " [Errno 111] Connection refused\n\nThe above exception was the direct cause of the following"
        ' exception:\n\nTraceback (most recent call last):\n  File "/a.py", line 2, in g\n    y()\n'
        "app.StepFailed: step failed\n"
    )
    frame = _frame([((), "app.StepFailed", "step failed")], traceback=trace)
    assert classify(frame)["failure_class"].iloc[0] == "transient"
    handled = trace.replace(
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    )
    frame = _frame([((), "app.StepFailed", "step failed")], traceback=handled)
    assert classify(frame)["failure_class"].iloc[0] == "transient"
    frame = _frame([((), "TypeError", "x() takes 1 positional argument")], traceback=handled)
    assert classify(frame)["failure_class"].iloc[0] == "permanent"


def test_a_representative_s_traceback_speaks_for_its_kind_only_where_load_says_so():
    refused = "X\n\tat a.B(C.java:1)\nCaused by: java.net.ConnectException: Connection refused\n"
    records = [
        {"failure_id": "a", "exception_message": "step 1 failed", "traceback": refused},
        {"failure_id": "b", "exception_message": "step 2 failed"},
        {"failure_id": "c", "exception_message": "other"},
    ]
    frame = from_records(
        {"task_name": "t", "exception_type": "StepFailed", "failed_at": WHEN, **one}
        for one in records
    )
    alone = classify(frame).set_index("failure_id")["failure_class"]
    assert alone.to_dict() == {"a": "transient", "b": "unknown", "c": "unknown"}
    frame.attrs["tracebacks"] = "representatives"
    spread = classify(frame).set_index("failure_id")["failure_class"]
    assert spread.to_dict() == {"a": "transient", "b": "transient", "c": "unknown"}


def test_where_representatives_disagree_the_safer_answer_counts():
    refused = "Caused by: java.net.ConnectException: Connection refused\n"
    pointer = "Caused by: java.lang.NullPointerException: x\n"
    frame = from_records(
        {"failure_id": name, "task_name": "t", "exception_type": "StepFailed", "exception_message": "step failed",
         "traceback": trace, "failed_at": WHEN}
        for name, trace in (("a", refused), ("b", pointer), ("c", None))
    )  # fmt: skip
    frame.attrs["tracebacks"] = "representatives"
    said = classify(frame).set_index("failure_id")["failure_class"].to_dict()
    assert said == {"a": "transient", "b": "permanent", "c": "permanent"}


def test_evidence_overrules_the_text_and_says_so():
    frame = _frame(
        [((), "Timeout", "timed out"), ((), "Timeout", "timed out"), ((), "KeyError", "'a'")]
    )
    evidence = pd.DataFrame(
        {
            "source": "records",
            "failure_id": ["0", "0", "2"],
            "failure_class": ["transient", "data", "transient"],
            "why": [
                "41 of 43 replays succeeded",
                "property 17 does not exist any more",
                "40 of 40 replays succeeded",
            ],
        }
    )
    said = classify(frame, evidence).set_index("failure_id")
    assert said["failure_class"].to_dict() == {"0": "data", "1": "transient", "2": "transient"}
    assert said["rule"].to_dict() == {"0": "evidence", "1": "timeout", "2": "evidence"}
    assert (
        said.loc["0", "why"]
        == "property 17 does not exist any more (the text said transient by rule timeout)"
    )
    assert "41 of 43" not in " ".join(said["why"])
    assert classify(frame, evidence.head(0))["rule"].to_list() == classify(frame)["rule"].to_list()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.drop(columns="why"), "The evidence has no column 'why'"),
        (lambda e: e.assign(failure_class="transitory"), "Did you mean 'transient'"),
    ],
)
def test_evidence_of_a_wrong_form_is_refused(change, said):
    evidence = pd.DataFrame(
        {"source": ["records"], "failure_id": ["0"], "failure_class": ["data"], "why": ["x"]}
    )
    with pytest.raises(SchemaError, match=said):
        classify(_frame([((), "X", "y")]), change(evidence))


def test_related_records_that_are_gone_are_evidence():
    frame = from_records(
        {"failure_id": name, "exception_type": "Timeout", "failed_at": WHEN, **payload}
        for name, payload in (
            ("there", {"kwargs": {"property_id": 1}}),
            ("gone", {"kwargs": {"property_id": 2}}),
            ("text", {"kwargs": {"property_id": "2"}}),
            ("none", {"kwargs": {"other": 2}}),
            ("broken", {"kwargs": "{'property_id': 2}"}),
            ("place", {"args": [2]}),
        )
    )
    evidence = related(frame, "property_id", [1])
    assert evidence["failure_id"].to_list() == ["gone", "text"]
    assert evidence["why"].iloc[0] == "property_id 2 does not exist any more"
    assert related(frame, "0", pd.Series([1]))["failure_id"].to_list() == ["place"]
    assert related(empty(), "property_id", []).columns.to_list() == [
        "source",
        "failure_id",
        "failure_class",
        "why",
    ]
    said = classify(frame, evidence).set_index("failure_id")["failure_class"]
    assert said["gone"] == "data"
    assert said["there"] == "transient"


def test_coverage_adds_up_and_shows_the_unknown():
    frame = classify(
        _frame(
            [
                ((), "Timeout", ""),
                ((), "Timeout", ""),
                ((), "Zorp", "blub"),
                ((), "KeyError", "'a'"),
            ]
        )
    )
    table = coverage(frame)
    assert table["failures"].sum() == 4
    assert table["share"].sum() == pytest.approx(1)
    assert table[["failure_class", "rule", "failures"]].to_numpy().tolist() == [
        ["transient", "timeout", 2], ["permanent", "key-missing", 1], ["unknown", "", 1],
    ]  # fmt: skip
    assert coverage(classify(empty())).empty
    with pytest.raises(SchemaError, match=r"Run failures\.pipe\(dlq\.classify\) first"):
        coverage(_frame([((), "X", "")]))


def test_an_empty_frame_stays_empty_with_the_same_columns():
    said = classify(empty())
    assert len(said) == 0
    assert [str(said[name].dtype) for name in ("failure_class", "rule", "why", "confidence")] == [
        "category"
    ] * 4
    assert unknown_groups(said).empty


def test_a_frame_without_messages_is_refused():
    with pytest.raises(SchemaError, match="no column 'exception_message'"):
        classify(pd.DataFrame({"exception_type": ["X"]}))


UNKNOWN = [
    ("Zorp", "glib 17 in sector 9 of \"home\" 'x' \\d+ (a|b)"),
    ("*x.Odd[a]", "blurb https://a.b/c?d=1 and\nmore of it"),
    ("Zorp", ""),
    ("", ""),
    ("", "'''"),
    ("Exception", ""),
    ("Zörp", "glüb \x7f \t tab"),
    ("Z", "7 7 7"),
    ("Zorp", "a" * 400),
]


def chosen(stub):
    """A stub whose class somebody chose."""
    assert 'class = ""' in stub
    return stub.replace('class = ""', 'class = "permanent"')


@pytest.mark.parametrize(("kind", "message"), UNKNOWN)
def test_a_stub_is_a_rule_that_judges_its_group(kind, message, tmp_path, monkeypatch):
    frame = classify(_frame([((), kind, message)]))
    groups = unknown_groups(frame)
    assert groups["failures"].to_list() == [1]
    stub = rule_stub(groups.iloc[0])
    with pytest.raises(RulebookError, match="stub, line 3: the rule's class is still to be chosen"):
        parse(stub, "stub")
    stub = chosen(stub)
    path = tmp_path / "mine.toml"
    path.write_text(stub, encoding="utf-8")
    assert read(path)[0].failure_class == "permanent"
    monkeypatch.setenv("DLQ_RULEBOOK", str(path))
    assert classify(frame)["failure_class"].to_list() == ["permanent"]
    other = classify(_frame([((), "Exception", "quite another thing"), ((), "Zorp", "a plum")]))
    assert other["failure_class"].to_list() == ["unknown", "unknown"]


def test_stubs_of_several_groups_go_into_one_file():
    frame = classify(_frame([((), kind, message) for kind, message in UNKNOWN]))
    groups = unknown_groups(frame, n=20)
    text = chosen(rule_stubs(groups))
    assert len(parse(text, "stubs")) == len(groups)
    assert groups["failures"].sum() == len(UNKNOWN)
    with pytest.raises(SchemaError, match="A stub is for one group"):
        rule_stub(groups)


def test_stubs_have_names_of_their_own_and_one_is_for_what_differs_in_a_number(
    tmp_path, monkeypatch
):
    said = ["glib blurb of the home ended in <tidy>", "glib blurb of the home ended in <sorry>"]
    said += [f"zonk stage {n} of the plum stalled" for n in ("1xx", "2xx", "3xx")]
    frame = classify(_frame([((), "Zorp", message) for message in said]))
    groups = pd.DataFrame(
        {"exception_type": "Zorp", "template": said, "task_name": "t", "sample": said}
    )
    text = chosen(rule_stubs(groups))
    rules = parse(text, "stubs")
    names = [rule.name for rule in rules]
    assert len(rules) == 3 and len(set(names)) == 3 and names[1] == f"{names[0]}-2"
    assert len(rules[2].examples) == len(rules[2].when[0]["message"]) >= 1
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("DLQ_RULEBOOK", str(path))
    assert classify(frame)["failure_class"].to_list() == ["permanent"] * 5


def test_a_stub_shows_no_secret_of_its_sample():
    frame = classify(
        _frame(
            [((), "Zorp", "glib of mary.smith@example.org token=sk_live_4eC39HqLyjWDarjtT1zdp7dc")]
        )
    )
    stub = rule_stub(unknown_groups(frame).iloc[0])
    assert (
        "examples" not in stub
        or "sk_live_4eC39HqLyjWDarjtT1zdp7dc" not in stub.split("examples")[1]
    )


def test_unreadable_payloads_without_a_cause_are_data():
    frame = _frame([((), "Exception", "task failed")], kwargs="{'a': 1}")
    assert classify(frame)["rule"].to_list() == ["payload-unreadable"]


TEXTS = st.text(st.characters(codec=None), max_size=120) | st.sampled_from(
    [message for *_, message in ROWS]
)
NAMES = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [kind for _, kind, _ in ROWS]
)
FAILURES = st.lists(st.tuples(st.just(()), NAMES, TEXTS), min_size=1, max_size=6)


@settings(max_examples=20, deadline=None)
@given(FAILURES, FAILURES)
def test_a_row_s_answer_does_not_depend_on_its_neighbours(rows, others):
    columns = ["failure_class", "rule", "why", "confidence"]
    together = classify(_frame([*rows, *others])).set_index("failure_id")[columns].astype(str)
    for number, row in enumerate(rows):
        alone = classify(_frame([row])).iloc[0][columns].astype(str)
        assert together.loc[str(number)].to_list() == alone.to_list()


def test_hostile_text_is_judged_like_any_other():
    rows = [
        ((), "X", text)
        for text in ("a" * 1_000_000, "'" * 1_000_000, "500 (" * 200_000, "[SQL: " * 160_000)
    ]
    assert len(classify(_frame(rows))) == 4


def _nested(depth):
    try:
        if depth:
            _nested(depth - 1)
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError as error:
        if depth % 2:
            raise RuntimeError(
                f"step {depth} failed\n  File is gone\n    and so is this"
            ) from error
        raise


@pytest.mark.parametrize("depth", range(5))
def test_frames_of_python_are_left_out_without_a_word_lost(depth):
    """What is left of a traceback says to signals what all of it says."""
    with pytest.raises((OSError, RuntimeError)) as raised:
        _nested(depth)
    whole = "".join(traceback.format_exception(raised.value))
    short = pl.Series([whole]).str.replace_all(_FRAMES, _FRAME)[0]
    assert len(short) < len(whole) / 2
    kind, message = type(raised.value).__name__, str(raised.value)
    assert signals(kind, message, short) == signals(kind, message, whole)


def test_a_changed_message_is_judged_anew():
    """The skeletons of the last column are remembered; another column is another."""
    frame = _frame(ROWS[:50])
    first = classify(frame)
    turned = frame.assign(exception_message=frame["exception_message"].to_list()[::-1])
    again = classify(turned.assign(exception_type=frame["exception_type"].to_list()[::-1]))
    assert again["rule"].to_list()[::-1] == first["rule"].to_list()
    assert classify(frame)["rule"].to_list() == first["rule"].to_list()
