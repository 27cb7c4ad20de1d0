"""Archiving through the admin API, and what its monitor tells, against a real server on a socket."""

from dataclasses import replace

import pytest

import dlqanalysis as dlq
from dlqanalysis.model import State
from dlqanalysis.sources.admin_api import AdminMonitor, open_monitor
from dlqanalysis.sources.admin_api.client import open_client
from tests.admin_server import TOKEN, AdminServer
from tests.admin_ways import DIALECTS, Clock, client, hand, items


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_row_is_archived_once_with_its_state_before_and_after(dialect):
    with AdminServer(dialect, 3) as server:
        chosen = items(server)
        server.tasks["2"]["status"] = "replayed"  # done with: may be put away as well
        acting = hand(server)
        receipts = list(acting.send("archive", list(chosen.values()), "run-1"))
        again = list(acting.send("archive", list(chosen.values()), "run-2"))
        assert {row["status"] for row in server.tasks.values()} == {"archived"}
        assert len([r for r in server.requests if r[0] == "POST"]) == 3
        assert not server.executed
    details = {r.failure_id: (r.state, r.detail) for r in receipts}
    assert details["1"] == (State.SENT, "its status was failed and is archived")
    assert details["2"] == (State.SENT, "its status was replayed and is archived")
    assert {r.state for r in again} == {State.SKIPPED}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "replaying"}, "somebody replays it now"),
        ({"status": "mystery"}, "'mystery'"),
        ({"kwargs": {"a": 1}}, "content has changed"),
        ({"kwargs": {"a": 1}, "status": "replayed"}, "content has changed"),
        (None, "gone"),
    ],
)
def test_what_changed_since_the_plan_is_not_archived(changes, words):
    with AdminServer() as server:
        chosen = items(server)["2"]
        if changes is None:
            del server.tasks["2"]
        else:
            server.tasks["2"].update(changes)
        (receipt,) = hand(server).send("archive", [chosen], "r")
        assert not [r for r in server.requests if r[0] == "POST"]
    assert receipt.state == State.SKIPPED and words in receipt.detail


@pytest.mark.parametrize(
    ("habit", "state", "words"),
    [
        ("lie", State.UNCERTAIN, "its status is failed as before"),
        ("400", State.REFUSED, "habit 400"),
        ("403", State.REFUSED, "habit 403"),
        ("503", State.UNCERTAIN, "503"),
        ("drop_before", State.UNCERTAIN, "not answered"),
        ("drop_after", State.UNCERTAIN, "not answered"),
    ],
)
def test_no_answer_is_taken_for_more_than_it_says(habit, state, words):
    clock = Clock()
    with AdminServer() as server:
        chosen = replace(items(server)["2"], action="archive")
        server.replays.append(habit)
        acting = hand(server, clock=clock)
        (receipt,) = acting.send("archive", [chosen], "r")
        (soon,) = acting.settle([chosen], "r")
        clock.now += 61
        (late,) = acting.settle([chosen], "r")
        (elsewhere,) = hand(server, clock=clock).settle([chosen], "r")  # another process
        archived = server.tasks["2"]["status"] == "archived"
    assert receipt.state == state and words in receipt.detail
    assert elsewhere.state == (State.SENT if archived else State.UNCERTAIN)
    assert soon.state == (State.SENT if archived else State.UNCERTAIN)
    assert late.state == (State.SENT if archived else State.NOT_REACHED)


def test_too_many_requests_waits_as_told_and_has_an_end():
    clock = Clock()
    with AdminServer() as server:
        chosen = items(server)
        server.replays.extend(["429:7", "429:3"])
        (receipt,) = hand(server, clock).send("archive", [chosen["2"]], "r")
        assert receipt.state == State.SENT and clock.slept == [7.0, 3.0]
        server.replays.append("429:3600")
        (receipt,) = hand(server, clock).send("archive", [chosen["1"]], "r")
        assert receipt.state == State.NOT_REACHED and "come back in 3600 s" in receipt.detail
        assert server.tasks["1"]["status"] == "failed"


@pytest.mark.parametrize("habits", [{"archives": False}, {"openapi": False}])
def test_without_a_documented_endpoint_nothing_is_asked(habits):
    with AdminServer(**habits) as server:
        chosen = list(items(server).values())
        receipts = list(hand(server).send("archive", chosen, "r"))
        assert {one.state for one in receipts} == {State.REFUSED} and len(receipts) == len(chosen)
        assert all("no POST /archive" in one.detail for one in receipts)
        assert {verb for verb, *_ in server.requests} == {"GET"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_monitor_speaks_both_dialects(dialect):
    with AdminServer(dialect, 3, health=(200, {"redis": "unhealthy: refused"})) as server:
        monitor = AdminMonitor(client(server))
        found = monitor.depths()
        health = {f.name: f for f in monitor.health()}
        assert {verb for verb, *_ in server.requests} == {"GET"}
        for name in ("1", "3"):
            server.tasks[name]["status"] = "archived"
        [one] = monitor.depths().to_dict("records")
        server.tasks["2"]["status"] = "archived"
        assert not len(monitor.depths())
    assert dict(zip(found["queue"], found["depth"], strict=True)) == {"memos": 2, "emails": 1}
    assert set(found["state"]) == {"dead_lettered"}
    assert "oldest failure is of 2026-01-10 00:01Z" in found.attrs["notes"][0]
    assert str(one["oldest_at"]) == "2026-01-10 00:02:00+00:00"
    assert health["admin_alert"].severity == health["admin_stats"].severity == "warning"
    assert "redis unhealthy" in health["health"].text
    assert "knows no workers" in monitor.workers().attrs["notes"][0]
    assert "knows only what failed" in monitor.running().attrs["notes"][0]
    [down] = AdminMonitor(open_client("admin+http://127.0.0.1:1", TOKEN, tries=1)).health()
    assert down.severity == "critical"


def test_the_monitor_is_found_by_name(monkeypatch):
    with AdminServer(tasks=3) as server:
        monkeypatch.setenv("DLQ_SHOP_URL", server.url)
        monkeypatch.setenv("DLQ_SHOP_TOKEN", TOKEN)
        assert dlq.depths("shop")["depth"].sum() == 3
        assert open_monitor(server.url, "shop").name == dlq.connect("shop").name
