"""Prometheus over HTTP: samples with units, depths, alerts, refusals in a sentence, rules as text."""

import base64

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis import readings
from dlqanalysis.checkup.alert_rules import WITHOUT, alert_rules
from dlqanalysis.errors import ConnectError, DLQError, QueryError, SettingsError
from dlqanalysis.health import THRESHOLDS
from dlqanalysis.profile import Profile
from dlqanalysis.sources import connect_monitor
from dlqanalysis.sources.prometheus import metrics
from dlqanalysis.sources.prometheus.queries import NAMES, SETS
from tests.prometheus_server import Prometheus, bad
from tests.small_server import SmallServer

DEPTH = SETS["queues"]["depth"].promql


@pytest.fixture
def serve():
    """Serves a Prometheus; gives its URL and the server."""
    running = []

    def start(reply):
        server = SmallServer(reply).__enter__()
        running.append(server)
        return f"prometheus+http://{server.place}", server

    yield start
    for server in running:
        server.__exit__()


def test_a_named_query_has_its_promql_and_its_unit(serve):
    prometheus = Prometheus()
    url, _ = serve(prometheus)
    query = SETS["queues"]["failures_per_minute"]
    prometheus.series = {query.promql: [({"job": "pdf.generate"}, "12"), ({"job": "a"}, "0.5")]}
    found = metrics(url, "failures_per_minute")
    assert prometheus.queries == ["60 * sum by (job) (rate(job_fail_total[5m]))"]
    assert found["value"].tolist() == [12.0, 0.5] and set(found["unit"]) == {"per_minute"}
    assert found["labels"].tolist() == ['{"job": "pdf.generate"}', '{"job": "a"}']
    assert set(found["metric"]) == {"failures_per_minute"} and found.attrs["notes"] == []
    assert dict(found.dtypes)["at"] == dict(readings.metrics([]).dtypes)["at"]
    assert found["at"].iloc[0].timestamp() == pytest.approx(1_795_330_800.5)


def test_promql_arrives_whole_and_a_bare_rate_is_per_second(serve):
    promql = 'rate(x_total{path=~"/a b&c=d+%2F#é",le="+Inf"}[5m])'
    prometheus = Prometheus({promql: [({}, "2")]})
    url, _ = serve(prometheus)
    assert metrics(url, promql)["unit"].tolist() == ["per_second"]
    assert prometheus.queries == [promql]
    assert metrics(url, promql, unit="per_week")["unit"].tolist() == ["per_week"]


def test_a_range_is_asked_with_its_bounds_and_step(serve):
    prometheus = Prometheus({DEPTH: [({"queue": "default"}, "7")]})
    url, server = serve(prometheus)
    found = metrics(url, "depth", "2026-11-22T01:00:00Z", "2026-11-22T02:00:00Z", every="5m")
    asked = server.requests[-1][2]
    assert (float(asked["end"]) - float(asked["start"]), asked["step"]) == (3600, "300.000")
    assert len(found) == 13 and found["at"].diff().dropna().dt.total_seconds().eq(300).all()
    assert found["at"].iloc[0].isoformat() == "2026-11-22T01:00:00+00:00"
    assert len(metrics(url, "depth", "7d")) == 241
    assert float(server.requests[-1][2]["step"]) == 7 * 86400 / 240


@pytest.mark.parametrize(
    ("since", "until", "every", "says"),
    [
        ("7d", None, "1s", "11,000"),
        ("1h", None, "0s", "11,000"),
        (None, None, "5m", "since="),
        ("2026-11-22", "2026-11-21", None, "not before"),
    ],
)
def test_a_range_that_cannot_be_is_refused_before_it_is_asked(serve, since, until, every, says):
    url, server = serve(Prometheus())
    with pytest.raises(SettingsError, match=says):
        metrics(url, "depth", since, until, every)
    assert not server.requests


def test_what_is_no_number_and_what_prometheus_warns_of_is_a_note(serve):
    values = [({}, "NaN"), ({"a": "1"}, "+Inf"), ({"a": "2"}, "-Inf"), ({"a": "3"}, "1e3")]
    url, _ = serve(
        Prometheus({"x": values}, warnings=["remote read failed"], infos=["not a counter"])
    )
    found = metrics(url, "x")
    assert found["value"].isna().sum() == 1 and found["value"].max() == float("inf")
    notes = " ".join(found.attrs["notes"])
    assert "remote read failed" in notes and "not a counter" in notes and "0 / 0" in notes


