"""What shares a fingerprint and what must not; that nothing raises, hangs, or depends on its neighbours."""

import json
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis import fingerprint as verb
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.fingerprint import (
    columns,
    explain,
    fingerprint,
    gathering,
    merge_stub,
    similar,
    skeletons,
    template,
)
from dlqanalysis.fingerprint.frames import innermost, says_nothing
from dlqanalysis.fingerprint.hand import parse

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data/fingerprint_pairs.jsonl")
    .read_text("utf-8")
    .splitlines()
]
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def frame(*messages, kind="Error", **columns):
    return pd.DataFrame({"exception_type": kind, "exception_message": list(messages), **columns})


def shares(*messages, kind="Error"):
    return fingerprint(frame(*messages, kind=kind))["fingerprint"].nunique() == 1


TEMPLATES = [
    ("uuid", f"property {UUID} not found", "property <uuid> not found"),
    ("host and port", "connect ECONNREFUSED 10.0.3.17:5432", "connect ECONNREFUSED <host>"),
    ("host by name", "no route to worker-17.prod.example.com:8080", "no route to <host>"),
    ("e-mail", "ann.b+x@mail.example.co.uk is known", "<email> is known"),
    ("url", "404 Client Error: Not Found for url: https://a.example/b/1?c=2", "404 Client Error: Not Found for url: <url>"),
    ("path", "[Errno 2] No such file or directory: '/tmp/tmpab12/p_3.pdf'", "[Errno 2] No such file or directory: '<path>'"),
    ("time", "expired at 2024-05-01T10:00:00.123Z", "expired at <time>"),
    ("duration", "timed out after 1500 ms", "timed out after <time>"),
    ("size", "file of 12.5 MB is too large", "file of <size> is too large"),
    ("number", "order 81231 not found", "order <num> not found"),
    ("sign and point", "balance -12.50 is below 0", "balance <num> is below <num>"),
    ("address in memory", "<app.Conn object at 0x7f3c1a2b> is closed", "<app.Conn object at <num>> is closed"),
    ("token with a kind", "No such customer: 'cus_Nf8sK2mVqPz'", "No such customer: '<id>'"),
    ("value in quotes", "invalid literal for int() with base 10: 'abc'", "invalid literal for int() with base <num>: <str>"),
    ("column stays", 'column "address1" does not exist', 'column "address1" does not exist'),
    ("key stays", "'address2'", "'address2'"),
    ("SQL goes", "(x.E) boom\n[SQL: SELECT 1]\n[parameters: {'a': 'b'}]", "(x.E) boom <sql>"),
    ("ANSI colours", "\x1b[31mboom\x1b[0m 12", "boom <num>"),
    ("nothing", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), TEMPLATES, ids=[row[0] for row in TEMPLATES])
def test_templates(name, text, expected):
    assert template(text) == expected


#: Wrong today, known. A change that mends one fails here, and moves it up.
KNOWN_WRONG = [
    ("an id that is once a number, once a uuid, is one value", ("Missing lock for job 6120", f"Missing lock for job {UUID}"), False),
    ("a name without a sign is no value", ("User ann has no mailbox", "User bob has no mailbox"), False),
    ("a word with its number is one value", ("volume sda1 is full", "volume root1 is full"), True),
    ("a status in an access log is a status", ('"GET /a" status: 404 len: 2', '"GET /a" status: 200 len: 2'), False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "messages", "together"), KNOWN_WRONG, ids=[row[0] for row in KNOWN_WRONG]
)
def test_what_is_known_to_be_wrong(name, messages, together):
    assert shares(*messages) is together


def test_pairs_that_must_or_must_not_share():
    rows = pd.DataFrame(
        {
            "exception_type": [pair["type"] for pair in PAIRS for _ in "ab"],
            "exception_message": [pair[side] for pair in PAIRS for side in "ab"],
        }
    )
    prints = fingerprint(rows)["fingerprint"].to_numpy().reshape(-1, 2)
    wrong = [
        ("split" if pair["same"] else "merged", pair["a"], pair["b"])
        for pair, (a, b) in zip(PAIRS, prints, strict=True)
        if (a == b) != pair["same"]
    ]
    assert len(PAIRS) > 1_000
    assert wrong == []


