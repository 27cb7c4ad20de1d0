"""A queue API in both of its dialects: depths, health, pauses that are proved, and hostile answers."""

import json

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import DLQError, SettingsError
from dlqanalysis.model import Item, State
from dlqanalysis.sources import connect_monitor
from dlqanalysis.sources.queue_api import open_hand, open_monitor
from dlqanalysis.workload import rates
from tests.small_server import SmallServer

KEY = "jobs_k-7f3e"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"


class Queues:
    """The API. `published` is what its code does (nested counts, no routes to change anything), `runbook` what
    its runbook says (flat counts, pause and resume; whether a queue is paused is not shown), `whole` has both.
    """

    def __init__(self, dialect="published"):
        self.dialect = dialect
        self.counts = {
            "critical": {"waiting": 0, "active": 2, "completed": 1205, "failed": 15, "delayed": 0},
            "default": {"waiting": 5, "active": 1, "completed": 8932, "failed": 42, "delayed": 3},
        }
        self.paused = dict.fromkeys(self.counts, False)
        self.habit = ""
        self.log = None
        self.health = {"status": "ok", "details": {"redis": {"status": "up"}}}

    def __call__(self, verb, path, query, body):
        if path in ("/health", "/api/v1/healthz"):
            return (503 if self.health.get("status") == "error" else 200), self.health
        if self.server.headers[-1].get("x-api-key") != KEY and (
            self.server.headers[-1].get("authorization") != f"Bearer {JWT}"
        ):
            return 401, {"statusCode": 401, "message": "Unauthorized"}
        if (verb, path) == ("GET", "/api/v1/queue/metrics"):
            return 200, self.metrics()
        if path == "/api/v1/logs" and self.log is not None:
            return 200, self.log
        if verb == "POST" and self.dialect != "published":
            _, _, _, _, word, name = path.split("/")
            if self.habit == "refuses":
                return 403, {"message": "Insufficient scope"}
            idle = self.habit in ("lies", "busy", "login", "says_no")
            if word in ("pause", "resume") and not idle:
                self.paused[name] = word == "pause"
            answers = {
                "drops": None, "fails": (500, {"message": "boom"}), "busy": (429, {}), "late": (408, {}),
                "login": (200, b"<html><title>Sign in</title></html>"), "empty": (204, b""),
                "says_no": (200, {"success": False, "message": "no such queue"}),
            }  # fmt: skip
            return answers.get(self.habit, (201, {}))
        missing = {"statusCode": 404, "message": f"Cannot {verb} {path}", "error": "Not Found"}
        return 404, missing

    def metrics(self):
        if self.dialect == "runbook":
            return [{"name": name, **counts} for name, counts in self.counts.items()]
        return [
            {"name": name, "counts": counts, "isPaused": self.paused[name]}
            for name, counts in self.counts.items()
        ]


@pytest.fixture
def serve(monkeypatch):
    """Opens the API; gives what it is and its URL."""
    monkeypatch.setenv("DLQ_QUEUE_TOKEN", KEY)
    running = []

    def start(reply):
        server = SmallServer(reply).__enter__()
        running.append(server)
        reply_to = reply if isinstance(reply, Queues) else None
        if reply_to:
            reply_to.server = server
        return f"queue+http://{server.place}/api/v1", server

    yield start
    for server in running:
        server.__exit__()


@pytest.mark.parametrize("dialect", ["published", "runbook", "whole"])
def test_depths_of_both_dialects_are_the_same(serve, dialect):
    url, server = serve(Queues(dialect))
    found = dlq.depths(url)
    table = found.pivot(index="queue", columns="state", values="depth")
    assert table.loc["default"].to_dict() == {
        "waiting": 5, "active": 1, "completed": 8932, "failed": 42, "delayed": 3,
    }  # fmt: skip
    assert (
        set(found["source"]) == {f"queue:{server.place}"} and str(found["depth"].dtype) == "Int64"
    )
    assert any("prioritized" in note for note in found.attrs["notes"])
    assert server.headers[-1]["x-api-key"] == KEY and "authorization" not in server.headers[-1]


def test_a_jwt_goes_as_bearer_token(serve, monkeypatch):
    monkeypatch.setenv("DLQ_QUEUE_TOKEN", JWT)
    url, server = serve(Queues())
    assert len(dlq.depths(url)) == 10 and "x-api-key" not in server.headers[-1]