def test_a_scalar_and_histograms(serve):
    prometheus = Prometheus({"h": [({}, "1")]})
    prometheus.scalars = {"scalar(x)": "4"}
    url, _ = serve(prometheus)
    assert metrics(url, "scalar(x)")["value"].tolist() == [4.0]
    histogram = {"metric": {"__name__": "h"}, "histogram": [1, {"count": "3"}]}
    data = {"resultType": "vector", "result": [histogram, {"metric": {}, "value": [1, "2"]}]}
    url, _ = serve(lambda *_: (200, {"status": "success", "data": data}))
    found = metrics(url, "h")
    assert found["value"].tolist() == [2.0] and "histograms" in found.attrs["notes"][0]


def test_no_series_is_a_note_that_says_what_to_set(serve):
    url, _ = serve(Prometheus())
    assert "?depth=" in metrics(url, "depth").attrs["notes"][0]
    nothing = dlq.depths(url)
    assert not len(nothing) and "?metrics=" in nothing.attrs["notes"][0]


def test_depths_from_the_configured_metric(serve):
    prometheus = Prometheus(
        {DEPTH: [({"queue": "default"}, "42"), ({"queue": "bulk", "status": "failed"}, "NaN")],
         "my_depth": [({"priority": "high"}, "3")]}
    )  # fmt: skip
    url, server = serve(prometheus)
    found = dlq.depths(url).set_index("queue")
    assert found.loc["default", "depth"] == 42 and found.loc["default", "state"] == "dead_lettered"
    assert found.isna().loc["bulk", "depth"] and found.loc["bulk", "state"] == "failed"
    assert set(found["source"]) == {f"prometheus:{server.place}"}
    own = dlq.depths(f"{url}?depth=my_depth")
    assert own[["queue", "depth"]].to_numpy().tolist() == [["high", 3]]
    dlq.depths(f"{url}?metrics=lists")
    assert prometheus.queries[-1] == "tokpulse_dlq_depth"


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (bad("parse error: unexpected end of input"), QueryError, "unexpected end"),
        (bad("found duplicate series", 422, "execution"), QueryError, "duplicate series"),
        (bad("query timed out in expression evaluation", 503, "timeout"), ConnectError, "timed out"),
        ((404, b"not here"), ConnectError, "no /api/v1/query"),
        ((200, b"<html><title>Sign in</title>"), ConnectError, "web page"),
        ((200, {"status": "success"}), ConnectError, "as no Prometheus"),
        ((200, {"status": "success", "data": {"resultType": "tensor", "result": []}}), ConnectError, "type"),
        ((401, b""), ConnectError, "DLQ_PROMETHEUS_TOKEN"),
    ],
)  # fmt: skip
def test_refusals_are_sentences(serve, reply, kind, says):
    prometheus = Prometheus()
    prometheus.fails = reply
    url, _ = serve(prometheus)
    with pytest.raises(kind, match=says) as told:
        metrics(url, "depth")
    assert "\n" not in str(told.value)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["metric", "value", "values", "__name__", "x"]), inner
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["vector", "matrix", "scalar", "string"]),
)
def test_no_result_makes_it_fail_otherwise_than_in_a_sentence(result, kind):
    body = {"status": "success", "data": {"resultType": kind, "result": result}, "warnings": result}
    with SmallServer(lambda *_: (200, body)) as server:
        url = f"prometheus+http://{server.place}"
        for ask in (lambda: metrics(url, "depth"), lambda: connect_monitor(url).depths()):
            try:
                assert set(ask().columns) in (set(readings.METRICS), set(readings.DEPTHS))
            except DLQError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("token", ["s3cr3t-bearer", "reader:p4ss word"])
def test_credentials_come_from_the_environment_and_are_not_shown(serve, monkeypatch, token):
    monkeypatch.setenv("DLQ_WATCH_TOKEN", token)
    prometheus = Prometheus({DEPTH: [({}, "1")]})
    url, server = serve(prometheus)
    monkeypatch.setenv("DLQ_WATCH_URL", url)
    assert len(metrics("watch", "depth")) == 1
    basic = f"Basic {base64.b64encode(token.encode()).decode()}"
    assert server.headers[-1]["authorization"] == (basic if ":" in token else f"Bearer {token}")
    prometheus.fails = bad(f"you said {server.headers[-1]['authorization']} and {token}")
    with pytest.raises(QueryError) as told:
        metrics("watch", "depth")
    assert token not in str(told.value) and basic[6:] not in str(told.value)


def test_health_tells_of_alerts_that_fire(serve):
    prometheus = Prometheus()
    labels = {"alertname": "HighDLQDepth", "severity": "critical", "queue": "default"}
    prometheus.alerts = [
        {"labels": labels, "annotations": {"summary": "1200 wait"}, "state": "firing"},
        {"labels": {"alertname": "Other"}, "state": "pending"},
        "odd",
    ]
    url, _ = serve(prometheus)
    found = {finding.name: finding for finding in connect_monitor(url).health()}
    assert set(found) == {"/-/healthy", "/-/ready", "HighDLQDepth"}
    assert (
        found["HighDLQDepth"].severity == "critical" and "1200 wait" in found["HighDLQDepth"].text
    )
    prometheus.ready = False
    assert connect_monitor(url).health()[0].severity == "critical"


