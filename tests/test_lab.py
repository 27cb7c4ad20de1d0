"""In a real JupyterLab: tables that sort, filter and turn pages, whose dead letters do nothing, by keyboard and in the
dark; charts that follow the theme and their width."""

import json
import re
from importlib import resources

import pytest

from dlqanalysis import report
from dlqanalysis.display.extension import LIVE, LIVE_MIME, LOOKS
from tests.books import small
from tests.browser import Seen, chromium  # noqa: F401
from tests.hostile import PAYLOADS
from tests.lab import lab
from tests.test_browser import contrast, lightness

pytestmark = pytest.mark.browser

SECRET = "hunter2-s3cr3t"
CELLS = (
    "from tests.hostile import PAYLOADS\nimport pandas as pd",
    "count = [(7 * n) % 100 for n in range(100)]\n"
    "pd.DataFrame({'count': count, 'text': [PAYLOADS[n % 60] for n in range(100)],\n"
    "              'who': [f'tenant {n} password=hunter2' + f'-s3cr3t{n}' for n in range(100)]})",
    "failures = dlq.load('demo.parquet', since=None).pipe(dlq.classify).pipe(dlq.fingerprint)\n"
    "charts.by(failures, 'task_name')",
    "dlq.groups(failures)",
    "pd.DataFrame({'n': range(2_000)})",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tests.books import FOLDER

    made = tmp_path_factory.mktemp("tables")
    (made / "demo.parquet").write_bytes((FOLDER / "data/demo_export.parquet").read_bytes())
    small(made / "tables.ipynb", *CELLS)
    return made


@pytest.fixture(scope="module")
def running(folder, tmp_path_factory):
    with lab(folder, tmp_path_factory.mktemp("lab"), {"DLQ_HOME": str(folder / "home")}) as lab_:
        yield lab_


@pytest.fixture(scope="module")
def seen(browser, running):
    """The notebook after Run All, in the dark theme."""
    one = Seen(browser, "about:blank", viewport={"width": 1400, "height": 1000})
    one.page.goto(running.url("tables.ipynb"))
    running.run_all(one.page, "tables.ipynb")
    one.page.get_by_role("menuitem", name="Settings", exact=True).click()
    one.page.get_by_text("Theme", exact=True).hover()
    one.page.get_by_text("JupyterLab Dark", exact=True).click()
    one.page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    yield one
    one.context.close()


def table(seen, place):
    return seen.page.locator(".jp-OutputArea-output .dlq-table").nth(place)


def column(box, place):
    return box.locator(f"tbody td:nth-child({place})").all_inner_texts()


def test_a_table_sorts_by_each_of_its_columns(seen):
    box = table(seen, 0)
    box.get_by_role("button", name="count").click()
    assert column(box, 1) == [str(n) for n in range(30)]
    box.get_by_role("button", name="count").click()
    assert column(box, 1) == [str(99 - n) for n in range(30)]
    assert box.locator("th[aria-sort=descending]").count() == 1


def test_it_filters_over_all_its_rows_and_turns_pages_with_the_keyboard_alone(seen):
    box = table(seen, 0)
    box.get_by_role("searchbox").focus()
    assert "any column" in box.get_by_role("searchbox").get_attribute("aria-label")
    seen.page.keyboard.type("TENANT script")  # letters that are commands of a notebook
    told = sum("script" in text[:120].lower() for text in (PAYLOADS * 2)[:100])
    assert box.get_by_role("status").inner_text().startswith(f"{told} of 100 rows have it")
    assert all("script" in text.lower() for text in column(box, 2))
    box.get_by_role("searchbox").fill("")
    box.get_by_role("button", name="Next page").focus()
    seen.page.keyboard.press("Enter")
    assert box.get_by_role("status").inner_text() == "100 rows, page 2 of 4"
    assert len(column(box, 1)) == 30
    assert (
        seen.page.locator(".jp-CodeCell").count() == len(CELLS) + 2
    )  # and no cell was made or cut


def test_no_dead_letter_does_anything_and_none_shows_its_secret(seen):
    box = table(seen, 0)
    for _ in range(4):
        box.get_by_role("button", name="text").click()
        assert box.locator("td *:not(wbr)").count() == 0
        assert box.locator("td wbr").first.evaluate("mark => mark.attributes.length") == 0
    assert seen.page.evaluate("window.__xss") is None
    assert "<script>window.__xss=1</script>" in box.inner_text() or "<svg" in box.inner_text()
    assert SECRET not in seen.page.locator(".jp-Notebook .jp-OutputArea >> nth=1").inner_text()
    assert (seen.dialogs, seen.errors) == ([], [])
    assert not [url for url in seen.requests if "beacon" in url]


def test_a_notebook_of_somebody_else_brings_no_style(seen):
    """A saved output may say anything: an image behind a cell would ask another host."""
    bad = "background:url(http://127.0.0.1:1/beacon)"
    data = {"columns": [["a", bad], ["b", "number"]], "rows": [["1", "2", "3"], ["4"]], "note": ""}
    style = seen.page.evaluate(
        "data => import('/lab/extensions/dlqanalysis/static/table.js').then(({built}) => {"
        " const box = built(data); document.body.append(box);"
        " const style = box.innerHTML; box.remove(); return style; })",
        data,
    )
    assert "text-align: right" in style and "url" not in style
    assert not [url for url in seen.requests if "beacon" in url]


def test_looks_are_the_same_with_and_without_javascript():
    script = (resources.files("dlqanalysis") / "display/labextension/static/table.js").read_text(
        "utf-8"
    )
    for name, style in LOOKS.items():
        assert f"['{name}', '{style}']" in script


def test_a_table_is_legible_in_the_dark_and_says_what_it_left_out(seen):
    box = table(seen, 2)
    assert f"the first {LIVE:,} of 2,000 rows" in box.inner_text()
    for part in (
        "tbody td",
        "th button",
        "input",
        ".dlq-bar button:not(:disabled)",
        "[role=status]",
    ):
        ink = box.locator(part).first.evaluate("e => getComputedStyle(e).color")
        paper = seen.page.evaluate(
            "getComputedStyle(document.body).getPropertyValue('--jp-layout-color0')"
        )
        assert contrast(_rgb(ink), _rgb(paper.strip())) > 4.5, part


def test_a_chart_follows_the_theme_and_is_told_to_a_screen_reader(seen):
    assert seen.page.get_by_role("img", name=re.compile(r"Bar chart\. .*failures")).count() == 1
    seen.page.evaluate("document.querySelector('.dlq-chart').scrollIntoView()")
    place = seen.page.locator(".dlq-chart").bounding_box()
    assert lightness(seen.page, seen.page.screenshot(clip=place)) < 0.3


def test_a_chart_is_as_wide_as_its_cell_when_the_sidebar_comes_and_goes(seen):
    wide = seen.page.evaluate(_DRAWN)
    seen.page.locator(".jp-SideBar.jp-mod-left [data-id=filebrowser]").click()
    seen.page.wait_for_function(f"{_DRAWN} < {wide - 100}")
    assert seen.page.evaluate(_DRAWN) == pytest.approx(seen.page.evaluate(_ROOM), abs=2)
    seen.page.locator(".jp-SideBar.jp-mod-left [data-id=filebrowser]").click()
    seen.page.wait_for_function(f"Math.abs({_DRAWN} - {wide}) < 2")


_ROOM = "document.querySelector('.dlq-chart').getBoundingClientRect().width"
_DRAWN = "document.querySelector('.dlq-chart .main-svg').getBoundingClientRect().width"


def test_what_is_saved_holds_no_secret_and_others_find_the_still_table(seen, folder):
    text = (folder / "tables.ipynb").read_text(encoding="utf-8")
    assert LIVE_MIME in text and SECRET not in text
    outputs = [o for cell in json.loads(text)["cells"] for o in cell.get("outputs", [])]
    for output in outputs:
        if LIVE_MIME in output.get("data", {}):
            assert "<table" in "".join(output["data"]["text/html"])
    page = report.html(folder / "tables.ipynb").read_text(encoding="utf-8")
    assert LIVE_MIME not in page and page.count('<table class="dataframe">') == 3


def test_a_report_keeps_no_live_table(folder, tmp_path):
    made = report.run(folder / "tables.ipynb", {}, tmp_path / "run.ipynb")
    assert LIVE_MIME not in made.read_text(encoding="utf-8")


def _rgb(colour):
    """#rrggbb, #rgb or a name of Lab's own as rgb(...)."""
    if colour.startswith("#"):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
        return f"rgb({', '.join(str(int(digits[at : at + 2], 16)) for at in (0, 2, 4))})"
    return colour
