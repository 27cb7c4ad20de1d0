"""Looking without redaction: only with a reason, only what was asked for, written down first, kept out of reports."""

import nbformat
import pandas as pd
import pytest

from dlqanalysis import report
from dlqanalysis.display.reveal import MOST, reveal
from dlqanalysis.errors import JournalError, PlanError, SchemaError
from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.report.dossier import chronicle

SECRET = "x1y2z3-of-a-customer"


def failures(count=3):
    rows = [
        {"failure_id": str(n), "source": "shop", "task_name": "t", "queue": "q", "status": "failed",
         "failed_at": "2026-11-01T00:00:00Z", "exception_type": "ValueError", "exception_message": "x",
         "kwargs": f'{{"password": "{SECRET}"}}'}
        for n in range(count)
    ]  # fmt: skip
    return from_records(rows)


def test_who_looked_at_which_when_and_why_is_in_the_journal():
    journal = Journal()
    seen = reveal(failures(), reason="INC-42: which password", journal=journal)
    assert SECRET in seen.frame["kwargs"][0] and SECRET not in repr(seen)
    run = journal.runs().iloc[0]
    assert (run["run_id"], run["action"], run["reason"], run["source"]) == (
        seen.run_id, "reveal", "INC-42: which password", "shop",
    )  # fmt: skip
    assert run["operator"] and run["sent"] == run["not_reached"] == 0
    events = journal.events(seen.run_id).set_index("event")["detail"]
    assert events["revealed"]["failures"] == ["shop 0", "shop 1", "shop 2"]
    assert "kwargs" in events["revealed"]["columns"] and SECRET not in str(events.tolist())
    assert journal.verify() == []


def test_a_reveal_holds_nothing_back_from_a_replay_and_is_told_after_the_incident():
    from dlqanalysis.classify import classify
    from dlqanalysis.plan import plan

    journal, rows = Journal(), failures().pipe(classify).pipe(fingerprint)
    reveal(rows, reason="INC-42", journal=journal)
    made = plan(rows.assign(failure_class="transient"), journal, reason="INC-42: mended")
    assert len(made.chosen) + len(made.held_back) == 3
    assert (
        not made.held_back.get("because", pd.Series(dtype="str"))
        .str.contains("replayed|uncertain")
        .any()
    )
    assert "reveal begins" in chronicle(rows, journal=journal)["what"].tolist()


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_without_a_reason_nothing_is_shown(reason):
    with pytest.raises(PlanError, match="needs a reason"):
        reveal(failures(), reason=reason)


def test_only_a_few_and_only_failures():
    with pytest.raises(PlanError, match="between 1 and 100"):
        reveal(failures(MOST + 1), reason="INC-42")
    with pytest.raises(PlanError, match="between 1 and 100"):
        reveal(failures().iloc[:0], reason="INC-42")
    with pytest.raises(SchemaError, match="failure_id"):
        reveal(failures()[["kwargs"]], reason="INC-42")


def test_where_the_journal_cannot_be_written_nothing_is_shown(tmp_path, monkeypatch):
    (tmp_path / "no.sqlite").mkdir()
    monkeypatch.setenv("DLQ_JOURNAL_URL", f"sqlite:///{tmp_path / 'no.sqlite'}")
    with pytest.raises(JournalError):
        reveal(failures(), reason="INC-42")


def test_a_notebook_shows_it_and_a_report_does_not(tmp_path):
    failures().to_parquet(tmp_path / "failures.parquet")
    cells = [
        nbformat.v4.new_code_cell(text)
        for text in (
            "import pandas as pd\nimport dlqanalysis as dlq\n%load_ext dlqanalysis",
            "rows = pd.read_parquet('failures.parquet')",
            "dlq.reveal(rows[['source', 'failure_id', 'kwargs']], reason='INC-42')",
        )
    ]
    book = nbformat.v4.new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}},
    )
    nbformat.write(book, tmp_path / "look.ipynb")
    done = report.run(tmp_path / "look.ipynb", out=tmp_path / "out" / "look.ipynb")
    assert SECRET not in done.read_text(encoding="utf-8") and "in the journal as" in done.read_text(
        encoding="utf-8"
    )

    from nbclient import NotebookClient

    live = NotebookClient(
        nbformat.read(tmp_path / "look.ipynb", 4), resources={"metadata": {"path": str(tmp_path)}}
    )
    live.execute()
    nbformat.write(live.nb, tmp_path / "live.ipynb")
    assert SECRET in (tmp_path / "live.ipynb").read_text(encoding="utf-8")
    assert "Not redacted" in (tmp_path / "live.ipynb").read_text(encoding="utf-8")
    assert SECRET not in report.html(tmp_path / "live.ipynb", code=True).read_text(encoding="utf-8")