def test_the_type_tells_apart():
    rows = fingerprint(
        pd.DataFrame({"exception_type": ["A", "B", None], "exception_message": ["boom"] * 3})
    )
    assert rows["fingerprint"].nunique() == 3


def test_a_row_has_its_fingerprint_alone_and_among_others():
    messages = [pair["a"] for pair in PAIRS[:300]]
    together = fingerprint(frame(*messages))["fingerprint"].to_list()
    backwards = fingerprint(frame(*messages[::-1]))["fingerprint"].to_list()[::-1]
    alone = [fingerprint(frame(message))["fingerprint"].iloc[0] for message in messages[::20]]
    assert together == backwards
    assert together[::20] == alone


def test_fingerprints_are_the_same_next_week():
    rows = fingerprint(frame("connect ECONNREFUSED 10.0.3.17:5432", "'price'", ""))
    assert rows["fingerprint"].to_list() == [
        "200f8bbb1c3d403d",
        "9615f57b05f7eba4",
        "36ec381ae602af17",
    ]


def test_columns_index_and_missing_values():
    rows = frame("a 1", None, "a 2")
    rows.index = pd.Index([7, 3, 9])
    told = fingerprint(rows)
    assert list(told.columns) == ["exception_type", "exception_message", "fingerprint", "template"]
    assert (told["fingerprint"].dtype, told["template"].dtype) == ("str", "str")
    assert told.index.tolist() == [7, 3, 9]
    assert told["template"].tolist() == ["a <num>", "", "a <num>"]
    assert told["fingerprint"].str.fullmatch("[0-9a-f]{16}").all()
    assert "fingerprint" not in rows.columns


def test_empty_frame_and_categories():
    empty = fingerprint(frame().astype({"exception_message": "str", "exception_type": "category"}))
    assert (empty["fingerprint"].dtype, len(empty)) == ("str", 0)
    rows = frame("a 1", "a 2").astype("category")
    assert fingerprint(rows)["fingerprint"].nunique() == 1


def test_a_frame_without_messages_says_what_to_do():
    with pytest.raises(SchemaError, match=r"no column 'exception_message'.*dlq\.load"):
        fingerprint(pd.DataFrame({"exception_type": ["A"]}))
    with pytest.raises(SchemaError, match="no fingerprint"):
        similar(frame("a"))


def test_the_face_gives_the_verb():
    assert callable(verb)


# skeletons


def test_skeletons_keep_nulls_codes_and_kinds_of_arrays():
    texts = [
        "order 812 failed with 503",
        None,
        "order 9 failed with 503",
        "order 9 failed with 429",
    ]
    for column in (
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        pa.chunked_array([texts[:2], texts[2:]]),
        pa.array(texts).dictionary_encode(),
    ):
        found = skeletons(column).to_pylist()
        assert found[1] is None
        assert found[0] == found[2] != found[3]
        assert "503" in found[0]
    assert len(skeletons(pa.array([], pa.string()))) == 0
    assert skeletons(pa.array([None], pa.null())).to_pylist() == [None]


