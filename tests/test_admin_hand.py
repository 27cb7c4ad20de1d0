"""The admin API's hand against a real server on a socket: replays once, believes no bare success."""

import json
from collections import Counter, deque

import pytest

from dlqanalysis.journal import Journal
from dlqanalysis.loading import load
from dlqanalysis.model import State
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.replay import replay as run_plan
from dlqanalysis.replay import resume as go_on
from dlqanalysis.sources.admin_api.evidence import happened, leaves_open
from tests.admin_server import TOKEN, AdminServer, task
from tests.admin_ways import DIALECTS, Clock, hand, items, replay
from tests.hand_suite import NEEDED, Ground, check_hand


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


class AdminGround(Ground):
    """The admin API and its table as the suite of hands sees them."""

    nowhere = "admin+http://127.0.0.1:1/api/v1/admin/dlq"
    secret = TOKEN
    without = frozenset({"quarantine", "purge", "undo", "restore"})
    shared = frozenset({"archive"})  # the API says yes to a row that is archived already

    def __init__(self, server):
        self.server, self.url = server, server.url

    def hand(self):
        return hand(self.server, quiet=0.0)

    def dead(self):
        rows = self.server.tasks.values()
        return {row["task_id"]: json.dumps(row) for row in rows if row["status"] == "failed"}

    def went(self):
        return Counter(f"celery-{number}" for number in self.server.executed)

    def change(self, task_id):
        self.server.tasks[task_id.removeprefix("celery-")]["kwargs"] = {"property_id": -1}

    def remove(self, task_id):
        del self.server.tasks[task_id.removeprefix("celery-")]

    def kept(self, row, dead):
        return json.loads(row["raw"]).items() <= json.loads(dead).items()


def test_the_suite_of_hands(monkeypatch, tmp_path):
    monkeypatch.setenv("DLQ_ADMIN_TOKEN", TOKEN)
    with AdminServer(tasks=NEEDED) as server:
        check_hand(AdminGround(server), tmp_path)


# ---- replaying ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("openapi", [True, False])
def test_each_item_is_replayed_once_by_its_number(dialect, openapi):
    with AdminServer(dialect, openapi=openapi) as server:
        receipts, acting = replay(server, "3", "1")
        assert [(r.failure_id, r.state) for r in receipts] == [("3", State.SENT), ("1", State.SENT)]
        assert server.executed == ["3", "1"]
        assert [r.sent_id for r in receipts] == [
            server.tasks[i]["replayed_task_id"] for i in ("3", "1")
        ]
        assert server.posts()[-1] == {server.names["id"]: 1}  # never force, nothing unknown
        assert not server.posts("/replay-bulk")
        asked = zip(server.requests, server.headers, strict=True)
        sent = [headers for (verb, *_), headers in asked if verb == "POST"]
        assert sent[-1]["X-Request-ID"] == "run-1/1" and "Idempotency-Key" not in sent[-1]
        again = list(acting.send("replay", list(items(server).values()), "run-2"))
        assert server.executed == ["3", "1", "2", "4"][: len(server.executed)]
    states = {r.failure_id: r.state for r in again}
    assert states["3"] == states["1"] == State.SKIPPED and states["2"] == State.SENT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "replayed"}, "somebody has replayed it meanwhile"),
        ({"status": "replaying"}, "somebody replays it now"),
        ({"status": "pending_replay"}, "pending_replay"),
        ({"status": "archived"}, "put away"),
        ({"status": "mystery"}, "'mystery'"),
        ({"args": [8]}, "content has changed"),
        ({"kwargs": {"property_id": 9}}, "content has changed"),
        ({"task_id": "celery-x"}, "content has changed"),
        ({"queue_name": "other"}, "content has changed"),
        ({"id": 77}, "another row (77)"),
        (None, "gone"),
    ],
)
def test_what_changed_since_the_plan_is_skipped(changes, words):
    with AdminServer() as server:
        chosen = items(server)["2"]
        if changes is None:
            del server.tasks["2"]
        else:
            server.tasks["2"].update(changes)
        (receipt,) = hand(server).send("replay", [chosen], "r")
        assert not server.posts() and not server.executed
    assert receipt.state == State.SKIPPED and words in receipt.detail


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (float("nan"), State.SKIPPED),
        (float("inf"), State.SKIPPED),
        ("x" * 100_000, State.NOT_REACHED),
    ],
)
def test_an_id_that_cannot_be_sent_ends_no_run(number, state):
    with AdminServer(tasks=1) as server:
        server.tasks[str(number)] = task(7, id=number)
        del server.tasks["1"]
        receipts, _ = replay(server)
        assert [receipt.state for receipt in receipts] == [state] and not server.posts()


