"""How frames look in a notebook: redacted, escaped, readable, with their true size."""

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

import dlqanalysis
from dlqanalysis.extension import ROWS, readable, table_html
from dlqanalysis.frame import empty, from_records
from tests.books import HOSTILE, SECRET


@pytest.fixture
def shell():
    made = InteractiveShell()
    dlqanalysis.load_ipython_extension(made)
    yield made
    made.history_manager.end_session()
    pd.reset_option("display")


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


def test_a_long_frame_is_cut_and_says_its_size():
    frame = pd.DataFrame({"n": range(5_000)})
    assert f"the first {ROWS} of 5,000 rows" in table_html(frame)
    assert table_html(frame).count("<tr>") == ROWS + 1


def test_notes_and_truncation_of_a_load_stand_beneath():
    frame = empty()
    frame.attrs = {"notes": ["1 row was unreadable"], "truncated": True}
    assert "1 row was unreadable" in table_html(frame) and "cut off by the limit" in table_html(
        frame
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


def test_a_card_keeps_its_lines():
    card = pd.Series({"traceback": "line one\nline two"}).to_frame()
    assert "line one\nline two" in table_html(card)


def test_a_text_of_lines_is_shown_as_lines(shell):
    assert shown(shell, "[[rule]]\nname = 'x'")["text/plain"] == "[[rule]]\nname = 'x'"
    assert shown(shell, "one")["text/plain"] == "'one'"


def test_the_frame_itself_stays_as_it_is(shell):
    frame = hostile()
    before = frame.copy(deep=True)
    shown(shell, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_errors_are_one_sentence(shell, capsys):
    shell.run_cell("from dlqanalysis.errors import SettingsError\nraise SettingsError('Set X.')")
    said = capsys.readouterr().out
    assert said.strip().endswith("SettingsError: Set X.") and "Traceback" not in said