WORDS = st.sampled_from(
    [
        *["a", ",", ":", ";", "=", "(", ")", "[", "]", "{", "}", "<", ">", "/", "\\", "'", '"', "`", "@", "-", "_", ".", "#", "|", "%", "+", "*", "~", "^", "$", "\n", "\t"],
        "error", "code", "status", "HTTP/1.1", "[Errno ", "429", "503", "23505", "40P01", "ORA-00060", "P2002", "(1213, '",
        "0x7fe3", "0x80131904", UUID, "10.0.0.1:80", "db-1.internal", "2024-05-01 10:00:00", "12.5", "-3", "81231", "7", "ms",
        "MB", "column", "address1", "line", "'x1'", '"y2"', "deadbeef12", "cus_Nf8sK2mVq", "<num>", "<host>", "é", "😀", "\x00",
        "\x01", "\x1e", "\x1f", "user=", "for user", "https://a.b/c", "a@b.c", "/tmp/a.txt", "C:\\x\\y", "Key (a)=(", "[SQL: ",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=200), st.lists(WORDS, max_size=20).map("".join), st.lists(WORDS, max_size=20).map(" ".join)
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=20, max_size=40))
def test_templates_never_raise_and_stay(messages):
    clean = [text.encode("utf-8", "backslashreplace").decode() for text in messages]
    once = fingerprint(frame(*clean))["template"]
    assert fingerprint(frame(*once))["template"].tolist() == once.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=60))
def test_equal_skeletons_have_equal_templates(messages):
    clean = [text.encode("utf-8", "replace").decode() for text in messages]
    seen = {}
    templates = fingerprint(frame(*clean))["template"]
    for skeleton, found in zip(skeletons(pa.array(clean)).to_pylist(), templates, strict=True):
        assert seen.setdefault(skeleton, found) == found


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=2), TEXTS)
def test_a_large_number_never_tells_two_errors_apart(numbers, text):
    words = text.encode("utf-8", "replace").decode().replace("\x1b", "")
    one, two = (f"{words} record {number + 10_000} gone" for number in numbers)
    assert template(one) == template(two)


@pytest.mark.parametrize(
    "text", ["\ud800 boom 12", "a\x00b", "\x1e\x1f 12", "é" * 9000, "\x01" * 50]
)
def test_odd_characters(text):
    assert isinstance(template(text), str)
    assert template(template(text)) == template(text)


HOSTILE = ["a", "1", "a1", "'", "\"'", "([{", "1.", "a.", "/a", "a@", "::", "0x", "-1", " 503", "a_1", "Key (a)=(", "<", "error: ", "\n"]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_ends_soon(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    template(text)
    skeletons(pa.array([text, text[1:]]))
    innermost(text)
    assert (
        time.process_time() - start < 5
    )  # seconds of work, on any machine; a wrong grammar takes hours


# frames of the traceback

PYTHON = """Traceback (most recent call last):
  File "/srv/releases/2024/app/tasks.py", line {line}, in send
    client.post(url)
  File "/srv/venv/lib/python3.12/site-packages/httpx/_client.py", line 9, in post
    raise E
Exception"""
NODE = """Error
    at Object.parse (node:internal/json:1:2)
    at async {function} (/app/dist/worker.js:{line}:7)
    at run (/app/node_modules/bullmq/dist/worker.js:1:1)"""
JAVA = """java.lang.RuntimeException: x
\tat com.acme.Outer.call(Outer.java:1)
Caused by: java.lang.IllegalStateException
\tat org.apache.http.Client.get(Client.java:3)
\tat com.acme.{function}.load(Repo.java:{line})"""

FRAMES = [
    ("Python", PYTHON.format(line=3), "app/tasks.py:send"),
    ("Python, two causes", PYTHON.format(line=3) + "\n\nDuring handling of the above exception, another exception occurred:\n\n" + PYTHON.replace("send", "retry").format(line=9), "app/tasks.py:retry"),
    ("Python, two frames of the application", 'Traceback\n  File "/app/run.py", line 1, in outer\n  File "/app/mail.py", line 2, in inner\nE', "app/mail.py:inner < app/run.py:outer"),
    ("Node", NODE.format(line=3, function="sendMail"), "dist/worker.js:sendMail"),
    ("Java, innermost cause", JAVA.format(line=3, function="Repo"), "com.acme.Repo:load"),
    ("Go", "panic: x\n\nmain.load(0x1, 0x2)\n\t/app/main.go:12 +0x1b\n", "app/main.go:main.load"),
    ("Ruby", "/app/lib/a.rb:3:in `load'\n/gems/x.rb:1:in `y'", "lib/a.rb:load"),
    ("PHP", "#0 /app/src/Mail.php(12): App\\Mail->send('x')\n#1 {main}", "src/Mail.php:App\\Mail->send"),
    ("nothing but libraries", 'Traceback\n  File "/x/site-packages/a/b.py", line 1, in c\nE', "a/b.py:c"),
    ("no frames", "boom", ""),
    ("none", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), FRAMES, ids=[row[0] for row in FRAMES])
def test_innermost_frames(name, text, expected):
    assert innermost(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("", "Exception", True),
        ("Error", "Error", True),
        ("An error occurred.", "Exception", True),
        ("Task failed", "Exception", True),
        ("<num>", "KeyError", True),
        ("SoftTimeLimitExceeded()", "billiard.exceptions.SoftTimeLimitExceeded", True),
        ("'price'", "KeyError", False),
        ("not found", "Error", False),
        ("timeout", "Error", False),
    ],
)
def test_messages_that_say_nothing(text, kind, expected):
    assert says_nothing(text, kind) is expected


