"""Reports in a real browser with the network off: figures are there, nothing is asked for, no probe fires."""

import base64
import json
import re

import nbformat
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis import charts, readings, report
from dlqanalysis.display.extension import table_html
from tests.books import FAILURES, FOLDER, small
from tests.browser import Seen, chromium  # noqa: F401

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The weekly report of the demo export, and a report whose every text is hostile."""
    folder = tmp_path_factory.mktemp("browser")
    hostile = small(
        folder / "hostile.ipynb",
        FAILURES + "failures['exception_message']",
        "charts.timeline(failures)",
        "charts.by(failures, 'task_name')",
        "charts.matrix(failures)",
        "dlq.brief(failures)",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLQ_HOME", str(folder / "home"))
        weekly = report.run("weekly_report", {}, folder / "weekly.ipynb")
        probes = report.run(hostile, {}, folder / "probes.ipynb")
    return {"weekly": report.html(weekly), "hostile": report.html(probes)}


@pytest.fixture(scope="module")
def looked(browser, pages):
    """Both pages in a browser, for tests that only look."""
    return {name: Seen(browser, page) for name, page in pages.items()}


@pytest.mark.parametrize(("name", "count"), [("weekly", 6), ("hostile", 3)])
def test_figures_are_visible_without_a_network(looked, name, count):
    seen = looked[name]
    drawn = seen.page.query_selector_all(".js-plotly-plot")
    assert len(drawn) == count
    for chart in drawn:
        size = chart.query_selector(".main-svg").bounding_box()
        assert size["width"] > 600 and size["height"] > 100
        marks = chart.query_selector_all(".point, .hm, .textpoint, .js-line")
        assert marks, chart.text_content()[:80]
    assert (seen.outside(), seen.errors, seen.dialogs) == ([], [], [])


def test_no_probe_fires_and_every_one_is_readable_text(browser, pages):
    seen = Seen(browser, pages["hostile"])
    assert seen.page.evaluate("window.__xss") is None
    text = seen.page.inner_text("body")
    assert "<script>window.__xss=1</script>" in text
    assert seen.page.query_selector_all("svg a, a[href^='http']") == []
    for bar in seen.page.query_selector_all(".barlayer .point path")[:3]:
        bar.scroll_into_view_if_needed()
        box = bar.bounding_box()
        seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        seen.page.wait_for_timeout(150)
    assert seen.page.evaluate("window.__xss") is None
    assert seen.page.query_selector_all(".hoverlayer a, .hoverlayer img, .hoverlayer script") == []


def test_the_probes_fire_where_nothing_stops_them(browser, tmp_path):
    """So that the silence above means something."""
    (tmp_path / "open.html").write_text(
        "<body><script>window.__xss=1</script><img src=x onerror='window.__xss=2'></body>"
    )
    assert Seen(browser, tmp_path / "open.html").page.evaluate("window.__xss") is not None


def test_no_button_uploads_a_chart(looked):
    seen = looked["weekly"]
    titles = [
        button.get_attribute("data-title") or ""
        for button in seen.page.query_selector_all(".modebar-btn")
    ]
    assert titles and not [title for title in titles if re.search("share|cloud|edit", title, re.I)]


def test_a_reader_without_eyes_hears_each_chart(looked):
    seen = looked["weekly"]
    for chart in seen.page.query_selector_all("figure [role=img]"):
        assert re.search(r"\d", chart.get_attribute("aria-label"))
    assert seen.page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window_and_is_legible_in_the_dark(browser, pages, width, scheme):
    seen = Seen(
        browser, pages["weekly"], viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = seen.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert contrast(ink, paper) > 7


def test_no_word_of_a_chart_is_cut_off_on_a_narrow_screen(browser, pages):
    seen = Seen(browser, pages["weekly"], viewport={"width": 420, "height": 900})
    looked, cut = seen.page.evaluate(_CUT)
    assert looked > 50
    assert cut == []


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A page of charts that have much to say: long names, many states, onsets close together."""
    failures = dlq.load(FOLDER / "data" / "demo_export.parquet", since=None)
    failures = failures.pipe(dlq.classify).pipe(dlq.fingerprint)
    names = ("source", "queue", "state", "depth", "consumers")
    states = ("waiting", "failed", "active", "dead_lettered", "delayed", "completed")
    rows = [
        ("bullmq:prod", "invoices-of-every-tenant-in-europe", state, 23_456, 0) for state in states
    ]
    began, deploys = dlq.onsets(failures), dlq.changes(FOLDER / "data" / "demo_deploys.csv")
    figures = [
        charts.marked(charts.timeline(failures, "6h"), deploys, began),
        charts.episodes(began, failures),
        charts.depths(readings.depths(dict(zip(names, row, strict=True)) for row in rows)),
        charts.by(failures, "task_name"),
        charts.timeline(failures, "6h", by="task_name"),
    ]
    book = nbformat.v4.new_notebook()
    for figure in figures:
        data = {"application/vnd.plotly.v1+json": json.loads(figure.to_json())}
        output = nbformat.v4.new_output("display_data", data)
        book.cells.append(nbformat.v4.new_code_cell("", outputs=[output]))
    path = tmp_path_factory.mktemp("crowded") / "crowded.ipynb"
    nbformat.write(book, path)
    return report.html(path)