@pytest.mark.parametrize("habit", ["500", "401", "html", "422", "slow"])
def test_what_cannot_be_looked_at_is_not_sent(habit):
    with AdminServer(slow=2) as server:
        chosen = items(server)["2"]
        server.gets["/tasks/2"] = deque([habit] * 9)
        (receipt,) = hand(server, timeout=1 if habit == "slow" else 60).send(
            "replay", [chosen], "r"
        )
        assert receipt.state == State.NOT_REACHED and not server.posts()


@pytest.mark.parametrize(
    ("habit", "state", "words"),
    [
        ("registry", State.REFUSED, "not found in Celery registry"),
        ("broken_commit", State.UNCERTAIN, "may have been published"),
        ("lie", State.UNCERTAIN, "its row has not moved"),
        ("bare", State.UNCERTAIN, "its row has not moved"),
        ("html", State.UNCERTAIN, "no answer of this API"),
        ("no_json", State.UNCERTAIN, "no answer of this API"),
        ("400", State.REFUSED, "habit 400"),
        ("401", State.REFUSED, "habit 401"),
        ("403", State.REFUSED, "habit 403"),
        ("404", State.REFUSED, "habit 404"),
        ("422", State.REFUSED, "habit 422"),
        ("408", State.UNCERTAIN, "408"),
        ("503", State.UNCERTAIN, "503"),
        ("500_after", State.UNCERTAIN, "500"),
        ("somebody_first", State.SKIPPED, "somebody replayed it at this moment"),
        ("drop_before", State.UNCERTAIN, "not answered"),
        ("drop_after", State.UNCERTAIN, "not answered"),
        ("slow_after", State.UNCERTAIN, "did not answer within 1 s"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_answer_has_its_receipt_and_nothing_is_sent_twice(habit, state, words, dialect):
    with AdminServer(dialect, slow=2) as server:
        server.replays.append(habit)
        (receipt,), _ = replay(server, "2", timeout=1 if habit == "slow_after" else 60)
        assert len(server.posts()) == 1 and len(server.executed) <= 1
    assert receipt.state == state and words in receipt.detail
    assert TOKEN not in receipt.detail and len(receipt.detail) < 500


def test_too_many_requests_waits_as_told_and_looks_again():
    clock = Clock()
    with AdminServer() as server:
        server.replays.extend(["429:7", "429:3"])
        (receipt,), _ = replay(server, "2", clock=clock)
        assert server.executed == ["2"] and len(server.posts()) == 3
        looks = sum(path == "/tasks/2" for _, path, _, _ in server.requests)
    assert receipt.state == State.SENT and clock.slept == [7.0, 3.0] and looks == 4


def test_too_many_requests_has_an_end():
    clock = Clock()
    with AdminServer() as server:
        server.replays.extend(["429:1"] * 9)
        (receipt, later), _ = replay(server, "2", "3", clock=clock)
        assert receipt.state == later.state == State.NOT_REACHED  # a resume may send them
        assert len(server.posts()) == 3  # and nobody asks for the second one meanwhile
        server.replays.clear()
        server.replays.append("429:3600")
        (receipt,), _ = replay(server, "2", clock=clock)
        assert "come back in 3600 s" in receipt.detail and not server.executed
    assert clock.slept == [1.0, 1.0]


def test_somebody_replays_while_we_wait():
    clock = Clock()
    with AdminServer() as server:
        server.replays.append("429:5")

        def meanwhile(seconds):
            server.tasks["2"]["status"] = "replayed"

        clock.sleep = meanwhile
        (receipt,), _ = replay(server, "2", clock=clock)
        assert len(server.posts()) == 1 and not server.executed
    assert receipt.state == State.SKIPPED


def test_three_silences_in_a_row_end_a_batch():
    with AdminServer(tasks=6) as server:
        server.replays.extend(["drop_after"] * 6)
        receipts, _ = replay(server)
        assert len(server.executed) == 3
    assert [r.state for r in receipts] == [State.UNCERTAIN] * 3 + [State.NOT_REACHED] * 3


# ---- settling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True], ids=["same hand", "after a crash"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_replay_whose_answer_was_lost_ran_once_and_is_settled_as_sent(fresh, dialect):
    with AdminServer(dialect, shows_new_id=True) as server:
        chosen = items(server)["3"]
        server.replays.append("drop_after")
        (receipt,), acting = replay(server, "3")
        assert receipt.state == State.UNCERTAIN
        acting = hand(server) if fresh else acting
        (settled,) = acting.settle([chosen], "run-1")
        (again,) = acting.send("replay", [chosen], "run-2")  # even a second run sends nothing
        assert server.executed == ["3"] and len(server.posts()) == 1
        assert settled.state == State.SENT and "replay_count 1" in settled.detail
        assert settled.sent_id == server.tasks["3"]["replayed_task_id"]
    assert again.state == State.SKIPPED


def test_it_did_not_happen_is_said_only_after_a_while():
    clock = Clock()
    with AdminServer() as server:
        chosen = items(server)["3"]
        server.replays.append("drop_before")
        _, acting = replay(server, "3", clock=clock)
        (soon,) = acting.settle([chosen], "run-1")
        clock.now += 61
        (late,) = acting.settle([chosen], "run-1")
        (sent,) = acting.send("replay", [chosen], "run-1")
        assert server.executed == ["3"]
    assert soon.state == State.UNCERTAIN and "settle again in 60 s" in soon.detail
    assert late.state == State.NOT_REACHED and sent.state == State.SENT


def test_a_fresh_hand_waits_too_before_it_says_no():
    clock = Clock()
    with AdminServer() as server:
        chosen = list(items(server).values())
        acting = hand(server, clock=clock)
        assert {r.state for r in acting.settle(chosen, "r")} == {State.UNCERTAIN}
        clock.now += 60
        assert {r.state for r in acting.settle(chosen, "r")} == {State.NOT_REACHED}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_run_with_lost_answers_executes_everything_once(dialect, monkeypatch, tmp_path):
    clock, said = Clock(), []
    monkeypatch.setenv("DLQ_ADMIN_TOKEN", TOKEN)
    with AdminServer(dialect, tasks=9) as server:
        failures = load(server.url, since=None, queue="memos")
        journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
        plan = make_plan(failures, journal, reason="INC-7: the provider is back", ungraded=None)
        assert set(plan.chosen["failure_id"]) == {"1", "3", "5", "7", "9"}
        server.tasks["9"]["status"] = "replayed"  # somebody was quicker
        server.replays.extend(["", "drop_after", "drop_before"])
        options = {"stages": (3, None), "gate": None, "rate": None, "progress": said.append}
        acting = hand(server, clock=clock)
        first = run_plan(plan, to=acting, journal=journal, confirm=plan.id, **options)
        clock.now += 60
        last = go_on(
            first.run_id, to=acting, journal=journal, confirm=plan.id, progress=said.append
        )
        assert sorted(server.executed) == ["1", "3", "5", "7"]
    states = dict(zip(first.receipts["failure_id"], first.receipts["state"], strict=True))
    assert list(states.values()).count("uncertain") == 2
    states = dict(zip(last.receipts["failure_id"], last.receipts["state"], strict=True))
    assert states == {"1": "sent", "3": "sent", "5": "sent", "7": "sent", "9": "skipped"}


def test_settling_says_cannot_tell_when_the_server_does_not_tell():
    clock = Clock()
    with AdminServer(shows_count=False) as server:
        chosen = items(server)["3"]
        acting = hand(server, clock=clock)
        clock.now += 99
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "no replay_count" in receipt.detail
        server.tasks["3"]["status"] = "replayed"
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.SENT
        del server.tasks["3"]
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "gone" in receipt.detail
        server.gets["/tasks/3"] = deque(["500"] * 9)
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "could not be looked at" in receipt.detail


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"replay_count": 0}, {"status": "replayed", "replay_count": 1}, True),
        (None, {"status": "replayed", "replay_count": 1}, True),
        (None, {"status": "REPLAYED"}, True),
        ({"replay_count": 1}, {"status": "replayed", "replay_count": 1}, None),
        ({"replay_count": 2}, {"status": "failed", "replay_count": 2}, False),
        (None, {"status": "failed", "replay_count": 0}, False),
        (None, {"status": "failed", "replay_count": 2}, None),
        ({"replay_count": 0}, {"status": "failed", "replay_count": 1}, None),
        ({"replay_count": 0}, {"status": "replaying", "replay_count": 1}, None),
        ({}, {"status": "failed"}, None),
        (None, {"status": "archived", "replay_count": 0}, None),
        (None, None, None),
    ],
)
def test_what_a_row_proves(before, after, expected):
    did, evidence = happened(before, after)
    assert did is expected and evidence


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Task api.x not found in Celery registry", False),
        ("[Errno 111] Connection refused", False),
        ("Object of type UUID is not JSON serializable", False),
        ("(psycopg2.OperationalError) SSL SYSCALL error", True),
        ("could not serialize access due to concurrent update", True),
        ("[Errno 104] Connection reset by peer", True),
        ("timed out", True),
        ("Server unexpectedly closed connection", True),
        ("This Session's transaction has been rolled back", True),
    ],
)
def test_which_failures_leave_open_whether_it_was_published(words, expected):
    assert leaves_open(words) is expected
