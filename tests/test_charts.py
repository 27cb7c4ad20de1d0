"""Figures: what they count, what they say, and that hostile text stays text."""

import html
import json
import re
import subprocess
import sys
from inspect import signature
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from dlqanalysis import charts, patterns, readings
from dlqanalysis.charts.still import svg
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import from_records

HOSTILE = "<a href='https://evil.example'>Click</a><script>window.__xss=1</script>\n$\\alpha$"
CLASSES = ["transient", "permanent", "data", "unknown"]


def failures(count: int = 60, hostile: bool = False) -> pd.DataFrame:
    records = [
        {
            "failed_at": f"2026-11-{1 + n % 3:02d}T{n % 5:02d}:00:00Z",
            "task_name": f"task{n % 4}{HOSTILE if hostile else ''}",
            "queue": f"queue{n % 2}{HOSTILE if hostile else ''}",
            "exception_type": f"Error{n % 3}{HOSTILE if hostile else ''}",
            "exception_message": f"message {n % 7}{HOSTILE if hostile else ''}",
            "failure_id": str(n),
        }
        for n in range(count)
    ]
    frame = from_records(records)
    return frame.assign(
        failure_class=pd.Categorical([CLASSES[int(n) % 4] for n in frame["failure_id"]], CLASSES),
        fingerprint=frame["exception_message"],
        template=frame["exception_message"],
    )


NOW = "2026-11-04T00:00:00Z"


def queues(frame):
    """Depths by queue and state, as many as there are failures."""
    counts = frame.groupby(["queue", "task_name"], observed=True).size()
    return readings.depths(
        {"source": "s", "queue": queue, "state": ("waiting", "failed")[n % 2], "depth": count, "consumers": 0}
        for n, ((queue, _), count) in enumerate(counts.items())
    )  # fmt: skip


def soon(frame):
    """The failures, forgotten three days after they failed."""
    return frame.assign(expires_at=frame["failed_at"] + pd.Timedelta(days=3))


def run(**numbers):
    return SimpleNamespace(summary=pd.DataFrame([numbers]))