@pytest.mark.parametrize("width", [600, 1280])
def test_a_crowded_chart_cuts_no_word_and_puts_none_on_another(browser, crowded, width):
    seen = Seen(browser, crowded, viewport={"width": width, "height": 900})
    looked, cut = seen.page.evaluate(_CUT)
    assert looked > 60 and cut == []
    marks, met = seen.page.evaluate(_MEET)
    assert marks > 20 and met == []


#: how many legends and marks stand in the charts, and the pairs of them of which one lies on the other
_MEET = """() => {
  let looked = 0; const met = [];
  for (const figure of document.querySelectorAll('figure')) {
    const texts = [...figure.querySelectorAll('.legendtext, .annotation text, figcaption')];
    looked += texts.length;
    texts.forEach((one, place) => texts.slice(place + 1).forEach(other => {
      const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
        met.push(one.textContent + ' | ' + other.textContent);
    }));
  }
  return [looked, met];
}"""


def test_a_chart_is_no_white_card_in_the_dark(browser, crowded):
    for scheme, dark in (("light", False), ("dark", True)):
        seen = Seen(browser, crowded, color_scheme=scheme)
        png = seen.page.query_selector("figure").screenshot()
        assert (lightness(seen.page, png) < 0.3) is dark


def test_a_table_is_sorted_by_its_heads_with_the_keyboard_too(browser, tmp_path):
    frame = pd.DataFrame(
        {"count": [1_200, 9, 30], "task_name": ["b", "a<img src=x onerror=window.__xss=1>", None],
         "length": pd.to_timedelta(["45s", "5h", "90s"])}
    )  # fmt: skip
    output = nbformat.v4.new_output("display_data", {"text/html": table_html(frame)})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    nbformat.write(book, tmp_path / "a.ipynb")
    seen = Seen(browser, report.html(tmp_path / "a.ipynb"), color_scheme="dark")

    def column(place):
        return seen.page.locator(f"tbody td:nth-child({place})").all_inner_texts()

    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert column(1) == ["9", "30", "1,200"]
    assert seen.page.get_attribute("th:nth-child(1)", "aria-sort") == "ascending"
    seen.page.keyboard.press("Space")
    assert column(1) == ["1,200", "30", "9"]
    seen.page.get_by_role("button", name="task_name").click()
    assert column(2)[1:] == ["b", ""] and seen.page.evaluate("window.__xss") is None
    assert seen.page.locator("[aria-sort]").count() == 1
    seen.page.get_by_role("button", name="length").click()
    assert column(3) == ["45 s", "1 min 30 s", "5 h 0 min"]
    assert (seen.outside(), seen.errors, seen.dialogs) == ([], [], [])


def test_a_table_that_was_cut_says_so_above_it_too(browser, tmp_path):
    """`30 rows` above 41 groups was read as all of them; the note stood a screen and a half below."""
    output = nbformat.v4.new_output(
        "display_data", {"text/html": table_html(pd.DataFrame({"n": range(1_041)}))}
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    nbformat.write(book, tmp_path / "a.ipynb")
    page = Seen(browser, report.html(tmp_path / "a.ipynb")).page
    assert page.get_by_role("status").inner_text() == "the first 30 of 1,041 rows"
    page.get_by_role("searchbox").fill("29")
    assert page.get_by_role("status").inner_text() == "1 of the first 30 of 1,041 rows have it"


def lightness(page, png: bytes) -> float:
    """How light a picture is on the whole, 0 to 1."""
    data = base64.b64encode(png).decode()
    return page.evaluate(
        """async data => {
          const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0));
          const bitmap = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), pen = canvas.getContext('2d');
          pen.drawImage(bitmap, 0, 0);
          const dots = pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
          let sum = 0;
          for (let at = 0; at < dots.length; at += 4) sum += dots[at] + dots[at + 1] + dots[at + 2];
          return sum / (dots.length / 4) / 765;
        }""",
        data,
    )


#: how many texts stand in the charts, and those that reach over an edge of theirs
_CUT = """() => {
  const texts = [...document.querySelectorAll('figure')].flatMap(figure => {
    const room = figure.getBoundingClientRect();
    return [...figure.querySelectorAll('.ytick text, .textpoint text, .annotation text, .legendtext')].map(text => {
      const box = text.getBoundingClientRect();
      return [text.textContent, box.left < room.left - 1 || box.right > room.right + 1];
    });
  });
  return [texts.length, texts.filter(([_, over]) => over).map(([text]) => text)];
}"""


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two CSS colours."""
    light = []
    for colour in (one, other):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)