def test_a_wrong_key_is_named_by_its_variable_and_not_shown(serve, monkeypatch):
    monkeypatch.setenv("DLQ_QUEUE_TOKEN", "wr0ng-k3y")
    url, _ = serve(Queues())
    with pytest.raises(DLQError, match="DLQ_QUEUE_TOKEN") as told:
        connect_monitor(url).depths()
    assert "wr0ng-k3y" not in str(told.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"queues": [{"name": "a", "waiting": "7", "failed": 1, "paused": 2, "odd": -4}]},
        {"data": [{"queue": "a", "jobCounts": {"wait": 7, "failed": 1.0, "paused": 2, "odd": None}}]},
        {"a": {"waiting": 7, "failed": 1, "paused": 2, "odd": "many", "flag": True}},
    ],
)  # fmt: skip
def test_relatives_of_the_shapes_are_read(serve, answer):
    url, _ = serve(lambda *_: (200, answer))
    found = dlq.depths(url).set_index("state")["depth"]
    assert (found["waiting"], found["failed"], found["paused"]) == (7, 1, 2)
    assert found.isna()["odd"] and len(found) == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"<html><title>Sign in</title></html>",
        b"\xff\xfe",
        b"[" * 100_000,
        [1, None],
        [{"name": {"a": 1}}],
        [{"name": "a", "counts": [1]}],
        {"data": "none"},
        {"queues": [{"name": "\ud800", "waiting": 1e400, "failed": "٣", "active": 10**30}]},
        [{"name": "a", "waiting": 1}] * 3,
        "x",
        None,
    ],
    ids=repr,
)
def test_a_strange_answer_is_a_sentence_or_a_frame(serve, answer):
    url, _ = serve(lambda *_: (200, answer))
    try:
        found = connect_monitor(url).depths()
    except DLQError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        assert found.duplicated(["queue", "state"]).sum() == 0
        assert found["depth"].dropna().between(0, 10**15).all()


def test_health_says_what_the_api_depends_on(serve):
    api = Queues()
    url, _ = serve(api)
    assert [finding.severity for finding in connect_monitor(url).health()] == ["ok", "ok"]
    api.health = {
        "status": "error",
        "details": {"redis": {"status": "down"}, "db": {"status": "up"}},
    }
    found = connect_monitor(url).health()
    assert {finding.name for finding in found if finding.severity == "critical"} == {
        "/healthz", "/health", "/healthz redis", "/health redis",
    }  # fmt: skip


def test_an_api_that_is_away_is_a_finding():
    [found] = connect_monitor("queue+http://127.0.0.1:9/api/v1").health()
    assert found.severity == "critical" and "cannot be reached" in found.text


def test_workers_and_running_say_that_they_cannot_be_told(serve):
    url, _ = serve(Queues())
    for frame in (dlq.workers(url), dlq.running(url)):
        assert not len(frame) and "bullmq+redis://" in frame.attrs["notes"][0]


def replayed(url, action, queue="default", journal=None):
    """A pause or unpause down the whole road."""
    with open_monitor(url) as monitor:
        queues = monitor.queues()
    chosen = queues[queues["queue"] == queue]
    made = dlq.plan(chosen, journal, reason="INC-42: provider is ill", action=action)
    return dlq.replay(made, to=open_hand(url), journal=journal, confirm=made.id)


def test_a_pause_is_a_plan_and_is_proved(serve):
    api = Queues("whole")
    url, server = serve(api)
    journal = dlq.Journal()
    run = replayed(url, "pause", journal=journal)
    assert api.paused == {"critical": False, "default": True}
    items = journal.items(run.run_id)
    assert items["state"].tolist() == [State.SENT]
    run = replayed(url, "unpause", journal=journal)
    assert not api.paused["default"] and server.asked("POST") == [
        "/api/v1/queue/pause/default",
        "/api/v1/queue/resume/default",
    ]
    assert journal.items(run.run_id)["state"].tolist() == [State.SENT]


def item(queue="default", status="running"):
    return Item(
        failure_id=f"{queue}@2026-11-22T00:00:00+00:00/{status}", task_id="", task_name="",
        queue=queue, content_hash="", generation=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "habit", "state", "says"),
    [
        ("published", "", State.REFUSED, "no route to pause"),
        ("runbook", "", State.SENT, "does not show"),
        ("whole", "lies", State.REFUSED, "said yes"),
        ("whole", "refuses", State.REFUSED, "Insufficient scope"),
        ("whole", "drops", State.SENT, "read again"),
        ("whole", "fails", State.SENT, "read again"),
        ("runbook", "drops", State.UNCERTAIN, "not answered"),
        ("runbook", "fails", State.UNCERTAIN, "500"),
        ("runbook", "late", State.UNCERTAIN, "408"),
        ("runbook", "login", State.UNCERTAIN, "not yes: Sign in"),
        ("runbook", "says_no", State.UNCERTAIN, "no such queue"),
        ("runbook", "empty", State.SENT, "does not show"),
        ("whole", "busy", State.NOT_REACHED, "429"),
    ],
)
def test_what_became_of_a_pause(serve, dialect, habit, state, says):
    api = Queues(dialect)
    api.habit = habit
    url, server = serve(api)
    [receipt] = open_hand(url).send("pause", [item()], "run-1")
    assert (receipt.state, says in receipt.detail) == (state, True), receipt.detail
    assert len(server.asked("POST")) == 1


