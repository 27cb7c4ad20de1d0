"""Charts that a reader makes with plotly: shown by our extension, their texts are redacted and can do nothing."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from dlqanalysis import charts
from dlqanalysis.display import unshared
from dlqanalysis.display.harmless import harmless
from tests.hostile import PAYLOADS
from tests.test_charts import FIGURES, failures, strings

SECRET = "hunter2-s3cr3t"


def own(texts):
    """A chart as a reader makes it, with texts of failures wherever plotly takes some."""
    frame = pd.DataFrame({"text": texts})
    figure = go.Figure()
    figure.add_bar(
        x=frame["text"], y=[1] * len(texts), text=frame["text"], customdata=frame[["text"]]
    )
    figure.add_scatter(
        x=[1], y=[2], name=texts[0], hovertemplate=texts[0], mode="text", text=[texts[0]]
    )
    figure.update_layout(title_text=texts[0], xaxis_title_text=texts[0])
    figure.add_annotation(text=texts[0])
    return figure.add_layout_image(source="https://beacon.example/x.png")


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_text_is_a_link_an_element_or_a_formula(payload):
    for text in strings(harmless(own([payload, f"{payload} password={SECRET}"]).to_dict())):
        assert not re.search(r"<(?!/?(b|i|em|s|u|sub|sup|extra)>|br ?/?>)", text), text
        assert "$" not in re.sub(r"%\{[^{}]*\}", "", text)
        assert "beacon.example/x.png" not in text and SECRET not in text
        assert text.isprintable() and len(text) < 2_100 * 5


def test_what_a_chart_says_and_its_formats_stay():
    figure = go.Figure(go.Bar(x=["a & b", "<b>c</b>"], y=np.array([1.5, 2.5])))
    figure.update_layout(yaxis_tickformat="$,.2f", title_text="5 < 6<br>and 7")
    figure.update_traces(hovertemplate="%{y:$,.2f}<extra></extra>", marker_color="#0072B2")
    told = harmless(figure.to_dict())
    assert list(told["data"][0]["x"]) == ["a & b", "<b>c</b>"]
    assert told["data"][0]["hovertemplate"] == "%{y:$,.2f}<extra></extra>"
    assert told["layout"]["yaxis"]["tickformat"] == "$,.2f"
    assert told["layout"]["title"]["text"] == "5 &lt; 6<br>and 7"
    assert go.Figure(told).data[0].marker.color == "#0072B2"


@pytest.mark.parametrize("name", FIGURES)
def test_our_own_charts_are_as_they_were(name):
    drawn = json.loads(FIGURES[name](failures(hostile=True)).to_json())
    assert harmless(drawn) == drawn


def test_what_plotly_shows_went_through_it_and_the_figure_itself_stays(monkeypatch):
    monkeypatch.setattr(unshared, "_made", [])
    unshared.shown_as(harmless)
    unshared.shown_as(harmless)  # loaded twice
    figure = own(["<a href='javascript:alert(1)'>x</a> password=" + SECRET])
    for shown in (
        figure._repr_mimebundle_(),
        pio.renderers._build_mime_bundle(figure.to_dict(), "plotly_mimetype"),
    ):
        assert "<a href" not in json.dumps(shown) and SECRET not in json.dumps(shown)
    assert SECRET in figure.layout.title.text
    assert "password" in charts.label("password")


def test_a_page_of_ones_own_is_written_safely_too(tmp_path):
    figure = own(["<a href='https://beacon.example/'>x</a> password=" + SECRET])
    figure.write_html(tmp_path / "bare.html", include_plotlyjs=False)
    assert SECRET in (tmp_path / "bare.html").read_text()  # it is the reader's own door
    made = charts.harmless(figure)
    made.write_html(tmp_path / "safe.html", config=charts.CONFIG, include_plotlyjs=False)
    text = (tmp_path / "safe.html").read_text()
    assert SECRET not in text and "x.png" not in text
    assert '"showSendToCloud": false' in text and not re.search(LINK, text)
    assert re.search(LINK, (tmp_path / "bare.html").read_text())


LINK = r"(<|\\u003c)a href"


def test_a_plotly_that_is_imported_later_is_covered_too():
    code = (
        "import sys; from dlqanalysis.display.unshared import shown_as; from dlqanalysis.display.harmless import harmless;"
        "shown_as(harmless); assert 'plotly' not in sys.modules; import plotly.graph_objects as go;"
        "figure = go.Figure(layout_title_text='<a href=x>y</a>');"
        "import plotly.io as pio; pio.renderers.default = 'plotly_mimetype';"
        "assert '<a' not in str(figure._repr_mimebundle_())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
