"""Notebook -> executed notebook -> one HTML file; and the numbers that one week leaves for the next."""

import json
import re
import socket
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import psycopg
import pytest
from jupyter_client.connect import LocalPortCache

import dlqanalysis as dlq
from dlqanalysis import charts, errors, report
from dlqanalysis.display.extension import table_html
from dlqanalysis.errors import DLQError, SettingsError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.report import numbers
from tests.books import FAILURES, FOLDER, HOSTILE, SECRET, small


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Path:
    """A notebook full of hostile text, run once for this module."""
    folder = tmp_path_factory.mktemp("report")
    book = small(
        folder / "hostile.ipynb",
        FAILURES + "failures.attrs['notes'] = [rows[0]['exception_message']]\nfailures",
        "## When?",
        "charts.timeline(failures)",
        "## Which?",
        "charts.by(failures, 'task_name')",
        "failures['exception_message']",
        "dlq.counts(failures, ['task_name', 'queue'])",
        parameters="limit: int = 5  # how many\nflag: bool = False\nsource: str = 'x'  # where",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLQ_HOME", str(folder / "home"))
        return report.run(book, {"limit": "7", "flag": "true"}, folder / "out" / "hostile.ipynb")


class Page(HTMLParser):
    """Tags with their attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(executed) -> str:
    return report.html(executed).read_text(encoding="utf-8")


def test_parameters_reach_the_notebook_with_their_types(executed):
    book = nbformat.read(executed, 4)
    injected = [c.source for c in book.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert injected == ["# Parameters\nlimit = 7\nflag = True\n"]


def test_what_is_kept_says_nothing_of_this_machine(executed):
    text = executed.read_text(encoding="utf-8")
    assert "papermill" not in text
    assert str(executed.parent.parent) not in text and str(Path.home()) + "/" not in text
    assert SECRET not in re.sub(r'"source": \[.*?\]', "", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sorce": "x"}, "has no parameter 'sorce'. Did you mean 'source'?"),
        ({"source": "postgresql://u:p@host/db"}, "URL with credentials"),
        ({"limit": "many"}, "Parameter limit must be int, not 'many'"),
        ({"flag": "perhaps"}, "Parameter flag must be bool"),
    ],
)
def test_parameters_that_cannot_be_right_are_refused_before_anything_runs(
    tmp_path, parameters, message
):
    book = small(
        tmp_path / "in.ipynb", parameters="source: str = ''\nlimit: int = 1\nflag: bool = True"
    )
    with pytest.raises(SettingsError) as caught:
        report.run(book, parameters, tmp_path / "out.ipynb")
    assert message in str(caught.value) and "u:p" not in str(caught.value)
    assert not (tmp_path / "out.ipynb").exists()


def test_an_unknown_notebook_is_named_with_a_close_one(tmp_path):
    with pytest.raises(SettingsError, match="Did you mean 'weekly_report'"):
        report.run("weekly_reprt", {}, tmp_path / "out.ipynb")
    with pytest.raises(SettingsError, match="is the notebook itself"):
        report.run(FOLDER / "00_start_here.ipynb", {}, FOLDER / "00_start_here.ipynb")


def test_an_error_of_ours_comes_out_as_itself_and_the_notebook_is_kept(tmp_path):
    book = small(tmp_path / "in.ipynb", "1 + 1", "raise dlq.errors.PlanError('Give a reason.')")
    with pytest.raises(errors.PlanError, match=r"^Give a reason\.$"):
        report.run(book, {}, tmp_path / "out.ipynb")
    assert "Give a reason." in (tmp_path / "out.ipynb").read_text()
    assert "Give a reason." in report.html(tmp_path / "out.ipynb").read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".ipynb") == [
        "in.ipynb", "out.ipynb",
    ]  # fmt: skip


@pytest.mark.parametrize("taken, ends", [(2, "out"), (10**6, "before its first cell, 3 times")])
def test_a_kernel_whose_port_was_taken_is_started_again(tmp_path, monkeypatch, taken, ends):
    """The ports are chosen before the kernel binds them: of many notebooks at once, some lose theirs."""
    book = small(tmp_path / "in.ipynb", "1 + 1")
    choose, starts = LocalPortCache.find_available_port, []
    with socket.create_server(("127.0.0.1", 0)) as somebody:

        def port(cache, ip):
            starts.append(ip)
            first = len(starts) % 5 == 1 and len(starts) < taken * 5  # of the five of a kernel
            return somebody.getsockname()[1] if first else choose(cache, ip)

        monkeypatch.setattr(LocalPortCache, "find_available_port", port)
        try:
            told = report.run(book, {}, tmp_path / "out.ipynb").stem
        except DLQError as error:
            told = str(error)
    assert ends in told and len(starts) == 15


def test_any_other_error_is_a_sentence_without_secrets(tmp_path):
    book = small(tmp_path / "in.ipynb", f"raise ValueError('password={SECRET}')")
    with pytest.raises(DLQError, match=r"in\.ipynb stopped in cell \d+ with ValueError") as caught:
        report.run(book, {}, tmp_path / "out.ipynb")
    assert SECRET not in str(caught.value)


def test_a_kind_of_error_of_one_road_is_the_kits_own_too(tmp_path):
    raised = (
        "from dlqanalysis.sources._http import Unreachable\nraise Unreachable('h is away. Look.')"
    )
    with pytest.raises(errors.ConnectError, match=r"^h is away\. Look\.$"):
        report.run(small(tmp_path / "in.ipynb", raised), {}, tmp_path / "out.ipynb")


def test_a_full_disk_leaves_no_half_of_a_page(tmp_path, monkeypatch):
    book = small(tmp_path / "in.ipynb", "1 + 1")
    write = Path.write_bytes

    def full(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        report.html(book)
    with pytest.raises(OSError, match="No space left"):
        report.keep({"version": 1}, tmp_path / "in.json")
    with pytest.raises(OSError, match="No space left"):
        report.run(book, {}, tmp_path / "out.ipynb")
    assert [path.name for path in tmp_path.iterdir()] == ["in.ipynb"]


def test_a_kernel_starts_where_home_cannot_be_written_and_a_path_is_kept_as_a_name(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", "/dev/null/home")  # no user, root included, can write there
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.delenv(name, raising=False)
    export = tmp_path / "export.parquet"
    export.write_bytes(b"x")
    book = small(tmp_path / "in.ipynb", "assert source.startswith('/')\n20 + 22", "source")
    kept = report.run(book, {"source": str(export)}, tmp_path / "out.ipynb").read_text()
    assert '"42"' in kept
    assert str(tmp_path) not in kept and "export.parquet" in kept


def test_the_page_asks_nobody_for_anything(page):
    tags = Page(page)
    assert [a["lang"] for a in tags.all("html")] == ["en"]
    for tag, attributes in tags.tags:
        assert not re.match(r"(https?:)?//", attributes.get("src") or ""), tag
        assert tag not in ("link", "iframe", "object", "embed", "form", "base")
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert [a["href"] for a in tags.all("a") if not a["href"].startswith("#")] == []


def test_the_page_runs_its_own_scripts_only(page):
    tags = Page(page)
    policy = next(a["content"] for a in tags.all("meta") if a.get("http-equiv"))
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy
    scripts = tags.all("script")
    assert {a.get("nonce") for a in scripts} == {nonce, None}
    assert {a.get("type") for a in scripts if not a.get("nonce")} == {"application/json"}
    assert (
        len([a for a in scripts if a.get("nonce")]) == 3
    )  # plotly.js once, the call of it, and the order of tables


def test_two_pages_share_no_nonce(executed, tmp_path):
    pages = [report.html(executed, tmp_path / f"{n}.html").read_text() for n in range(2)]
    first, second = (re.search(r"nonce-([\w-]+)", text)[1] for text in pages)
    assert first != second


def test_figures_have_a_description_and_no_share_button(page):
    figures = [a for a in Page(page).all("div") if a.get("role") == "img"]
    assert len(figures) == 2
    assert all("failures" in a["aria-label"] for a in figures)
    assert '"showSendToCloud": false' in page


def test_the_page_is_titled_and_has_its_sections(page):
    assert "<title>A small notebook</title>" in page
    tags = Page(page)
    targets = {a.get("id") for _, a in tags.tags}
    links = [a["href"] for a in tags.all("a") if a["href"].startswith("#")]
    assert links and all(href[1:] in targets for href in links)


def test_hostile_text_is_text_and_secrets_are_gone(page):
    body = page[: page.index("<script nonce")]
    assert SECRET not in body
    assert not Page(body).all("img") and "evil.example/'>Click</a>" not in body


def test_code_is_left_out_unless_asked_for(executed, page, tmp_path):
    assert "load_ext" not in page
    assert "load_ext" in report.html(executed, tmp_path / "code.html", code=True).read_text()


def test_a_page_without_figures_has_no_plotly(tmp_path):
    book = small(tmp_path / "in.ipynb")
    assert report.html(book).stat().st_size < 20_000


def test_what_is_no_notebook_is_said_so(tmp_path):
    (tmp_path / "x.ipynb").write_text("{")
    for name in ("x.ipynb", "none.ipynb"):
        with pytest.raises(SettingsError, match="cannot be read as a notebook"):
            report.html(tmp_path / name)


# -- numbers ----------------------------------------------------------------------------------------------


def week(counts: dict[str, int], day: int = 1) -> pd.DataFrame:
    failures = from_records(
        [
            {"failed_at": f"2026-11-{day:02d}T{n % 24:02d}:00:00Z", "queue": "q", "task_name": "t",
             "exception_type": "E", "exception_message": f"{name} password={SECRET}",
             "failure_id": f"{name}{n}", "retries": 3}
            for name, count in counts.items()
            for n in range(count)
        ]
    )  # fmt: skip
    marks = failures["failure_id"].str[0]
    return failures.assign(
        fingerprint=marks,
        template=failures["exception_message"],
        failure_class="transient",
        rule="timeout",
    )


def test_headline_is_small_json_without_payloads():
    numbers = report.headline(week({"a": 3, "b": 1}))
    text = json.dumps(numbers)
    assert SECRET not in text and "kwargs" not in text
    assert (numbers["failures"], numbers["groups"], numbers["exhausted"]) == (4, 2, 4)
    assert numbers["classes"] == {"transient": 4}
    assert numbers["fingerprints"]["a"]["count"] == 3


def test_compare_and_lives_against_last_week(tmp_path):
    last = report.headline(week({"a": 5, "gone": 2}))
    report.keep(last, tmp_path / "last.json")
    now = report.headline(week({"a": 3, "new": 4}, day=8))
    table = report.compare(now, report.read(tmp_path / "last.json")).set_index("measure")
    assert table.loc["failures"].tolist() == [7, 7, 0]
    assert table.loc["groups"].tolist() == [2, 2, 0]
    changed = report.lives(now, last)
    assert dict(zip(changed["fingerprint"], changed["state"], strict=True)) == {
        "n": "new", "a": "recurring", "g": "gone",
    }  # fmt: skip


def test_a_first_report_has_nothing_to_compare_with():
    numbers = report.headline(week({"a": 2}))
    assert list(report.compare(numbers, None).columns) == ["measure", "now"]
    assert {"state", "before", "because"}.isdisjoint(
        report.since_last(report.lives(numbers, None), None)
    )
    failures = week({"a": 2, "b": 1})
    first = report.since_last(dlq.lives(failures, None), None)
    assert {"state", "before", "because"}.isdisjoint(first) and first["count"].tolist() == [2, 1]
    back = dlq.lives(failures, None).assign(state=["returned", "first report"])
    assert "state" in report.since_last(back, None) and "before" not in report.since_last(
        back, None
    )
    assert report.since_last(back, numbers) is back
    assert set(report.lives(numbers, None)["state"]) == {"first report"}


def test_an_empty_week_has_numbers_too(tmp_path):
    nothing = report.headline(week({"a": 1}).iloc[:0])
    assert nothing["failures"] == 0 and nothing["first_failed"] == ""
    assert len(report.lives(nothing, None)) == 0
    assert report.compare(nothing, report.headline(week({"a": 1}))).loc[0, "change"] == -1
    assert len(report.rehearse(empty())) == 0


def test_a_section_without_anything_is_one_calm_line(tmp_path, shell):
    """A quiet week had five boxes with nothing in them, and guides to reading these."""
    none = empty().pipe(dlq.classify).pipe(dlq.fingerprint)
    guide = "*How to read this:* the tallest first.\n## And then?"
    cells = [nbformat.v4.new_markdown_cell("# A week\n## What are the patterns?")]
    for shown in (charts.pareto(dlq.groups(none)), dlq.groups(none), dlq.coverage(none), "# No <b>.", guide,
                  charts.by(none), pd.DataFrame({"n": [1]}), "*How to read this:* a number."):  # fmt: skip
        if isinstance(shown, str) and shown.startswith("*"):
            cells.append(nbformat.v4.new_markdown_cell(shown))
            continue
        data, metadata = shell.display_formatter.format(shown)
        if not data:  # a figure sends itself
            data = {"application/vnd.plotly.v1+json": shown.to_plotly_json()}
        output = nbformat.v4.new_output("display_data", data, metadata=metadata)
        cells.append(nbformat.v4.new_code_cell("", outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "week.ipynb")
    page = report.html(tmp_path / "week.ipynb").read_text(encoding="utf-8")
    assert (
        "<p>There is no such failure to count. There is no failure to judge. No &lt;b&gt;.</p>"
        in page
    )
    assert page.count("Nothing to draw") == 1 and "<figure>" not in page
    assert "the tallest first" not in page and "a number." in page and ">And then?<" in page
    for table in (report.rehearse(none), dlq.lives(none, None)):
        assert "There is no" in table_html(table)


def test_numbers_that_are_none_are_refused(tmp_path):
    for text in ("{", "[]", '{"version": 99}', "{}"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(SettingsError, match="holds no numbers of an earlier report"):
            report.read(tmp_path / "x.json")
    assert report.read("") is None and report.keep({}, "") is None


def test_archivable_is_what_is_older_now():
    failures = pd.concat([week({"a": 2}, day=1), week({"b": 3}, day=20)], ignore_index=True)
    assert list(numbers.archivable(failures, "2026-11-10")["count"]) == [2]
    assert len(numbers.archivable(failures, "2026-10-01")) == 0


def test_what_lies_there_is_asked_anew_only_where_it_can_be_archived(shop_url):
    """A report of the last days has not read what is older; and each look at a queue counts."""
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, failed_at, status) select 't' || n, 'memo', 'q', '[]', '{}', 'OSError', 'down',"
            " now() - make_interval(days => 50), 'failed' from generate_series(1, 3) n"
        )
    recent = dlq.load(shop_url, since="7d")
    lying = report.lying(shop_url, recent, "30d")
    assert not len(recent) and report.archivable(lying)["count"].tolist() == [3]
    export = str(FOLDER / "data" / "demo_export.parquet")
    assert report.lying(export, recent, "30d") is recent


def test_rehearse_makes_a_plan_and_sends_nothing(tmp_path):
    table = report.rehearse(week({"a": 3, "b": 9}), limit=2)
    assert table.set_index("decision")["failures"].groupby(level=0).sum().sum() == 12


def test_weekly_leaves_a_page_and_numbers_and_compares_with_the_last(tmp_path):
    export = FOLDER / "data" / "demo_export.parquet"
    first = report.weekly(
        str(export), since="", out=tmp_path, now=datetime(2026, 11, 22, tzinfo=UTC)
    )
    assert (
        first["html"].name == "weekly-demo_export-2026-11-22.html"
        and first["compared_with"] is None
    )
    assert first["numbers"]["failures"] > 1_000
    again = report.weekly(
        str(export), since="", out=tmp_path, now=datetime(2026, 11, 29, tzinfo=UTC), queue="emails"
    )
    assert again["compared_with"] == first["json"]
    text = again["html"].read_text(encoding="utf-8")
    assert first["numbers"]["story"][0].startswith("api.tasks.send_email and")
    assert report.must_look(first["numbers"])
    for section in ("happened", "last week", "patterns", "archived", "new", "replay"):
        assert re.search(rf"<h2[^>]*>[^<]*{section}", text), section
    assert ">recurring<" in text and ">gone<" in text
    title = re.search("<title>(.+)</title>", text)[1]
    assert re.fullmatch(r"Dead letters of the week: demo_export, \d+ to \d+ Nov", title)
    assert f">{title}<" in text.partition("<body>")[2]
    assert str(tmp_path) not in again["notebook"].read_text()
    kept = sorted(path.suffix for path in tmp_path.glob("weekly-*"))
    assert kept == [".html", ".html", ".ipynb", ".ipynb", ".json", ".json"]


def test_two_sources_of_one_day_and_folder_are_two_reports(tmp_path):
    """Each keeps its page and its numbers, and is compared with the last of its own, whatever kit named that."""
    export = (FOLDER / "data" / "demo_export.parquet").read_bytes()
    made = {}
    for name in ("celery", "bull"):
        (tmp_path / f"{name}.parquet").write_bytes(export)
        old = {**report.headline(week({"a": 1})), "asked": f"{name}.parquet"}
        report.keep(old, tmp_path / f"daily-2026-11-1{len(made)}.json")
        made[name] = report.daily(
            str(tmp_path / f"{name}.parquet"), "2026-11-10", tmp_path, datetime(2026, 11, 20, tzinfo=UTC),
            until="2026-11-10T06:00:00Z",
        )  # fmt: skip
    assert [one["html"].name for one in made.values()] == [
        "daily-celery-2026-11-20.html", "daily-bull-2026-11-20.html",
    ]  # fmt: skip
    assert [one["compared_with"].name for one in made.values()] == [
        "daily-2026-11-10.json", "daily-2026-11-11.json",
    ]  # fmt: skip
    assert "<h1" in (page := made["bull"]["html"].read_text()) and "day: bull, 10 Nov" in page
    assert {one["numbers"]["asked"] for one in made.values()} == {"celery.parquet", "bull.parquet"}


def test_a_page_says_what_it_read(tmp_path):
    """Nobody who is handed 10_triage.html sees the cell in which its source stands."""
    book = small(
        tmp_path / "a.ipynb",
        "'x'",
        parameters="source: str = 'demo'  # where\nsince: str = ''  # from when on\nlimit: int = 200\n"
        "reason: str = ''  # why\nconfirm: str = ''  # the id",
    )
    asked = '<p class="asked">source = demo</p>'
    assert asked in report.html(book).read_text(encoding="utf-8")
    given = {
        "since": "2h",
        "limit": "200",
        "reason": "<b>mail to a.b@mail.example",
        "confirm": "05c28463",
    }
    page = report.html(report.run(book, given, tmp_path / "b.ipynb")).read_text(encoding="utf-8")
    [told] = re.findall('<p class="asked">(.*?)</p>', page)
    assert told.startswith("source = demo; since = 2h; reason = &lt;b&gt;mail to &lt;email:")
    assert "05c28463" not in told


def test_a_first_report_says_that_there_is_none_before_it():
    """Else its table of all groups reads as if all of them were new."""
    failures = dlq.load(FOLDER / "data" / "demo_export.parquet", since=None)
    rows = report.headline(failures.pipe(dlq.classify).pipe(dlq.fingerprint))
    first = "a first report: there is no earlier one to compare with"
    for table in (report.since_last(report.lives(rows, None), None), report.compare(rows, None)):
        assert first in table.attrs["notes"]
    for table in (report.since_last(report.lives(rows, rows), rows), report.compare(rows, rows)):
        assert "notes" not in table.attrs
    one = {**rows, "failures": 1, "groups": 1}
    one["fingerprints"] = {"a": {**next(iter(rows["fingerprints"].values())), "count": 1}}
    [told] = report.told(one)
    assert told.startswith("1 failure in 1 group; 100% are of the largest: ")


def test_a_weekly_summary_counts_what_the_report_counts_and_loads_no_rows(tmp_path):
    """The same numbers out of counts: what is too much to load is reported on all the same."""
    export = str(FOLDER / "data" / "demo_export.parquet")
    whole = dlq.load(export, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    rows = report.headline(whole)
    made = report.weekly(export, since="", out=tmp_path, summary=True)
    counted = {**made["numbers"], "last_failed": rows["last_failed"]}
    for name in ("failures", "exhausted", "groups", "classes", "queues", "tasks", "fingerprints"):
        assert counted[name] == rows[name], name
    assert f"{rows['failures']:,} failures in {rows['groups']:,} groups" in counted["story"][0]
    largest = max(rows["fingerprints"].values(), key=lambda one: one["count"])
    assert f"{largest['exception_type']}: {largest['template'][:20]}" in counted["story"][0]
    assert made["html"].name.startswith(
        "weekly-summary-demo_export"
    )  # beside the report, not over it
    book = made["notebook"].read_text(encoding="utf-8")
    assert "dlq.summary(" in book and "dlq.load(" not in book and report.must_look(counted)
    assert report.told({**rows, "failures": 0})[0].startswith("Quiet")


def test_daily_is_one_page_and_a_quiet_day_says_so(tmp_path):
    export = FOLDER / "data" / "demo_export.parquet"
    day = {"since": "2026-11-10", "until": "2026-11-10T06:00:00Z"}
    quiet = report.daily(str(export), out=tmp_path, now=datetime(2026, 11, 11, tzinfo=UTC), **day)
    assert quiet["html"].name == "daily-demo_export-2026-11-11.html"
    assert (
        "<title>Dead letters of the day: demo_export, 10 Nov</title>" in quiet["html"].read_text()
    )
    assert quiet["numbers"]["story"][0].startswith("Quiet: ")
    assert ">Quiet: " in quiet["html"].read_text(encoding="utf-8")
    deploys = FOLDER / "data" / "demo_deploys.csv"
    loud = report.daily(
        str(export), "2026-11-14", tmp_path, datetime(2026, 11, 16, tzinfo=UTC),
        until="2026-11-16", changes=str(deploys),
    )  # fmt: skip
    assert loud["compared_with"] == quiet["json"]
    assert "since 14 Nov 14:06 UTC, 41 seconds after api 2026.11.3" in loud["numbers"]["story"][0]
    assert report.must_look(loud["numbers"])
    assert report.earlier("14d", "400d") == "400d" and report.earlier("14d", "") == ""
    assert str(tmp_path) not in loud["notebook"].read_text()


def test_who_must_look():
    assert not report.must_look({"story": ["Quiet: nothing failed."], "severity": "warning"})
    assert report.must_look({"story": ["Quiet: nothing failed."], "severity": "critical"})
    assert report.must_look({"story": ["a fails since ..."]})
    assert report.must_look({})  # numbers without a story say nothing good


def test_hostile_is_hostile():
    """The probes of this file do what they threaten, where nothing stops them."""
    assert Page(HOSTILE).all("script") and Page(HOSTILE).all("img")[0]["onerror"]


def test_what_is_written_goes_where_the_caller_is(tmp_path, monkeypatch):
    """The kernel works in the notebook's folder; a relative path means the caller's."""
    book = small(
        tmp_path / "book.ipynb",
        "from pathlib import Path\nPath(out).write_text('x') and None",
        parameters="source: str = 'x'  # where\nout: str = ''  # where it goes",
    )
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    report.run(book, {"out": "page.md"}, here / "done.ipynb")
    assert (here / "page.md").read_text() == "x" and not (tmp_path / "page.md").exists()
    assert str(here) not in (here / "done.ipynb").read_text()


def test_what_went_well_later_is_read_where_the_source_has_it(shop_url, postgres_url):
    """Two tasks of one group failed and went well later; one of another group went well before it failed."""
    with psycopg.connect(shop_url, autocommit=True) as connection:
        for number, (name, hour) in enumerate([("memo", 4), ("memo", 5), ("mail", 1)]):
            connection.execute(
                "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
                " exception_message, failed_at, status)"
                " values (%s, %s, 'q', '[]', '{}', 'OSError', 'down', '2026-11-02T03:00Z', 'failed')",
                (f"t{number}", name),
            )
            connection.execute(
                "insert into task_executions (task_id, task_name, status, created_at)"
                " values (%s, %s, 'success', make_timestamptz(2026, 11, 2, %s, 0, 0, 'UTC'))",
                (f"t{number}", name, hour),
            )
    failures = dlq.load(shop_url, since=None).pipe(dlq.classify)
    failures = failures.assign(fingerprint=failures["task_name"])
    later, said = report.went_well(shop_url)
    assert said == "2 failed tasks went well later."
    table = dlq.lives(failures, executions=later).set_index("fingerprint")["state"]
    assert table.to_dict() == {"memo": "superseded", "mail": "first report"}
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute("drop table task_executions")
    later, said = report.went_well(shop_url)
    assert later is None and "task_executions" in said
    later, said = report.went_well(str(FOLDER / "data" / "demo_export.parquet"))
    assert later is None and said.startswith("Later successes are not known: Queries need")
    assert len(dlq.lives(failures, executions=later)) == 2
