"""Sixty attacks in every text of an incident: in a real JupyterLab, and in the pages made of what it saved,
no script runs, nothing is asked for outside, nothing goes wrong, and every attack is text to read."""

import re

import pytest

from dlqanalysis import report
from tests.books import FOLDER, NAMES, small
from tests.browser import Seen, chromium  # noqa: F401
from tests.hostile import PAYLOADS, plant
from tests.lab import lab

pytestmark = pytest.mark.browser

#: What a person looks at beside the notebooks: every payload in a table, on a card, in charts, in texts.
PROBES = (
    "failures = dlq.load('data/demo_export.parquet', since=None).pipe(dlq.classify).pipe(dlq.fingerprint)",
    *(
        f"failures[['task_name', 'exception_message', 'worker']].iloc[{n}:{n + 30}]"
        for n in (0, 30)
    ),
    "failures.set_index('queue')[['worker']].T",
    "failures.iloc[3]",
    "failures['exception_message'].tail(3)",
    "dlq.brief(failures)",
    *(
        f"charts.{chart}"
        for n in range(0, 60, 10)
        for chart in (f"by(failures.iloc[{n}:{n + 10}], 'queue')",)
    ),
    "charts.matrix(failures.head(8), 'task_name', 'exception_type')",
    "str(failures['task_name'].iloc[1]) + '\\n' + failures['queue'].iloc[4]",
    "failures['task_name'].iloc[0]",
    "dlq.plan(failures, reason=failures['task_name'].iloc[0], limit=5)",
    "dlq.Journal().runs()",
    "from dlqanalysis.display.progress import Progress\n"
    "progress = Progress()\n"
    "progress.stage(failures['queue'].iloc[0], {failures['queue'].iloc[1]: 1}, failures['queue'].iloc[2])\n"
    "[progress.say(text) for text in failures['task_name'].iloc[:20]] and None",
    "import plotly.graph_objects as go\n"
    "drawn = failures.drop_duplicates('exception_message')\n"
    "go.Figure(go.Bar(x=drawn['exception_message'], y=[1] * 60, text=drawn['task_name']),"
    " layout_title_text=failures['task_name'].iloc[40])",
    "go.Figure(go.Scatter(x=[1], y=[1], hovertemplate=failures['queue'].iloc[50]),"
    " layout_images=[dict(source='https://beacon.example/x.png')]).show()",
    "raise dlq.errors.PlanError(failures['task_name'].iloc[0])",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The kit's notebooks with a hostile incident as their data."""
    made = tmp_path_factory.mktemp("hostile")
    for name in NAMES:
        text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
        (made / f"{name}.ipynb").write_text(text, encoding="utf-8")
    small(made / "probes.ipynb", *PROBES)
    return made


@pytest.fixture(scope="module")
def live(browser, folder, tmp_path_factory):
    """Each notebook after Run All in JupyterLab: what its page did and shows; the saved notebooks stay in folder."""
    env, seen = plant(folder), {}
    with lab(folder, tmp_path_factory.mktemp("lab"), env) as running:
        one = Seen(browser, "about:blank", viewport={"width": 1280, "height": 1000})
        for name in [*NAMES, "probes"]:
            one.page.goto(running.url(f"{name}.ipynb"))
            running.run_all(one.page, f"{name}.ipynb")
            done = {key: list(getattr(one, key)) for key in _KEPT}
            for key in _KEPT:
                getattr(one, key).clear()
            own = (running.origin, "data:", "blob:", "about:")
            seen[name] = {
                "away": [url for url in done["requests"] if not url.startswith(own)],
                "baits": [url for url in done["requests"] if "beacon" in url],
                "errors": done["errors"],
                "dialogs": done["dialogs"],
                "fired": one.page.evaluate("window.__xss"),
                "links": one.page.evaluate(_LINKS),
                "elements": one.page.evaluate(_ELEMENTS),
                "outputs": one.page.locator(".jp-OutputArea-output").count(),
                "math": one.page.locator(".jp-OutputArea mjx-container").count(),
                "text": one.page.locator(".jp-Notebook").inner_text() if name == "probes" else "",
            }
        one.context.close()
    return seen


#: What a page of Seen notes.
_KEPT = ("requests", "errors", "dialogs")
_LINKS = """[...document.querySelectorAll('.jp-OutputArea a, main a')].map(a => a.getAttribute('href') || '')
    .filter(href => /^\\s*(javascript|data):/i.test(href))"""
_ELEMENTS = """[...document.querySelectorAll(['script', 'iframe', 'object', 'embed', 'form', 'input', 'dialog',
    'video', 'details', 'marquee', 'link', 'base', 'img', 'math', 'animate', 'foreignObject', '[onerror]', '[onload]',
    '[onfocus]', '[ontoggle]', '[onmouseover]'].map(name => '.jp-OutputArea-output ' + name + ', main section ' + name)
    .join(', '))].map(e => e.outerHTML.slice(0, 100)).filter(text => !/^<script type=.application.json|class=.(plot-img|dlq-filter)/.test(text))"""


@pytest.mark.parametrize("name", [*NAMES, "probes"])
def test_jupyterlab_shows_attacks_as_text(live, name):
    seen = live[name]
    assert seen["outputs"] >= 3
    assert (seen["fired"], seen["dialogs"], seen["away"], seen["baits"]) == (None, [], [], [])
    assert (seen["errors"], seen["links"], seen["elements"], seen["math"]) == ([], [], [], 0)


def test_every_attack_can_be_read(live):
    text = live["probes"]["text"]
    for payload in PAYLOADS[:50]:
        shown = payload[:40] if payload.isprintable() else payload[1:12]
        assert shown in text, payload


@pytest.mark.parametrize("name", [*NAMES, "probes"])
def test_a_page_made_of_it_shows_attacks_as_text(browser, folder, live, name):
    page = report.html(folder / f"{name}.ipynb", folder / "pages" / f"{name}.html", code=True)
    one = Seen(browser, page)
    assert one.page.evaluate("window.__xss") is None
    assert (one.dialogs, one.outside(), one.errors) == ([], [], [])
    assert [url for url in one.requests if "beacon" in url] == []
    assert one.page.evaluate(_LINKS) == [] and one.page.evaluate(_ELEMENTS) == []
    assert one.page.evaluate("[...document.querySelectorAll('a')].filter(a => a.host).length") == 0
    assert one.page.locator(".js-plotly-plot").count() == len(
        re.findall('<script type="application/json">', page.read_text(encoding="utf-8"))
    )
    one.context.close()


def test_the_policy_of_a_page_stops_what_was_smuggled_in(browser, folder, live, tmp_path):
    """If all escaping failed, the page's own policy would still stand; only a redirect by <meta> is beyond it."""
    page = report.html(folder / "00_start_here.ipynb", tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    at = text.index("</main>")
    page.write_text(
        text[:at] + "".join(p for p in PAYLOADS[:30] if "refresh" not in p) + text[at:],
        encoding="utf-8",
    )
    one = Seen(browser, page)
    assert one.page.evaluate("window.__xss") is None
    assert one.outside() == [] and one.dialogs == []
    assert [error for error in one.errors if "Content Security Policy" in error]
    one.context.close()


def test_the_attacks_do_fire_where_nothing_stops_them(browser, tmp_path):
    """So that the silence above means something."""
    fired, one = set(), Seen(browser, "about:blank")
    one.page.route("**/*", lambda route: route.abort())
    for patience in (50, 500, 5000):  # ms; only a busy machine needs more than the first
        for payload in set(PAYLOADS[:20]) - fired if len(fired) < 10 else ():
            one.page.set_content(
                f"<!doctype html><body><table><td>{payload}</table>", wait_until="commit"
            )
            one.page.wait_for_timeout(patience)
            fired |= {payload} if one.page.evaluate("window.__xss === 1") else set()
            one.page.evaluate("window.__xss = 0")
    assert len(fired) >= 10
