"""How frames look in a notebook: redacted, escaped, readable, with their true size."""

import json

import nbformat
import pandas as pd
import pyarrow as pa
import pytest
from nbclient import NotebookClient

import dlqanalysis
import dlqanalysis as dlq
from dlqanalysis import report
from dlqanalysis.display.extension import ROWS, readable, table_html
from dlqanalysis.display.progress import plain_table
from dlqanalysis.frame import empty, from_records
from dlqanalysis.profile import Profile
from dlqanalysis.readings import depths
from tests.books import HOSTILE, SECRET


def shown(shell, value):
    return shell.display_formatter.format(value)[0]


def hostile():
    return from_records(
        [
            {"failure_id": "1", "task_name": HOSTILE, "kwargs": {"password": SECRET},
             "exception_message": f"{HOSTILE} password={SECRET}", "failed_at": "2026-11-01T00:00:00Z"}
        ]
    )  # fmt: skip


@pytest.mark.parametrize("pick", [lambda f: f, lambda f: f["exception_message"], lambda f: f.T])
def test_frames_series_and_cards_are_escaped_and_redacted(shell, pick):
    data = shown(shell, pick(hostile()))
    assert "<script" not in data["text/html"] and "<img" not in data["text/html"]
    assert "&lt;script&gt;" in data["text/html"]
    assert SECRET not in data["text/html"] and SECRET not in data["text/plain"]


def test_labels_and_index_are_escaped_too(shell):
    frame = pd.DataFrame({HOSTILE: [1]}, index=pd.Index([HOSTILE], name=HOSTILE))
    html = shown(shell, frame)["text/html"]
    assert "<script" not in html and "<img" not in html and html.count("&lt;script&gt;") == 3


def test_payloads_are_left_out_of_a_failures_frame_and_said_so():
    page = table_html(hostile())
    assert "without args, kwargs, traceback, raw" in page
    assert "<th" in page and "kwargs</th>" not in page


def test_a_screen_reader_is_told_what_a_column_is_called():
    for page in (
        table_html(pd.DataFrame({"n": [1], "m": [2]})),
        plain_table(pd.DataFrame({"n": [1], "m": [2]})),
    ):
        assert page.count('<th scope="col"') == 2


def test_a_long_frame_is_cut_and_says_its_size():
    frame = pd.DataFrame({"n": range(5_000)})
    assert f"the first {ROWS} of 5,000 rows" in table_html(frame)
    assert table_html(frame).count("<tr>") == ROWS + 1


def test_notes_and_truncation_of_a_load_stand_beneath():
    frame = empty()
    frame.attrs = {"notes": ["1 row was unreadable.", "1 row was unreadable."], "truncated": True}
    page = table_html(frame)
    assert (
        "0 rows; without args, kwargs, traceback, raw; 1 row was unreadable; cut off by the limit"
        in page
    )


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("share", 0.1234, "12.3%"),
        ("usual", 3.0, "3"),
        ("usual", 3.456, "3.46"),
        ("count", 12_345, "12,345"),
        ("task_id", 12_345, "12345"),
        ("failed_at", pd.Timestamp("2026-11-01T10:00", tz="Europe/Berlin"), "2026-11-01 09:00:00Z"),
        ("length", pd.Timedelta("5h21m49s"), "5 h 21 min"),
        ("length", pd.Timedelta("45s"), "45 s"),
        ("why", None, ""),
        ("why", "two\nlines\u202e", "two lines "),
        ("why", "x" * 500, "x" * 119 + "…"),
        ("first", True, "True"),
    ],
)
def test_cells_are_written_for_a_reader(column, value, expected):
    frame = pd.DataFrame({column: pd.Series([value]), "other": ["-"], "more": ["-"]})
    assert readable(frame)[column].iloc[0] == expected


def test_a_sentence_that_stands_alone_is_not_cut():
    said = "Mails fail since 07:05 UTC, and it goes on: " + "609 failures, " * 20 + "the end."
    assert "the end." in table_html(pd.DataFrame({"what happened": [said]}))
    assert "the end." not in table_html(pd.DataFrame({"what happened": [said], "count": [609]}))
    assert "the end." not in table_html(pd.DataFrame({"text": ["x" * 601 + "the end."]}))


def test_a_card_keeps_its_lines():
    card = pd.Series({"traceback": "line one\nline two"}).to_frame()
    assert "line one\nline two" in table_html(card)


