"""The notebooks keep their conventions, run on the committed export, and none of them can send by itself."""

import ast
import re

import pandas as pd
import papermill
import pytest

from dlqanalysis import report
from dlqanalysis.display.extension import table_html
from dlqanalysis.errors import NotConfirmed, RunError
from dlqanalysis.journal import Journal
from tests.books import FOLDER, NAMES, code, play, python, read, source, tags

READING = [name for name in NAMES if name != "40_replay"]
COMMON = ["source", "since", "until", "queue", "task"]
SCALARS = {"str": str, "int": int, "float": float, "bool": bool}
each = pytest.mark.parametrize("name", NAMES)


def cells_of(name):
    return [(number, cell) for number, cell in enumerate(code(read(name)))]


def test_the_notebooks_are_all_here():
    assert set(NAMES) >= {
        "00_start_here", "10_triage", "20_patterns", "30_duplicates", "40_replay", "weekly_report", "daily_report",
        "weekly_summary",
    }  # fmt: skip


@each
def test_names_and_title(name):
    assert re.fullmatch(r"\d0_[a-z_]+|(weekly|daily)_(report|summary)", name)
    first = read(name)["cells"][0]
    assert first["cell_type"] == "markdown"
    title, empty_line, text = source(first).split("\n", 2)
    assert title.startswith("# ") and not empty_line and "\n\n" not in text
    says = "**This notebook can send**" if name == "40_replay" else "**This notebook reads only"
    assert says in text


@each
def test_one_parameters_cell_of_typed_commented_scalars(name):
    book = read(name)
    marked = [n for n, cell in enumerate(book["cells"]) if "parameters" in tags(cell)]
    assert marked == [1]
    for line in source(book["cells"][1]).splitlines():
        assert re.fullmatch(r"[a-z_]+: (str|int|float|bool) = .+  # .+", line), line
    for node in python(book["cells"][1]).body:
        assert isinstance(ast.literal_eval(node.value), SCALARS[node.annotation.id])
    names = [node.target.id for node in python(book["cells"][1]).body]
    assert names[: len(COMMON)] == COMMON
    inspected = papermill.inspect_notebook(str(FOLDER / f"{name}.ipynb"))
    assert list(inspected) == names
    assert all(one["help"] and one["inferred_type_name"] != "None" for one in inspected.values())
    assert (FOLDER / ast.literal_eval(inspected["source"]["default"])).is_file()


@each
def test_imports_come_second_and_the_load_third(name):
    _, imports, load, *_ = code(read(name))
    assert source(imports).startswith("%load_ext dlqanalysis\n")
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in python(imports).body)
    roots = {
        (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else alias.name
        for node in python(imports).body
        for alias in node.names
    }
    assert roots <= {"pandas", "dlqanalysis"}
    verb = "summary" if name.endswith("_summary") else "load"
    assert f"dlq.{verb}(source, since=since, until=until, queue=queue, task=task)" in source(load)


@each
def test_cells_are_thin(name):
    lengths = [len(source(cell).splitlines()) for _, cell in cells_of(name)]
    assert max(lengths) <= 12 and sum(lengths) / len(lengths) <= 5


@each
def test_cells_hold_no_logic(name):
    for number, cell in cells_of(name):
        where = f"{name}, code cell {number}"
        magics = [
            line for line in source(cell).splitlines() if line.lstrip().startswith(("%", "!"))
        ]
        assert magics in ([], ["%load_ext dlqanalysis"]), where
        for node in ast.walk(python(cell)):
            assert not isinstance(
                node,
                ast.FunctionDef
                | ast.ClassDef
                | ast.Lambda
                | ast.For
                | ast.While
                | ast.Try
                | ast.With,
            ), where
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert called not in {
                    "print", "display", "Markdown", "HTML", "eval", "exec", "iterrows", "itertuples",
                    "apply", "to_markdown", "show", "style",
                }, where  # fmt: skip
            if isinstance(node, ast.Attribute):
                assert node.attr != "style", f"{where}: the Styler does not escape"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\b(select|update|delete|insert)\b.+\b(from|set|into)\b",
                                     node.value, re.I), where  # fmt: skip


@each
def test_a_section_is_a_question_an_answer_and_how_to_read_it(name):
    cells = read(name)["cells"]
    starts = [
        number
        for number, cell in enumerate(cells)
        if cell["cell_type"] == "markdown" and "## " in source(cell)
    ]
    for start, stop in zip(starts, [*starts[1:], len(cells)], strict=True):
        heading = re.search(r"^## (.+)$", source(cells[start]), re.M)[1]
        assert heading.endswith("?") or heading == "Send it", heading
        inside = cells[start + 1 : stop + 1]
        assert any(cell["cell_type"] == "code" for cell in inside), heading
        assert any(
            cell["cell_type"] == "markdown" and source(cell).startswith("*How to read this:*")
            for cell in inside
        ), heading


@each
def test_nothing_that_ran_is_committed(name):
    book = read(name)
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    idents = [cell["id"] for cell in book["cells"]]
    assert len(set(idents)) == len(idents)
    for cell in code(book):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text.endswith("}\n") and text.startswith('{\n "cells"')