def test_frames_refine_only_what_says_nothing():
    one, same, other = (
        PYTHON.format(line=3),
        PYTHON.format(line=77),
        PYTHON.replace("send", "render").format(line=3),
    )
    quiet = fingerprint(frame("", "", "", "", traceback=[one, same, other, None]))["fingerprint"]
    assert quiet[0] == quiet[1]
    assert quiet.nunique() == 3
    loud = fingerprint(frame("boom", "boom", traceback=[one, other]))["fingerprint"]
    assert loud.nunique() == 1


def test_a_representative_speaks_for_its_task():
    rows = frame(
        "", "", "", "", traceback=[PYTHON.format(line=1), None, None, JAVA], task_name=list("aabc")
    )
    assert fingerprint(rows)["fingerprint"].nunique() == 3  # b has none, as a's second row
    rows.attrs["tracebacks"] = "representatives"
    told = fingerprint(rows)["fingerprint"]
    assert told[0] == told[1] != told[2]
    rows.loc[2, ["traceback", "task_name"]] = [JAVA.format(line=1, function="X"), "a"]
    told = fingerprint(rows)["fingerprint"]
    assert told[1] not in (
        told[0],
        told[2],
    )  # two representatives disagree: nobody speaks for the rest


# by hand


@pytest.fixture
def groups(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "groups.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("DLQ_GROUPS", str(path))

    return write


def test_merge_by_hand(groups):
    messages = frame("socket hang up", "read ECONNRESET", "other")
    before = fingerprint(messages)["fingerprint"]
    groups(f'[[merge]]\nfingerprints = ["{before[0]}", "{before[1]}"]\nwhy = "one proxy"')
    after = fingerprint(messages)
    assert after["fingerprint"].tolist() == [before[0], before[0], before[2]]
    assert after["template"].tolist() == ["socket hang up", "read ECONNRESET", "other"]
    assert "Merged by hand" in explain(after.iloc[0], after.iloc[1])


def test_split_by_hand_is_stable(groups):
    messages = frame("upstream failed: reset", "upstream failed: reset", "upstream failed: 12")
    before = fingerprint(messages)["fingerprint"]
    assert before.nunique() == 2
    wrapped = frame("wrapped: a", "wrapped: a", kind="E")
    one = fingerprint(wrapped)["fingerprint"].iloc[0]
    groups(
        f'[[split]]\nfingerprint = "{before[2]}"\nby = "failed: [0-9]"\n[[split]]\nfingerprint = "{one}"\nby = "nowhere"'
    )
    after = fingerprint(messages)
    assert after["fingerprint"].tolist()[:2] == before.tolist()[:2]
    assert after["fingerprint"][2] != before[2]
    assert after["template"][2] == "upstream failed: <num> [failed: 1]"
    alone = fingerprint(messages.iloc[[2]])
    assert alone["fingerprint"].iloc[0] == after["fingerprint"][2]
    assert fingerprint(wrapped)["fingerprint"].tolist() == [one, one]


def test_placeholders_of_the_user(groups):
    assert not shares("order ABC-XY is late", "order QRS-TU is late")
    groups('[placeholders]\norder_number = "[A-Z]{3}-[A-Z]{2}"')
    assert shares("order ABC-XY is late", "order QRS-TU is late")
    assert template("order ABC-XY is late") == "order <order_number> is late"


WRONG_FILES = [
    ("no TOML", "[[merge", "no valid TOML"),
    ("no tables", "merge = [5]", "'merge' is no list of tables. Write each as a block, [[merge]]"),
    ("no table", "placeholders = 5", "Write it as [placeholders]"),
    ("no list", "[[merge]]\nfingerprints = 5", "needs two"),
    ("unknown table", "[merges]", "'merges' is unknown. Did you mean 'merge'"),
    ("one fingerprint", '[[merge]]\nfingerprints = ["05c28463aa1b7f00"]', "needs two"),
    ("no fingerprint", '[[merge]]\nfingerprints = ["05c28463aa1b7f00", "x"]', "'x' is no fingerprint"),
    ("twice merged", '[[merge]]\nfingerprints = ["05c28463aa1b7f00", "15c28463aa1b7f00"]\n' * 2, "merged twice"),
    ("unknown key", '[[split]]\nfingerprint = "05c28463aa1b7f00"\nbye = "x"', "Did you mean 'by'"),
    ("unknown key of a merge", '[[merge]]\nfingerprint = "05c28463aa1b7f00"', "'fingerprint' is unknown. Did you mean 'fingerprints'"),
    ("twice split", '[[split]]\nfingerprint = "05c28463aa1b7f00"\nby = "x"\n' * 2, "split twice"),
    ("look-around", '[placeholders]\nx = "(?<=a)b"', "no regular expression of RE2"),
    ("finds nothing", '[placeholders]\nx = "a*"', "finds the empty text"),
    ("not text", "[placeholders]\nx = 1", "must be a regular expression"),
    ("its name", '[placeholders]\nX9 = "a"', "lower-case word"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "says"), WRONG_FILES, ids=[row[0] for row in WRONG_FILES])
def test_a_wrong_groups_file_says_what_is_wrong(name, text, says):
    with pytest.raises(SettingsError, match=r"g\.toml") as caught:
        parse(text, "g.toml")
    assert says in str(caught.value)


def test_a_missing_groups_file_is_told(monkeypatch):
    monkeypatch.setenv("DLQ_GROUPS", "/nowhere/groups.toml")
    with pytest.raises(SettingsError, match="no groups file at /nowhere"):
        fingerprint(frame("a"))


# proposals


def test_similar_proposes_and_merges_nothing(groups):
    rows = fingerprint(frame(*[f"cannot render the page {word} now" for word in ("home", "about", "price", "team")], "other"))  # fmt: skip
    found = similar(rows)
    assert found[["template", "failures", "differs"]].values.tolist() == [
        ["cannot render the page <*> now", 4, "about, home, price, team"]
    ]
    assert rows["fingerprint"].nunique() == 5
    groups(merge_stub(found.iloc[0]))
    assert fingerprint(rows)["fingerprint"].nunique() == 2


@pytest.mark.parametrize(
    "words", [("429", "502", "503"), ("'a'", "'b'", "'c'"), ("ECONNRESET", "ETIMEDOUT", "EPIPE")]
)
def test_similar_never_proposes_codes_and_names(words):
    rows = fingerprint(frame(*[f"request failed with status {word}" for word in words]))
    assert similar(rows).empty


def test_a_pattern_and_one_value_more_are_one_proposal_with_two_holes():
    said = [f"could not open red door {when}" for when in ("now", "later", "soon")]
    said += [f"could not open {colour} door tomorrow" for colour in ("blue", "green", "grey")]
    [pattern] = similar(fingerprint(frame(*said)))["template"]
    assert pattern == "could not open <*> door <*>"


def test_similar_counts_what_has_no_type_and_nothing_that_is_not_there():
    """Many systems name no exception; and a frame that was filtered still knows the types that it had."""
    said = [f"cannot render the page {w} now" for w in ("home", "about", "price", "team", "jobs")]
    more = [f"no room in the hall {word} today" for word in ("red", "blue", "green", "white")]
    rows = fingerprint(pd.concat([frame(*said, kind=None), frame(*more), frame("x", kind="Gone")]))
    rows["exception_type"] = rows["exception_type"].astype("category")
    found = similar(rows[rows["exception_message"] != "x"])
    assert found["template"].tolist() == [
        "cannot render the page <*> now",
        "no room in the hall <*> today",
    ]
    assert found.index.tolist() == [0, 1] and found["failures"].tolist() == [5, 4]
    assert found["exception_type"].isna().tolist() == [True, False]


def test_similar_does_not_depend_on_order():
    rows = fingerprint(
        frame(
            *[f"a page {word} is {tail} gone" for word in "xyz" for tail in ("not", "now", "all")]
        )
    )
    one, two = similar(rows), similar(rows.iloc[::-1])
    pd.testing.assert_frame_equal(one, two)


# explain


def test_explain_says_the_first_difference():
    text = explain(
        "429 Client Error for url: https://a.b/c", "503 Client Error for url: https://a.b/d"
    )
    assert "at the start stands '429' in a and '503' in b" in text
    assert "a: <url> took 'https://a.b/c'" in text


def test_explain_says_what_each_placeholder_took():
    one = {"exception_type": "E", "exception_message": "user 12 timed out after 3 s"}
    two = pd.Series({"exception_type": "E", "exception_message": "user 99 timed out after 4.5 s"})
    text = explain(one, two)
    assert text.startswith("Same fingerprint ")
    assert text.splitlines()[0].endswith(": E, template 'user <num> timed out after <time>'.")
    assert "<num> took '12'; <time> took '3 s'" in text


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ({"exception_type": "A"}, {"exception_type": "B"}, "exception types are 'A' and 'B'"),
        ({"traceback": PYTHON}, {"traceback": NODE}, "innermost application frames differ"),
        ("a b", "a b c", "after 'a b' stands '' in a and 'c' in b"),
        (None, float("nan"), ": (no type), template '(empty)'."),
        ("\ud800", "x", "Different"),
    ],
)
def test_explain_other_differences(a, b, says):
    assert says in explain(a, b)


