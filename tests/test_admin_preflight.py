"""What an admin API says of itself: its OpenAPI document, outcomes, snapshots, preflight and dry runs."""

import json
import time
from collections import deque
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from dlqanalysis.errors import DLQError
from dlqanalysis.model import Item, Outcome, Selection
from dlqanalysis.sources.admin_api import AdminSource
from dlqanalysis.sources.admin_api.deployment import Deployment
from dlqanalysis.sources.admin_api.dialect import Dialect
from dlqanalysis.sources.admin_api.rows import when
from tests.admin_server import BASE, AdminServer, document
from tests.admin_ways import DIALECTS, client, hand, items, read, replay


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


# ---- OpenAPI --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_dialect_is_read_from_openapi(dialect):
    learnt = Dialect.learn(document(dialect), BASE)
    assert learnt.documented and learnt.replays and learnt.id_type == "integer"
    assert learnt.id_field == {"published": "failed_task_id", "runbook": "task_id"}[dialect]
    assert learnt.queue_filters == ({"published": "queue_name", "runbook": "queue"}[dialect],)
    assert learnt.bulk.dry_runs is (dialect == "runbook")


@pytest.mark.parametrize(
    "odd",
    [None, [], "x", {}, {"paths": []}, {"paths": {"/dlq": None, "/a/dlq/replay": []}},
     {"paths": {f"{BASE}/replay": {"post": {"requestBody": 7}}}, "components": {"schemas": []}},
     {"paths": {f"{BASE}/tasks": {"get": {"parameters": [None, {"name": 3}, {"$ref": 1}]}}}},
     {"paths": {f"{BASE}/replay": {"post": {"$ref": "#/paths"}}}},
     {"paths": {"/other": {"get": {}}}}],
)  # fmt: skip
def test_odd_documents_teach_nothing_and_break_nothing(odd):
    learnt = Dialect.learn(odd, BASE)
    assert learnt.id_field == "" and learnt.bulk.dry_runs is False


def test_a_document_behind_a_prefix_or_beside_the_api_is_found():
    prefixed = Dialect.learn(document("runbook"), "/shop" + BASE)
    assert prefixed.replays and prefixed.id_field == "task_id"
    with AdminServer("runbook", openapi="/api/v1/openapi.json") as server:
        assert Deployment(client(server)).dialect.id_field == "task_id"


def test_a_page_in_place_of_the_document_is_no_document():
    with AdminServer(openapi="html") as server:
        _, got = read(server)
    assert "shows no OpenAPI document" in " ".join(got.notes)


# ---- outcomes, snapshot, preflight ----------------------------------------------------------------


def test_outcomes_of_a_replay():
    since = datetime.now(UTC) - timedelta(seconds=5)
    with AdminServer(tasks=6) as server:
        receipts, _ = replay(server, "1", "2", "3", "4")
        sent = {r.failure_id: r.sent_id for r in receipts}
        server.fails_again(sent["2"], 50)
        server.fails_again("", 51)  # a row without Celery's id is nobody's
        server.tasks["3"]["status"] = "failed"  # a server that puts the same row back
        acting = hand(server, results=lambda ids: {sent["4"]: "SUCCESS", sent["1"]: "PENDING"})
        verdicts = {v.failure_id: v for v in acting.outcomes(sent, since)}
        late = hand(server, patience=timedelta(0))
        later = {v.failure_id: v.outcome for v in late.outcomes({"1": sent["1"], "6": ""}, since)}
    assert verdicts["1"].outcome == Outcome.PENDING
    assert verdicts["2"].outcome == Outcome.FAILED_AGAIN
    assert "failure 50 (ConnectionError)" in verdicts["2"].detail
    assert verdicts["3"].outcome == Outcome.FAILED_AGAIN
    assert verdicts["4"].outcome == Outcome.SUCCEEDED
    assert later["1"] == Outcome.UNKNOWN  # the API tells no success: not claimed