@each
def test_only_40_replay_may_send(name):
    text = "\n".join(source(cell) for _, cell in cells_of(name))
    sends = re.findall(r"dlq\.replay\(|connect_hand|dlq\.resume\(|\.send\(|dlq\.cancel", text)
    assert bool(sends) is (name == "40_replay"), sends
    refusing = [cell for _, cell in cells_of(name) if "raises-exception" in tags(cell)]
    assert len(refusing) == (5 if name == "40_replay" else 0)


CHOSEN = {"since": "2026-11-10", "until": "2026-11-13", "queue": "memos, enrichment"}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("chosen", [{"queue": "webhooks"}, {"queue": "no-such-queue"}, CHOSEN], ids=["some", "none", "days"])  # fmt: skip
def test_every_answer_is_there_for_some_failures_and_for_none(name, chosen, monkeypatch):
    monkeypatch.chdir(FOLDER)
    shown, names = play(name, **chosen)
    frames = [one for one in shown if isinstance(one, pd.DataFrame)]
    figures = [one for one in shown if type(one).__name__ == "Figure"]
    assert len(frames) >= 3 and len(figures) >= 2
    assert all(figure.layout.meta["alt"] for figure in figures)
    assert (len(names["failures"]) > 0) is (chosen["queue"] != "no-such-queue")
    for frame in frames:
        table_html(frame)


def test_30_duplicates_goes_by_the_keys_of_the_profile(monkeypatch, tmp_path):
    """Not by one of the demo's, which says of another shop that nobody can tell."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    (tmp_path / "profile.toml").write_text('name = "a"\n[keys]\nsend_digest = "digest_{user_id}"\n')
    shown, names = play("30_duplicates")
    keyed = names["copies"][names["copies"]["kind"] == "business_key"]
    assert names["keys"] == {"send_digest": "digest_{user_id}"}
    assert len(keyed) and keyed["key"].str.startswith("digest_").all()
    title = next(one for one in shown if type(one).__name__ == "Figure").layout.meta["title"]
    assert title == names["copies"].attrs["says"] and re.match(
        r"\d+ of 1,917 failures are copies of", title
    )


@pytest.mark.parametrize("name", ["10_triage", "weekly_summary"])
def test_papermill_runs_it_with_other_parameters(name, tmp_path):
    """One that loads rows, one that counts; papermill runs all of them in test_leaks."""
    kept = report.run(name, CHOSEN, tmp_path / f"{name}.ipynb")
    text = kept.read_text(encoding="utf-8")
    assert '"output_type": "error"' not in text
    assert "application/vnd.plotly.v1+json" in text and "dlq-table" in text


def test_40_replay_refuses_without_the_typed_id_and_leaves_nothing_in_the_journal(
    monkeypatch, tmp_path
):
    chosen = {"reason": "INC-42", "queue": "emails"}
    kept = report.run("40_replay", chosen, tmp_path / "out.ipynb").read_text(encoding="utf-8")
    plan = re.search(r"Plan ([0-9a-f]{8})", kept)[1]
    refusal = re.search(r'"evalue": "([^"]*)"', kept)[1]
    assert "Nothing was sent" in refusal and plan not in refusal
    assert "papermill-error" not in kept
    page = report.html(tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert page.count('<p class="refused">Nothing was sent') == 2 and 'class="stopped"' not in page

    # The id of another plan, and no hand: refused as well, by its own sentence.
    monkeypatch.setenv("DLQ_ARM", "00000000")
    with pytest.raises(NotConfirmed):
        report.run("40_replay", chosen, tmp_path / "again.ipynb")
    assert len(Journal().runs()) == 0


def test_40_replay_armed_with_its_own_plan_still_wants_a_hand(monkeypatch):
    monkeypatch.chdir(FOLDER)
    chosen = {"reason": "INC-42", "queue": "emails"}
    _, names = play("40_replay", without="raises-exception", **chosen)
    assert len(names["plan"].chosen) > 0
    with pytest.raises(NotConfirmed):
        play("40_replay", **chosen)
    monkeypatch.setenv("DLQ_ARM", names["plan"].id)
    with pytest.raises(RunError, match="no hand was given"):
        play("40_replay", **chosen)
    assert len(names["journal"].runs()) == 0


def test_40_replay_goes_on_only_with_the_id_of_the_runs_plan(monkeypatch):
    """Typed; or as a parameter for an older run, never for one that was just made and stopped."""
    monkeypatch.chdir(FOLDER)
    _, names = play("40_replay", without="raises-exception", queue="emails", reason="INC-42")
    [cell] = [source(one) for one in code(read("40_replay")) if "dlq.resume(" in source(one)]
    plan, journal = names["plan"], names["journal"]
    run_id = journal.start(plan, {})
    assert run_id.split("-")[2] == plan.id
    page = (FOLDER.parent / "docs" / "howto" / "replay.md").read_text(encoding="utf-8")
    assert "the third part of its run id" in source(read("40_replay")["cells"][20]) + page
    monkeypatch.setenv("DLQ_ARM", plan.id)
    given = {**names, "run_id": run_id, "target": None}
    asked = cell.replace('typed_resume = ""', f'typed_resume = "{plan.id}"')
    for text, run, confirm, refusal in [
        (cell, None, "", NotConfirmed),
        (cell, "made just now", plan.id, NotConfirmed),
        (cell, None, plan.id, RunError),
        (asked, "made just now", "", RunError),
    ]:
        with pytest.raises(refusal):  # a RunError is that no hand was given: the door was open
            exec(text, {**given, "run": run, "confirm": confirm})