def test_many_texts_are_worked_on_in_parts_and_stay_in_order(monkeypatch):
    monkeypatch.setattr(columns.pl, "thread_pool_size", lambda: 3)
    monkeypatch.setattr(columns, "_SPLIT", 10)
    texts = columns.pl.Series("text", [f"{'x' * n} {n}" for n in range(10)])
    seen = []
    shaped = columns._threaded(texts, lambda part: (seen.append(len(part)), part + "!")[1])
    assert shaped.to_list() == [f"{one}!" for one in texts] and sorted(seen) == [2, 4, 4]


def test_a_column_that_comes_in_parts_has_the_skeletons_of_the_whole(monkeypatch):
    monkeypatch.setattr(gathering, "_AT_ONCE", 4)
    texts = [f"user {n % 3} got 50{n % 2} from 10.0.0.{n}" if n % 5 else None for n in range(11)]
    alone = skeletons(pa.array(texts)).to_pylist()
    parts = [pa.chunked_array([pa.array(texts[n : n + 3], pa.large_string())]) for n in range(0, 11, 3)]  # fmt: skip
    whole = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
    with gathering.Gathering() as coming:
        for part in parts:
            coming.add(part)
        coming.remember(whole)
    monkeypatch.setattr(columns, "shapes", None)  # it is known: nothing is worked out again
    assert skeletons(whole).to_pylist() == alone