@pytest.mark.parametrize("many", [3, 130])
def test_a_snapshot_holds_every_row_whole(many):
    with AdminServer(tasks=many) as server:
        ids = [*server.tasks, "999"]
        frame = hand(server).snapshot(ids)
        gets = sum(path.startswith("/tasks/") for _, path, _, _ in server.requests)
    assert list(frame["failure_id"]) == ids and gets == (1 if many > 100 else many + 1)
    assert json.loads(frame["raw"].iloc[1])["kwargs"] == {"property_id": 2}
    assert frame["status"].iloc[-1] == "gone" and frame["raw"].isna().sum() == 1
    assert pa.Table.from_pandas(frame).num_rows == many + 1


def found(server, chosen=None, **options):
    chosen = list(items(server).values()) if chosen is None else chosen
    return {f.name: f for f in hand(server, **options).preflight(chosen)}


def test_preflight_of_a_well_server():
    with AdminServer(health=(200, {"status": "healthy", "dlq": {"status": "alert"}})) as server:
        findings = found(server)
        assert {f.severity for f in findings.values()} == {"ok"}
        assert "takes failed_task_id" in findings["replay_endpoint"].text
        assert "dry_run" not in findings and not server.posts("/replay-bulk")


def test_preflight_says_what_is_wrong():
    with AdminServer(health=(200, {"redis": "unhealthy: refused"})) as server:
        chosen = list(items(server).values())
        assert "redis unhealthy" in found(server, chosen)["health"].text
        server.tasks.pop("1")
        assert "the plan has 4. Load again" in found(server, chosen)["admin_api"].text
        blocked = found(server, chosen, token="old")["admin_api"]
        assert blocked.blocks and blocked.severity == "critical"
        odd = Item(**{n: "x" for n in ("failure_id", "task_id", "task_name", "queue", "content_hash")},
                   generation=1)  # fmt: skip
        assert found(server, [odd])["ids"].blocks
        server.openapi = False
        assert found(server, chosen)["replay_endpoint"].severity == "warning"
        server.openapi = {"paths": {f"{BASE}/tasks": {"get": {}}}}
        assert found(server, chosen)["replay_endpoint"].blocks
        server.openapi = {"paths": {f"{BASE}/replay": {"post": {}}}}
        assert "neither failed_task_id nor task_id" in found(server, chosen)["replay_endpoint"].text


def test_a_dry_run_compares_the_servers_selection_with_ours():
    with AdminServer("runbook", 6) as server:
        chosen = list(items(server).values())
        server.tasks["2"]["status"] = "replayed"
        (finding,) = hand(server).dry_run(chosen)
        assert finding.severity == "warning" and finding.facts == {
            "ours": 6, "server": 5, "asked": 2, "of": 2,
        }  # fmt: skip
        assert "such as 2" in finding.text
        assert all(body["dry_run"] is True for body in server.posts("/replay-bulk"))
        assert not server.executed


@pytest.mark.parametrize("missing", ["dry_run", "queue", "task_name", "max_tasks"])
def test_no_dry_run_without_its_whole_schema(missing):
    with AdminServer("runbook") as server:
        schema = document("runbook")
        schema["components"]["schemas"]["ReplayBulkRequest"]["properties"].pop(missing)
        server.openapi = schema
        assert hand(server).dry_run(list(items(server).values())) == []
        assert not server.posts("/replay-bulk") and not server.executed


def test_a_dry_run_that_was_none_blocks():
    with AdminServer("runbook", 2) as server:
        server.replays.append("dry_run_lies")
        (finding,) = hand(server).dry_run(list(items(server).values()))
    assert finding.blocks and "may have replayed" in finding.text


def test_everything_ends_in_one_sentence(recwarn):
    """Whatever the server says to anything: a DLQError or an answer, never another exception."""
    for habit in ("html", "no_json", "bare", "401", "422", "429:1", "503", "drop_before"):
        with AdminServer() as server:
            for path in ("/tasks", "/stats", "/alerts", "/tasks/1"):
                server.gets[path] = deque([habit] * 20)
            source = AdminSource(client(server, timeout=1.0))
            for ask in (
                lambda s=source: s.read(Selection(), ()),
                source.stats, source.alerts, lambda s=source: s.task("1"),
            ):  # fmt: skip
                began = time.monotonic()
                try:
                    ask()
                except DLQError as error:
                    assert "\n" not in str(error)
                assert time.monotonic() - began < 30
    assert when(True) is None and when(1e300) is None
