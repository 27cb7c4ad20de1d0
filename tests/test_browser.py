"""Reports in a real browser with the network off: figures are there, nothing is asked for, no probe fires."""

import re

import pytest

from dlqanalysis import report
from tests.books import FAILURES, small
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


@pytest.mark.parametrize(("name", "charts"), [("weekly", 6), ("hostile", 3)])
def test_figures_are_visible_without_a_network(browser, pages, name, charts):
    seen = Seen(browser, pages[name])
    drawn = seen.page.query_selector_all(".js-plotly-plot")
    assert len(drawn) == charts
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


def test_no_button_uploads_a_chart(browser, pages):
    seen = Seen(browser, pages["weekly"])
    titles = [
        button.get_attribute("data-title") or ""
        for button in seen.page.query_selector_all(".modebar-btn")
    ]
    assert titles and not [title for title in titles if re.search("share|cloud|edit", title, re.I)]


def test_a_reader_without_eyes_hears_each_chart(browser, pages):
    seen = Seen(browser, pages["weekly"])
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


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two CSS colours."""
    light = []
    for colour in (one, other):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)