@pytest.mark.parametrize(
    "place", ["prometheus+http://127.0.0.1:9?deep=x", "prometheus+http://?depth=x"]
)
def test_a_wrong_url_says_what_is_wrong(place):
    with pytest.raises(DLQError):
        connect_monitor(place)


def test_nothing_is_read_or_replayed():
    for attempt in (dlq.connect, dlq.connect_hand):
        with pytest.raises(SettingsError, match="Prometheus"):
            attempt("prometheus+http://127.0.0.1:9")


def test_figures_a_minute_are_sixty_times_a_rate():
    for queries in SETS.values():
        for name, query in queries.items():
            if query.unit == "per_minute":
                assert query.promql.startswith("60 * ") or query.promql.endswith("[5m])) / 5"), name
            assert query.unit in {"1", "ratio", "seconds", "per_minute", "per_hour"}
            assert query.promql.count("(") == query.promql.count(")")
    assert {"depth", "growth_per_minute", "failure_rate", "success_rate", "p95_latency"} <= NAMES


@pytest.mark.parametrize("kind", SETS)
def test_rules_are_yaml_with_the_thresholds_in_force(kind):
    profile = Profile(
        name="shop", thresholds={"depth": 10, "depth_for": "10m", "per_hour": "", "waiting": 1000}
    )
    [group] = yaml.safe_load(alert_rules(profile, kind))["groups"]
    rules = {rule["alert"]: rule for rule in group["rules"]}
    depth = SETS[kind]["depth"].promql
    assert rules["DeadLettersWait"]["expr"] == f"sum({depth}) > 10"
    assert rules["DeadLettersWait"]["for"] == "600s"
    assert rules["ManyDeadLetters"]["expr"] == f"sum({depth}) > 1000"
    assert rules["ManyDeadLetters"]["labels"] == {"severity": "critical"}
    assert (
        rules["DeadLettersGrow"]["expr"].endswith(") > 100")
        and "for" not in rules["DeadLettersGrow"]
    )
    assert "FailuresThisHour" not in rules
    if "waiting" in SETS[kind]:  # a check adds up what waits in all queues, and so does its alert
        assert rules["HighWaiting"]["expr"] == f"(sum({SETS[kind]['waiting'].promql})) > 1000"
        assert "(1)" not in rules["HighWaiting"]["annotations"]["summary"]
    assert rules["DeadLettersUnknown"]["expr"] == f"absent({depth})"


def test_rules_for_bounds_that_the_profile_has_not():
    text = alert_rules(
        Profile(),
        above={"failure_rate": 0.05, "p95_latency": 30},
        below={"processed_per_minute": 600},
    )
    rules = {rule["alert"]: rule for rule in yaml.safe_load(text)["groups"][0]["rules"]}
    asked = SETS["queues"]
    assert rules["HighFailureRate"]["expr"] == f"({asked['failure_rate'].promql}) > 0.05"
    assert rules["HighP95Latency"]["expr"] == f"({asked['p95_latency'].promql}) > 30"
    slow = rules["LowProcessedPerMinute"]
    assert slow["expr"] == f"({asked['processed_per_minute'].promql}) < 600"
    assert (slow["for"], slow["labels"]["severity"]) == ("600s", "critical")
    with pytest.raises(QueryError, match="failure_rate"):
        alert_rules(Profile(), above={"failure_rat": 1})


def test_rules_of_ones_own_metrics_and_what_has_no_rule():
    text = alert_rules(Profile(), own={"depth": 'my_depth{a="b\\n"}'})
    [group] = yaml.safe_load(text)["groups"]
    assert group["rules"][0]["expr"] == 'sum(my_depth{a="b\\n"}) > 0'
    for name in WITHOUT:
        assert f"# {name}: " in text
    with pytest.raises(QueryError, match="depth"):
        alert_rules(Profile(), own={"deth": "x"})


@pytest.mark.parametrize("name", THRESHOLDS)
def test_each_threshold_has_a_rule_or_a_reason(name):
    of = [
        alert_rules(Profile(thresholds={name: value}))
        for value in (("3m", "77m") if isinstance(THRESHOLDS[name][0], str) else (3, 77))
    ]
    assert (of[0] != of[1]) != (name in WITHOUT)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_name_cannot_break_the_rules(name):
    [group] = yaml.safe_load(alert_rules(Profile(name=name)))["groups"]
    plain = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert group["name"] == f"dead letters of {plain}"
    told = group["rules"][0]["annotations"]["system"]
    assert told.replace('{{ "{{" }}', "{{") == plain