def began(frame):
    """An onset for each group, at its first failure; every other one goes on."""
    rows = frame.groupby("fingerprint", sort=False)["failed_at"].agg(["min", "max", "size"])
    table = pd.DataFrame(
        {"fingerprint": rows.index, "onset": rows["min"].to_numpy(), "until": rows["max"].to_numpy(),
         "count": rows["size"].to_numpy()}
    )  # fmt: skip
    for name in ("onset", "until"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table.loc[::2, "until"] = pd.NaT
    return table


def changed(frame):
    """A deploy at each end, named as hostilely as the tasks are."""
    name = str(frame["task_name"].iloc[0]) if len(frame) else "x"
    rows = [{"at": at, "service": name, "version": "1", "kind": "deploy", "text": ""}
            for at in frame["failed_at"].agg(["min", "max"]).dropna()]  # fmt: skip
    return pd.DataFrame(rows, columns=["at", "service", "version", "kind", "text"])


def executed(frame):
    """The failures as items of a run: most succeeded."""
    outcome = np.where(np.arange(len(frame)) % 5 == 0, "failed_again", "succeeded")
    at = frame["failed_at"]
    return SimpleNamespace(items=frame[["task_name"]].assign(
        state="sent", at=at, outcome=outcome, outcome_at=at + pd.Timedelta("3s")))  # fmt: skip


def found(frame):
    words = ["critical", "warning", "ok"] * (len(frame) // 3)
    return pd.DataFrame({"severity": words, "name": "n", "text": "t"}, dtype="str")


def decided(frame):
    """What a plan says of the failures: one of four goes, and the queue is why the rest stays."""
    rows = frame.assign(decision=np.where(frame.index % 4, "stays", "goes"), because=frame["queue"])
    table = rows.groupby(["decision", "because"], observed=True).size()
    return table.rename("failures").reset_index()


FIGURES = {
    "marked": lambda frame: charts.marked(
        charts.timeline(frame, "1d"), changed(frame), began(frame)
    ),
    "episodes": lambda frame: charts.episodes(began(frame), frame),
    "sparklines": lambda frame: charts.sparklines(frame, patterns.groups(frame)),
    "recovery": lambda frame: charts.recovery(executed(frame)),
    "severities": lambda frame: charts.severities(found(frame)),
    "timeline": charts.timeline,
    "timeline by queue": lambda frame: charts.timeline(frame, "1d", by="queue"),
    "by task": charts.by,
    "by queue, without a verdict": lambda frame: charts.by(
        frame.drop(columns="failure_class"), "queue"
    ),
    "matrix": charts.matrix,
    "heatmap": charts.heatmap,
    "pareto": lambda frame: charts.pareto(patterns.groups(frame)),
    "depths": lambda frame: charts.depths(queues(frame)),
    "expiry": lambda frame: charts.expiry(soon(frame), NOW),
    "funnel": lambda frame: charts.funnel(decided(frame)),
}


def test_every_chart_is_among_them():
    """The first word of its name there is the chart; harmless takes a figure and draws none."""
    told = {
        name: signature(getattr(charts, name))
        for name in charts.__all__
        if callable(getattr(charts, name))
    }
    drawn = {name for name, said in told.items() if said.return_annotation is go.Figure}
    assert drawn - {"harmless"} == {name.split()[0] for name in FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_still_picture(name):
    """What still.py cannot draw is left out of a mailed report."""
    assert "<path" in svg(FIGURES[name](failures()).to_plotly_json())


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_its_finding_and_has_a_sane_height(name):
    figure = FIGURES[name](failures())
    assert re.search(r"\d", figure.layout.title.text), "a finding has a number"
    plain = html.unescape(figure.layout.title.text.replace("<br>", " "))
    assert plain in figure.layout.meta["alt"]
    assert 100 <= figure.layout.height <= 700
    lines = figure.layout.title.text.split("<br>")
    assert max(len(html.unescape(line)) for line in lines) <= 60, "cut off on a narrow screen"


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_escapes_what_it_shows(name):
    drawn = json.loads(FIGURES[name](failures(hostile=True)).to_json())
    drawn["layout"].pop("meta")  # plain text for a screen reader; the report escapes it
    for text in strings(drawn):
        assert not re.search(r"<(?!br>|extra></extra>|/extra>)", text), text
        assert not re.search(r"\$.*\$", text), text
        assert "\n" not in text


def strings(part):
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for inner in part.values():
            yield from strings(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from strings(inner)


@pytest.mark.parametrize("name", FIGURES)
def test_a_frame_without_rows_is_drawn_as_a_sentence(name):
    figure = FIGURES[name](failures().iloc[:0])
    assert figure.layout.title.text.startswith("Nothing to draw")
    assert not figure.data


def test_timeline_stacks_to_all_failures_and_names_the_peak():
    frame = failures()
    figure = charts.timeline(frame, "1d")
    assert sum(sum(bar.y) for bar in figure.data) == len(frame)
    assert [bar.name for bar in figure.data] == CLASSES
    assert figure.layout.title.text.startswith("20 of 60 failures fell in the day of ")
    middle, width = pd.Timestamp(figure.data[0].x[0]), figure.data[0].width[0]
    first = middle - pd.Timedelta(milliseconds=width / 2)
    assert (
        width == 24 * 3600 * 1000
        and first == frame["failed_at"].min().tz_localize(None).normalize()
    )
    assert figure.data[0].customdata[0] == f"{first:%a %d %b %H:%M}"


def test_an_even_line_has_no_peak_and_no_half_of_a_failure():
    times = pd.date_range("2026-11-01", periods=48, freq="3h", tz="UTC")
    rows = [{"failure_id": str(n), "failed_at": at} for n, at in enumerate(times)]
    figure = charts.timeline(from_records(rows), "6h")
    assert figure.layout.title.text == "48 failures, 2 in every 6 hours"
    assert figure.layout.yaxis.dtick == 1


def test_a_label_of_two_lines_breaks_between_words_or_their_parts():
    told = "botocore.exceptions.ProfileNotFoundInSharedCredentials: x"
    groups = pd.DataFrame(
        {
            "exception_type": [told],
            "template": ["x"],
            "count": [1],
            "share": [1.0],
            "failure_class": ["data"],
        }
    )
    lines = charts.pareto(groups).layout.yaxis.ticktext[0].split(" <br>")
    assert lines[0] == "botocore.exceptions.Profile" and lines[1].startswith("NotFound")


def test_a_triangle_stands_at_its_time_wherever_its_number_has_room():
    frame = failures()
    made = charts.timeline(frame, "1h")
    ends = frame["failed_at"].min(), frame["failed_at"].max()
    found = began(frame).head(1)
    for at, text, anchor in ((ends[0], "▲1", "left"), (ends[1], "1▲", "right")):
        marked = charts.marked(type(made)(made), onsets=found.assign(onset=at))
        [note] = [
            one
            for one in marked.layout.annotations
            if "▲" in one.text and one.font.size == 11 and "<" not in one.text
        ]
        assert (note.text, note.xanchor) == (text, anchor)
        assert note.xshift == {"left": -5.5, "right": 5.5}[anchor]


def test_timeline_says_what_it_leaves_out():
    frame = pd.concat([failures(3), failures(4).iloc[3:].assign(failed_at=pd.NaT)])
    frame = frame.astype({"failed_at": "datetime64[us, UTC]"})
    assert "1 failures have no time" in charts.timeline(frame).layout.meta["alt"]


def test_names_that_are_shortened_alike_stay_apart():
    frame = failures(2)
    long = ["a" * 60 + word + "b" * 60 for word in ("ONE", "TWO")]
    frame = frame.assign(task_name=pd.Categorical(long))
    figure = charts.by(frame)
    assert list(figure.layout.yaxis.tickvals) == [0, 1]
    assert len(set(figure.data[0].y)) == 2
    lines = [line for text in figure.layout.yaxis.ticktext for line in text.split("<br>")]
    assert len(lines) == 4 and all(len(line) < 30 for line in lines)


def test_by_puts_the_rest_together_and_loses_nothing():
    frame = failures(60)
    figure = charts.by(frame, "task_name", n=2)
    assert figure.layout.yaxis.ticktext[-1].strip() == "2 others"
    bars = [bar for bar in figure.data if bar.type == "bar"]
    assert sum(sum(bar.x) for bar in bars) == 60


def test_matrix_puts_the_rest_together_and_loses_nothing():
    frame = failures(60)
    figure = charts.matrix(frame, most=(2, 2))
    assert sum(value**2 for line in figure.data[0].z for value in line) == pytest.approx(60)


def test_pareto_names_the_few_that_make_most():
    frame = failures(100)
    sizes = [90, 5, 5]
    frame = frame.assign(fingerprint=np.repeat(["g0", "g1", "g2"], sizes))
    frame = frame.astype({"fingerprint": "str"})
    assert charts.pareto(patterns.groups(frame)).layout.title.text.startswith(
        "1 of 3 groups makes 90% of 100 failures"
    )
    with pytest.raises(SchemaError, match=r"dlq\.groups"):
        charts.pareto(frame.drop(columns="template"))


def test_depths_say_in_words_what_each_bar_is_made_of_and_who_takes():
    rows = [
        ("a", "mails", "waiting", 40, 0), ("a", "mails", "dead_lettered", 5, None),
        ("b", "mails", "waiting", 7, 3), ("b", "odd", "waiting", None, None),
        *(("b", f"q{n}", "waiting", 1, 1) for n in range(20)),
    ]  # fmt: skip
    names = ("source", "queue", "state", "depth", "consumers")
    figure = charts.depths(readings.depths(dict(zip(names, row, strict=True)) for row in rows), n=3)
    assert figure.layout.meta["title"] == (
        "mails · a holds 45 of 72 tasks in 23 queues; from 1 with waiting tasks nobody takes"
    )
    assert [text.strip() for text in figure.layout.yaxis.ticktext] == [
        "mails · a", "mails · b", "q0 · b", "20 others",
    ]  # fmt: skip
    written = [text.replace("<br>", "").strip() for text in figure.data[-1].text]
    assert written[0] == "40 waiting, 5 dead lettered, nobody takes from it"
    assert written[1] == "7 waiting, 3 take from it" and written[3] == "19 waiting"
    assert sum(sum(bar.x) for bar in figure.data if bar.type == "bar") == 72
    odd = readings.depths([{"source": "b", "queue": "odd", "state": "waiting", "depth": None}])
    assert charts.depths(odd).data[-1].text[0].strip() == "some not known"
    assert charts.depths(odd).layout.title.text == "0 of 1 depths are 0: none is known"
    still = odd.assign(depth=odd["depth"].fillna(0))
    assert charts.depths(still).layout.title.text == "1 of 1 depths are 0"
    with pytest.raises(SchemaError, match=r"dlq\.depths"):
        charts.depths(failures())


def test_the_countdown_adds_up():
    figure = charts.expiry(soon(failures(60)), NOW)
    assert figure.layout.meta["title"] == (
        "20 of 60 failures are forgotten within 24 hours; 4 may be gone already"
    )
    assert figure.data[-1].text[-1].endswith("together 60")
    assert charts.expiry(failures(3)).layout.title.text.startswith("Nothing to draw")


def test_funnel_of_a_run_says_what_went_wrong():
    figure = charts.funnel(
        run(planned=10, sent=8, refused=1, skipped=0, uncertain=1, not_reached=0,
            succeeded=6, failed_again=2, pending=0, unknown=0)
    )  # fmt: skip
    assert figure.layout.meta["title"] == (
        "8 of 10 planned were sent, 6 succeeded, 2 failed again, 1 uncertain, 1 refused"
    )
    assert "skipped" not in " ".join(figure.layout.yaxis.ticktext)


def test_funnel_of_an_archive_speaks_of_no_outcome():
    figure = charts.funnel(
        run(planned=5, sent=5, refused=0, skipped=0, uncertain=0, not_reached=0,
            succeeded=0, failed_again=0, pending=0, unknown=0)
    )  # fmt: skip
    assert figure.layout.meta["title"] == "5 of 5 planned were sent"
    assert sorted(map(str.strip, figure.layout.yaxis.ticktext)) == ["planned", "sent"]


def test_funnel_of_a_plan():
    table = pd.DataFrame(
        {"decision": ["goes", "stays"], "because": ["", "class is <b>"], "failures": [3, 9]}
    )
    figure = charts.funnel(SimpleNamespace(summary=table))
    assert figure.layout.title.text == "3 of 12 failures go, 9 stay"
    assert "class is &lt;b&gt;" in figure.layout.yaxis.ticktext[1]


def test_no_renderer_has_the_button_that_uploads():
    seen = 0
    for name in pio.renderers:
        config = getattr(pio.renderers[name], "config", None)
        if config is not None:
            assert config["showSendToCloud"] is False, name
            seen += 1
    assert seen >= 5


def grey(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_classes_stay_apart_in_grey_and_without_colour():
    shades = sorted(grey(colour) for colour in charts.COLOURS.values())
    assert min(high - low for low, high in pairwise(shades)) > 0.1
    assert len(set(charts.SHAPES.values())) == len(charts.SHAPES)


def test_marks_are_numbered_in_order_and_named_below():
    frame = failures()
    figure = charts.marked(charts.timeline(frame, "1d"), changed(frame), began(frame))
    texts = [one.text.strip() for one in figure.layout.annotations]
    assert "D1" in texts and "D2" in texts and any(text.startswith("▲1") for text in texts)
    lines = texts[-1].split("<br>")
    assert lines[0] == "▲ where an error began:" and lines[1].startswith("▲1")
    assert [line[:10] for line in lines[-2:]] == ["D1 task0 1", "D2 task0 1"]
    assert (
        len(figure.layout.shapes) == 2
        and "a change: D1 task0 1 01 Nov" in figure.layout.meta["alt"]
    )
    alone = charts.marked(charts.timeline(frame, "1d"))
    assert not alone.layout.annotations


def test_the_few_bars_of_a_short_time_are_named_by_where_they_begin():
    """Plotly names their middles: the hour from 22:00 would be read as one that begins at 22:30."""
    times = pd.date_range("2026-11-01T22:10Z", periods=4, freq="1h")
    frame = from_records({"failure_id": str(n), "failed_at": at} for n, at in enumerate(times))
    axis = charts.timeline(frame, "1h").layout.xaxis
    assert list(axis.ticktext) == [
        "22:00<br>Nov 1<br>2026",
        "23:00",
        "00:00<br>Nov 2",
        "01:00",
        "02:00",
    ]
    assert pd.Timestamp(axis.tickvals[0]) == pd.Timestamp("2026-11-01T22:00")
    days = charts.timeline(frame, "1d").layout.xaxis.ticktext
    assert list(days) == ["Nov 1<br>2026", "Nov 2", "Nov 3"]
    assert charts.timeline(frame, "10m").layout.xaxis.ticktext is None


def test_a_bar_that_is_alone_does_not_fill_the_plot():
    frame = from_records([{"failure_id": "1", "failed_at": "2026-11-01T22:10Z"}])
    begin, end = map(pd.Timestamp, charts.timeline(frame, "1h").layout.xaxis.range)
    assert begin < pd.Timestamp("2026-11-01T20:00") and end > pd.Timestamp("2026-11-02T01:00")


def test_a_mark_of_several_beginnings_names_the_first_and_the_last():
    at = ["2026-11-01T00:00Z", "2026-11-01T10:00Z", "2026-11-30T00:00Z"]
    frame = from_records({"failure_id": str(n), "failed_at": one} for n, one in enumerate(at))
    table = pd.DataFrame({"onset": frame["failed_at"][:2], "count": [3, 4]})
    figure = charts.marked(charts.timeline(frame, "1d"), None, table)
    assert figure.layout.annotations[-1].text.endswith(
        "▲1-2 01 Nov 00:00 to 01 Nov 10:00, 2 groups, 7 failures"
    )


def test_the_groups_that_a_title_counts_are_drawn_where_it_is_a_few_more():
    shares = [0.053] * 15 + [0.0205] * 10
    rows = {"exception_type": "E", "template": "t", "count": 53, "failure_class": "data"}
    groups = pd.DataFrame([{**rows, "share": share} for share in shares])
    figure = charts.pareto(groups)
    assert figure.layout.meta["title"].startswith("16 of 25 groups make 8")
    assert len(figure.data[0].y) == 16
    assert len(charts.pareto(pd.concat([groups] * 3).assign(share=1 / 75)).data[0].y) == 12


def test_a_system_without_exceptions_names_its_errors_by_their_messages():
    """A list in Redis has an error's text and no type: `nan: HTTP 503` is not what failed."""
    frame = failures().assign(exception_type=pd.Series(dtype="str"))
    groups = patterns.groups(frame)
    for figure in (
        charts.pareto(groups),
        charts.sparklines(frame, groups),
        charts.episodes(began(frame), frame),
    ):
        said = figure.to_json()
        assert "message " in said and "nan:" not in said and "?:" not in said
    bare = charts.pareto(groups.assign(template=pd.Series(dtype="str")))
    assert "no message" in bare.to_json()


def test_a_change_outside_of_the_time_shown_is_named_and_not_drawn():
    """A line two weeks before the first bar would show two quiet weeks that nobody looked at."""
    frame = failures()
    first, last = frame["failed_at"].min(), frame["failed_at"].max()
    day = pd.Timedelta("1D")
    times = [first - 14 * day, first - 9 * day, first - day / 24, last, last + 5 * day]
    rows = {"kind": "deploy", "service": "shop", "text": ""}
    known = pd.DataFrame([{"at": at, "version": str(n), **rows} for n, at in enumerate(times)])
    figure = charts.marked(charts.timeline(frame, "1h"), known)
    drawn = [pd.Timestamp(one.x0) for one in figure.layout.shapes]
    assert drawn == [at.tz_localize(None) for at in times[2:4]]
    lines = figure.layout.annotations[-1].text.split("<br>")
    assert [line[:9] for line in lines[1:3]] == ["D1 shop 2", "D2 shop 3"]
    assert lines[3] == "2 changes before this time, the last: shop 1 23 Oct 00:00"
    assert lines[4] == f"1 change after this time: shop 4 {times[4]:%d %b %H:%M}"
    assert "2 changes before this time" in figure.layout.meta["alt"]
    alone = charts.marked(charts.timeline(frame, "1h"), known.head(2))
    assert not alone.layout.shapes and "before this time" in alone.layout.annotations[-1].text


def test_episodes_that_go_on_end_at_the_newest_failure():
    frame = failures()
    figure = charts.episodes(began(frame), frame)
    newest = frame["failed_at"].max().tz_localize(None)
    assert pd.Timestamp(figure.data[0].x[1]) == newest
    assert figure.data[0].marker.symbol[1] == "triangle-right"
    assert figure.data[1].marker.symbol[1] == "line-ns"
    assert (
        "7 episodes" in figure.layout.meta["title"]
        and "4 still going on" in figure.layout.meta["title"]
    )
    assert figure.layout.xaxis.title.text == "UTC; a triangle: it goes on"
    over = began(frame).assign(until=frame["failed_at"].max())
    assert charts.episodes(over, frame).layout.xaxis.title.text == "UTC"
    with pytest.raises(SchemaError, match=r"dlq\.onsets"):
        charts.episodes(frame)


def test_recovery_adds_up():
    figure = charts.recovery(executed(failures()))
    ends = {trace.name: trace.y[-1] for trace in figure.data}
    assert ends == {"60 sent": 60, "48 succeeded": 48, "12 failed again": 12}
    assert len({trace.line.dash for trace in figure.data}) == 3  # without colour, too


def test_checks_are_named_in_the_title():
    words = ["critical", "warning", "warning", "ok"]
    table = pd.DataFrame({"severity": words, "name": ["depth", "workers", "age", "rate"], "text": "t"}, dtype="str")  # fmt: skip
    title = charts.severities(table).layout.meta["title"]
    assert title == "Of 4 checks 1 is critical (depth) and 2 are warnings (workers, age)"
    assert charts.severities(table[3:]).layout.meta["title"] == "All checks are ok: 1"


def test_a_heatmap_tells_an_outage_of_one_day_from_a_habit():
    def title(days):
        rows = [{"failed_at": f"2026-11-{day:02d}T09:10:00Z", "queue": "q", "failure_id": str(n)}
                for n, day in enumerate(days)]  # fmt: skip
        return charts.heatmap(from_records(rows)).layout.meta["title"]

    assert title([3, 3, 3, 4]).endswith("4 of 4 failures, 3 of them on Tue 03 Nov")
    assert title([1, 2, 3, 4]).endswith("4 of 4 failures, on 4 days")


def test_sparklines_tell_what_rises_from_what_is_over():
    hours = {"over": range(10), "rises": [1, *[99] * 5]}
    rows = [{"failed_at": pd.Timestamp("2026-11-01T00:00Z") + pd.Timedelta(hours=hour), "failure_id": f"{name}{n}",
             "exception_type": name} for name, times in hours.items() for n, hour in enumerate(times)]  # fmt: skip
    frame = from_records(rows)
    frame = frame.assign(
        fingerprint=frame["exception_type"], template="m", failure_class="transient"
    )
    figure = charts.sparklines(frame, patterns.groups(frame))
    title = figure.layout.meta["title"]
    assert title.startswith("1 of the 2 largest groups peaked after 04 Nov 17:")
    assert "1 did not fail after it; the largest is over: m, with its peak at Sun 01 Nov" in title
    even = pd.concat(
        [
            frame.assign(failed_at=frame["failed_at"].min() + pd.Timedelta(hours=at))
            for at in (0, 0, 9)
        ]
    )
    title = html.unescape(
        charts.sparklines(even, patterns.groups(even)).layout.title.text.replace("<br>", " ")
    )
    assert title.startswith("Each of the 2 largest groups failed after ")
    assert "and none was worst then" in title
    assert [one.text for one in figure.layout.annotations] == ["peak 1", "peak 5"]


def test_renderers_that_are_imported_later_have_no_share_button_either():
    code = (
        "import sys; from dlqanalysis.display.unshared import no_share_button; no_share_button();"
        "assert 'plotly' not in sys.modules; sys.modules['nbformat'] = None; import plotly.io as pio;"
        "assert {c['showSendToCloud'] for n in pio.renderers if (c := getattr(pio.renderers[n], 'config', None))} == {False}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
