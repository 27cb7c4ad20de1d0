"""Charts as still pictures: what is drawn is what the figure says, and nothing in it can act."""

import json
import re
from xml.etree import ElementTree

import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.utils import PlotlyJSONEncoder

import dlqanalysis as dlq
from dlqanalysis import charts, report
from dlqanalysis.charts.still import svg
from tests.hostile import PAYLOADS

NAME = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def shown(fresh_export):
    """Every chart that a report has, as a notebook holds it: name -> figure."""
    failures = dlq.load(fresh_export, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    groups, onsets = dlq.groups(failures), dlq.onsets(failures)
    changes = pd.DataFrame(
        {"at": [failures["failed_at"].max()], "kind": "deploy", "service": "api", "version": "7"}
    )
    made = {
        "timeline": charts.timeline(failures),
        "marked": charts.marked(charts.timeline(failures), changes, onsets),
        "by": charts.by(failures),
        "matrix": charts.matrix(failures),
        "heatmap": charts.heatmap(failures),
        "pareto": charts.pareto(groups),
        "episodes": charts.episodes(onsets, failures),
        "sparklines": charts.sparklines(failures, groups),
    }
    return {name: as_kept(one) for name, one in made.items()}


def as_kept(figure):
    return json.loads(json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder))


def texts(picture):
    return [one.text for one in ElementTree.fromstring(picture).iter(f"{NAME}text")]


def test_every_chart_of_a_report_is_drawn_inside_its_picture(shown):
    for name, figure in shown.items():
        root = ElementTree.fromstring(svg(figure))
        width, height = (float(one) for one in root.get("viewBox").split()[2:])
        found = list(root.iter(f"{NAME}text"))
        assert len(found) > 4, name
        for text in found:
            x, y = float(text.get("x")), float(text.get("y"))
            assert 0 <= x <= width and 0 <= y <= height, (name, text.text)
            wide = {"end": -1, "middle": -0.5}.get(text.get("text-anchor"), 0) * 5 * len(text.text)
            turned = text.get("transform")
            assert turned or x + wide > -8, (name, text.text)


def test_bars_are_as_long_as_their_numbers_and_each_is_there(shown):
    figure = shown["by"]
    picture = svg(figure)
    drawn = [
        float(wide)
        for path in re.findall(r'<path d="([^"]+)" fill="(?:#56B4E9|url)', picture)
        for wide in re.findall(r"h(\d+\.?\d*)v\d", path)
        if float(wide) != 24  # the legend's
    ]
    sizes = [
        size for trace in figure["data"] if trace["type"] == "bar" for size in trace["x"] if size
    ]
    assert len(drawn) == len(sizes)
    pixels = max(drawn) / max(sizes)
    assert sorted(drawn)[-3:] == pytest.approx(
        [pixels * one for one in sorted(sizes)[-3:]], abs=0.2
    )


def test_stacked_bars_begin_where_the_last_one_ends():
    figure = go.Figure()
    figure.add_bar(x=[1, 2], y=[3, 1], name="a").add_bar(x=[1, 2], y=[1, 2], name="b")
    figure.update_layout(barmode="stack", height=400)
    one, two = re.findall(r'<path d="([^"]+)" fill="#(?:0072B2|E69F00)"', svg(as_kept(figure)))
    (_, top, tall), *_ = boxes(one)
    (_, other, more), *_ = boxes(two)
    assert other + more == pytest.approx(top, abs=0.2) and tall == pytest.approx(3 * more, abs=0.2)


def boxes(path):
    """x, upper edge and height of each bar in a path."""
    found = re.findall(r"M([\d.]+) ([\d.]+)h[\d.]+v([\d.]+)", path)
    return [tuple(map(float, one)) for one in found]


def test_what_stands_on_an_axis_of_time_is_where_it_belongs(shown):
    said = texts(svg(shown["marked"]))
    assert "failed at (UTC), a bar is an hour" in said and any(
        one.startswith("D1 api 7 ") for one in said
    )
    assert len([one for one in said if re.fullmatch(r"\d\d \w{3}", one)]) >= 4


def test_what_stands_behind_a_line_is_not_on_it(shown):
    """A note behind the end of an episode that goes on, whose line ends at the right edge."""
    picture = svg(shown["episodes"])
    notes = [
        one for one in ElementTree.fromstring(picture).iter(f"{NAME}text") if "going on" in one.text
    ]
    ends = [
        float(x)
        for x in re.findall(r'<path d="M[\d.]+ [\d.]+L([\d.]+) [\d.]+" fill="none"', picture)
    ]
    assert notes and all(float(one.get("x")) > max(ends) for one in notes)
    assert all(float(one.get("x")) + 6 * len(one.text) < 960 for one in notes)


def test_hostile_labels_are_letters():
    figure = charts.by(
        dlq.from_records(
            {
                "failure_id": str(n),
                "task_name": text,
                "exception_type": text,
                "exception_message": text,
            }
            for n, text in enumerate(PAYLOADS)
        )
    )
    picture = svg(as_kept(figure))
    tags = {one.tag.removeprefix(NAME) for one in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "defs", "path", "text", "pattern"} or tags == {
        "svg",
        "defs",
        "path",
        "text",
    }
    assert not re.search(r"<[^>]*\b(on\w+|href|src|style)=", picture)


def test_what_cannot_be_drawn_is_said_not_drawn_wrong():
    assert svg(as_kept(go.Figure(go.Pie(values=[1, 2])))) == ""
    assert "<text" not in svg(as_kept(charts.by(dlq.from_records([]))))


def test_a_still_page_is_small_and_has_no_script(shown, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    kind = "application/vnd.plotly.v1+json"
    pie = as_kept(go.Figure(go.Pie(values=[1, 2])))
    cells = [
        new_code_cell("", outputs=[new_output("display_data", {kind: one})])
        for one in [*shown.values(), pie]
    ]
    book = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=cells), book)
    page = report.html(book, still=True).read_text(encoding="utf-8")
    assert "<script" not in page and "script-src 'none'" in page and len(page) < 400_000
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/svg', page)
    assert [len(alt) > 20 for alt in pictures] == [True] * len(shown)
    assert page.count("no still picture") == 1