def test_what_is_so_already_or_gone_is_skipped(serve):
    api = Queues("whole")
    api.paused["default"] = True
    url, server = serve(api)
    hand = open_hand(url)
    found = list(hand.send("pause", [item(), item("gone")], "run-1"))
    assert [one.state for one in found] == [State.SKIPPED] * 2 and not server.asked("POST")
    assert any("gone" in finding.text for finding in hand.preflight([item("gone")]))


def test_an_uncertain_pause_is_settled_by_the_queue(serve):
    api = Queues("whole")
    url, _ = serve(api)
    hand = open_hand(url)
    assert [one.state for one in hand.settle([item()], "run-1")] == [State.NOT_REACHED]
    api.paused["default"] = True
    assert [one.state for one in hand.settle([item()], "run-1")] == [State.SENT]
    api.dialect = "runbook"
    assert [one.state for one in hand.settle([item()], "run-1")] == [State.UNCERTAIN]


def test_names_of_queues_do_not_leave_the_path(serve):
    api = Queues("whole")
    api.counts["../../admin?x=#"] = {"waiting": 1}
    api.paused["../../admin?x=#"] = False
    url, server = serve(api)
    list(open_hand(url).send("pause", [item("../../admin?x=#")], "run-1"))
    assert server.asked("POST") == ["/api/v1/queue/pause/..%2F..%2Fadmin%3Fx%3D%23"]


def test_there_are_no_failures_to_read():
    with pytest.raises(SettingsError, match=r"bullmq\+redis"):
        dlq.connect("queue+http://127.0.0.1:9/api/v1")
    told = dlq.capabilities("queue+http://127.0.0.1:9").set_index("capability")["can"]
    assert told["pause"] and not told["replay"]


def test_rates_between_two_looks(serve):
    api = Queues()
    url, _ = serve(api)
    before = dlq.depths(url)
    api.counts["default"] |= {"completed": 8932 + 95, "failed": 42 + 5}
    api.counts["critical"] |= {"failed": 3}  # somebody has cleaned
    after = dlq.depths(url)
    after["at"] = before["at"] + pd.Timedelta("60s")
    found = rates(before, after).set_index("queue")
    assert found.loc["default", "success_rate"] == 0.95
    assert (found.loc["default", "completed"], found.loc["default", "per_minute"]) == (95, 100.0)
    assert found.isna().loc["critical", "success_rate"]
    assert json.dumps(found.attrs["notes"]).count("critical") == 1


def test_the_log_of_the_api_is_evidence_where_it_has_one(serve):
    """What it says is redacted, and no entry, however odd, breaks the others."""
    api = Queues()
    url, server = serve(api)
    with connect_monitor(url) as monitor:
        nothing = monitor.logs()
        assert not len(nothing) and "has no /logs" in nothing.attrs["notes"][0]
        api.log = {"logs": [
            {"timestamp": "2026-11-20T10:00:02Z", "level": "error", "message": "job failed", "jobId": 17},
            {"time": 1795255201000, "level": 50, "msg": "job of ann@example.com failed", "job": {"id": "a"}},
            "bare text", {"time": "soon", "level": True, "message": {"a": "\ud800"}}, None,
        ]}  # fmt: skip
        found = monitor.logs(search="job", limit=20)
    assert server.requests[-1][2] == {"level": "error", "limit": "20", "search": "job"}
    assert found["job_id"].fillna("").tolist()[:2] in (["17", "a"], ["a", "17"])
    assert len(found) == 5 and found["at"].notna().sum() == 2
    assert "ann@example.com" not in " ".join(found["text"].dropna())
    assert "error" in set(found["level"])


def test_nothing_done_has_no_rate(serve):
    url, _ = serve(Queues())
    first, second = dlq.depths(url), dlq.depths(url)
    assert rates(first, second)["success_rate"].isna().all()
    assert len(rates(first.head(0), second)) == 0