def test_sentences_and_lines_are_shown_as_they_are(shell):
    assert shown(shell, "Later successes are not known.")["text/plain"] == (
        "Later successes are not known."
    )
    assert shown(shell, "[[rule]]\nname = 'x'")["text/plain"] == "[[rule]]\nname = 'x'"
    assert shown(shell, "one")["text/plain"] == "'one'"


def test_as_text_a_table_reads_from_the_left_and_says_why_it_is_empty(shell):
    """Where a notebook is read as text: in a diff, a terminal, a search."""
    frame = pd.DataFrame({"error": ["a", "b: a longer one"], "count": [3, 1_200]})
    assert shown(shell, frame)["text/plain"] == (
        "error            count\na                    3\nb: a longer one  1,200\n[2 rows]"
    )
    assert shown(shell, frame.head(0))["text/plain"] == "0 rows (of error, count)"


def test_a_chart_has_its_sentence_as_text(shell):
    from plotly.io import renderers

    from dlqanalysis import charts

    bundle = renderers._build_mime_bundle(charts.timeline(empty()).to_dict(), "plotly_mimetype")
    assert bundle["text/plain"] == "Nothing to draw: there are no failures."
    assert "application/vnd.plotly.v1+json" in bundle


def test_the_frame_itself_stays_as_it_is(shell):
    frame = hostile()
    before = frame.copy(deep=True)
    shown(shell, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_errors_are_one_sentence(shell, capsys):
    shell.run_cell("from dlqanalysis.errors import SettingsError\nraise SettingsError('Set X.')")
    said = capsys.readouterr().out
    assert said.strip().endswith("SettingsError: Set X.") and "Traceback" not in said


def test_a_frame_without_rows_is_a_line():
    page = table_html(pd.DataFrame({"at": [], "<b>": []}))
    assert "0 rows (of at, &lt;b&gt;)" in page and "<table" not in page


def test_a_frame_without_rows_says_why_where_somebody_knows(tmp_path):
    nothing = pd.DataFrame({"at": []})
    nothing.attrs["empty"] = "No <b>change</b> was named."
    page = table_html(nothing)
    assert "<p>No &lt;b&gt;change&lt;/b&gt; was named.</p>" in page and "0 rows" not in page
    failures = dlq.from_records([{"failure_id": "1"}]).pipe(dlq.classify).pipe(dlq.fingerprint)
    none = failures.head(0)
    queue = [{"source": "s", "queue": "q", "state": "waiting", "depth": 0, "consumers": 0}]
    deploys = pd.DataFrame(
        {"at": [pd.Timestamp("2026-11-01T00:00Z")], "service": ["a"], "version": ["1"]}
    )
    for table, says in (
        (dlq.suspects(failures, dlq.changes())[["error", "says"]], "No change was named (changes="),
        (
            dlq.suspects(failures, deploys),
            "No change is suspected: nothing began within 2h after one of the 1 ",
        ),
        (
            dlq.affected(failures),
            "Not known: the profile names no fields of customers (`affected`).",
        ),
        (
            dlq.affected(failures, Profile(affected=("tenant",))),
            "No payload has a field that the profile names in",
        ),
        (dlq.retry_advice(failures), "Nothing is to be said against the retries"),
        (report.archivable(failures), "No failure is older than 30d."),
        (dlq.contradicted(failures, None), "No outcome of a replay speaks against a rule."),
        (dlq.common_causes(failures), "Nothing is known to have begun in several queues at once."),
        (dlq.looping(failures), "No task failed 3 times or more under one id."),
        (dlq.groups(none), "There is no such failure to count."),
        (dlq.duplicates(none), "No failure is known to be a copy of another."),
        (dlq.unknown_groups(none), "No group is unknown: a rule has judged every failure."),
        (dlq.Journal(f"sqlite:///{tmp_path}/journal").runs(), "No run yet: nothing was sent"),
        (
            dlq.orphaned(depths(queue)),
            "No queue with waiting tasks is known to be without a worker.",
        ),
    ):
        assert says in table_html(table) and "0 rows" not in table_html(table), says
        assert "1970" not in table_html(table)
    nobody = depths([])
    nobody.attrs["notes"] = ["No system was named."]
    assert "0 rows; No system was named.</p>" in table_html(dlq.orphaned(nobody))


def test_an_id_stands_on_one_line_and_what_nobody_reads_is_left_out():
    """A plan's rows were twice as high as they had to be, and too wide for a screen."""
    uuid = "1af3fadb-1442-4f49-a82c-98c216cb2c5f"
    named = ("failure_id", "task_name", "queue", "rule", "target", "key", "task_id", "content_hash")
    frame = pd.DataFrame({name: [uuid if name == "task_id" else "a"] for name in named})
    page = table_html(frame)
    assert f'<td style="text-align:left;white-space:nowrap">{uuid}</td>' in page
    assert ">content_<wbr>hash<" not in page and "1 row; without content_hash" in page
    task = "billing.tasks.refund_payment"  # no wider than a long column is at least
    assert f'nowrap">{task}</td>' in table_html(pd.DataFrame({"task_name": [task]}))
    assert "min-width" in table_html(
        pd.DataFrame({"error": ["a sentence of more than 36 letters ..."]})
    )


def test_a_long_name_breaks_between_its_parts_and_not_in_the_middle_of_a_word():
    names = ["shop.orders.release_expired_reservations", "<b>SendDigestOfTheLastMonthToEverybody"]
    page = table_html(pd.DataFrame({"task_name": names}))
    assert ">shop.<wbr>orders.<wbr>release_<wbr>expired_<wbr>reservations</td>" in page
    assert ">&lt;b&gt;Send<wbr>Digest<wbr>Of<wbr>The<wbr>Last<wbr>Month<wbr>" in page
    short = "Sentences of short words, however many there are, are as they are: shop.orders"
    assert f">{short}</td>" in table_html(pd.DataFrame({"task_name": [short]}))


def test_numbers_of_a_small_table_are_read_like_those_of_a_large_one():
    page = plain_table(pd.DataFrame({"because": ["<b>over</b>"], "failures": [4_326]}))
    assert '<td style="text-align: right">4,326</td>' in page
    assert '<th scope="col" style="text-align: right">failures</th>' in page
    assert '<td style="text-align: left">&lt;b&gt;over&lt;/b&gt;</td>' in page


def test_what_the_kit_says_is_not_cut_and_chance_is_no_zero():
    said = "It never came before " * 10 + "the end."
    shown = readable(
        pd.DataFrame({"says": [said], "template": [said], "chance": [1e-9], "n": [1]})
    ).iloc[0]
    assert shown["says"] == said and shown["template"].endswith("…") and shown["chance"] == "<0.01"


def test_a_long_name_of_a_column_may_break():
    assert "before_<wbr>per_<wbr>hour</th>" in table_html(pd.DataFrame({"before_per_hour": [1.0]}))


def test_who_forgets_the_magic_line_sees_no_secret_either(tmp_path):
    told = pd.array([f"password={SECRET} {HOSTILE}"], dtype="str")
    hostile().assign(exception_message=told).to_parquet(tmp_path / "failures.parquet")
    cells = (
        "import dlqanalysis as dlq\nfailures = dlq.load('failures.parquet', since=None)\nfailures.head(2)",
        "failures[['failure_id', 'kwargs']]",
        "dlq.details('failures.parquet', failures)[['exception_message', 'kwargs']]",
        "dlq.show('failures.parquet', '1')",
        "print(dlq.show('failures.parquet', '1'))",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    done = NotebookClient(book, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [json.dumps(cell["outputs"]) for cell in done.cells]
    pages = [
        part["data"].get("text/html", "") for cell in done.cells[:4] for part in cell["outputs"]
    ]
    assert len(pages) == 4 and not any("<script" in page for page in pages)
    for text, cell in zip(outputs, cells, strict=True):
        assert "<secret>" in text.replace("&lt;", "<").replace("&gt;", ">"), cell
        assert SECRET not in text, cell


def test_a_failure_is_shown_redacted_in_plain_python_and_is_as_it_is():
    card = dlqanalysis.show(_Source(), "1")
    assert SECRET not in repr(card) and SECRET not in str(card) and "<secret>" in repr(card)
    assert "\x1b" not in repr(card) and "a:\n    b" in repr(card)
    assert SECRET in card["kwargs"] and SECRET in card.to_dict()["kwargs"]
    assert repr(card).startswith("failure_id: 1\n")


class _Source:
    name = "somewhere"

    def details(self, failure_ids, columns):
        row = {
            "failure_id": "1",
            "kwargs": json.dumps({"password": SECRET}),
            "traceback": "a:\nb\x1b[31m",
        }
        return pa.Table.from_pylist([row])
