"""The priority queue's API against a real server on a socket: reads completely, retries once, believes no success."""

import json
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, DLQError, QueryError, RunError, SettingsError
from dlqanalysis.frame import content_hash
from dlqanalysis.journal import Journal
from dlqanalysis.model import Item, Outcome, State
from dlqanalysis.sources import connect, connect_hand, connect_monitor
from dlqanalysis.sources._priority import Entry
from dlqanalysis.sources.priority_api.client import open_client
from dlqanalysis.sources.priority_api.hand import PriorityApiHand
from dlqanalysis.sources.priority_api.listing import failure_id, task_of
from tests.hand_suite import NEEDED, Ground, check_hand
from tests.priority_server import PriorityServer, entry
from tests.small_server import SmallServer
from tests.source_suite import check_source
from tests.waiting import UNGATED


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


class Clock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def loaded(server, options="", **selection):
    return dlq.load(connect(server.url + options), **{"since": None, **selection})


def items(failures):
    return [
        Item(
            failure_id=row.failure_id,
            task_id=row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
        )
        for row in failures.itertuples()
    ]


def hand(server, clock=None, options="", **others):
    clock = clock or Clock()
    client, said = open_client(
        server.url + options, timeout=others.pop("timeout", 5), sleep=clock.sleep
    )
    return PriorityApiHand(client, said, sleep=clock.sleep, clock=clock, **others)


def sent(server, failures=None, run_id="run-1", **options):
    failures = loaded(server) if failures is None else failures
    acting = options.pop("hand", None) or hand(server, **options)
    return list(acting.send("replay", items(failures), run_id))


# ---- reading -----------------------------------------------------------------------------------


def test_the_suite():
    with PriorityServer(entries=9) as server:
        server.lists["low"] += ["no object", None, entry(20, failed_at="never", payload=5)]
        check_source(connect(server.url), server.state)


@pytest.mark.parametrize("wrap", ["items", "results", "data", "bare"])
def test_every_list_shape_gives_the_same_row(wrap):
    with PriorityServer(entries=1, wrap=wrap) as server:
        server.lists["low"] = [
            {
                "id": "x", "type": "send_email", "payload": {"big": 12345678901234567890.0, "a": []},
                "failed_at": "2026-11-20T10:00:00Z", "error": "boom", "retries": 5, "max_retries": 5,
                "idempotency_key": "k", "trace_id": "t",
            }
        ]  # fmt: skip
        row = loaded(server, queue="low").iloc[0]
    assert (row["task_id"], row["task_name"], row["queue"], row["priority"]) == (
        "x", "send_email", "low", "low",
    )  # fmt: skip
    assert row["kwargs"] == '{"big": 1.2345678901234567e+19, "a": []}'  # as the server wrote it
    assert (row["exception_message"], row["retries"], row["max_retries"]) == ("boom", 5, 5)
    assert (row["idempotency_key"], row["trace_id"]) == ("k", "t")
    assert row["failed_at"] == pd.Timestamp("2026-11-20T10:00:00Z")
    assert row["expires_at"] == row["failed_at"] + timedelta(days=7)
    assert row["payload_state"] == "complete"


@pytest.mark.parametrize(
    ("habits", "rows", "note"),
    [
        ({}, 1300, ""),
        ({"offset_first": True}, 1300, ""),
        ({"cap": 200, "offset_first": True}, 1300, ""),  # pages, since the server pages well
        ({"cap": 200}, 200, "counts 1,300 entries and shows 200 (it cuts its answers)"),
    ],
)
def test_a_list_comes_whole_whatever_the_server_does_with_offset(habits, rows, note):
    with PriorityServer(entries=0, **habits) as server:
        server.lists["normal"] = [entry(n) for n in range(1300, 0, -1)]
        failures = loaded(server)
        of_one = loaded(server, task="charge_customer")
    assert len(of_one) == rows // 2, "a search is over all entries, not over a first page"
    assert len(failures) == rows and failures["failure_id"].is_unique
    assert failures.attrs["truncated"] is (rows < 1300)
    assert note in " ".join(failures.attrs["notes"])


def test_entries_that_the_server_cannot_read_are_told():
    with PriorityServer(entries=3) as server:
        server.counts = {"high": 3, "normal": 1, "low": 1}
        notes = " ".join(loaded(server).attrs["notes"])
    assert (
        "high: the server counts 3 entries and shows 1 (it leaves out what it cannot read)" in notes
    )
    assert "priority+redis://" in notes


def test_a_server_that_cannot_list_names_the_other_road():
    with PriorityServer("published") as server:
        with pytest.raises(ConnectError, match=r"cannot list.*priority\+redis://") as caught:
            loaded(server)
        assert "coroutine" in str(caught.value)
        [lists] = [f for f in hand(server).preflight([Item(
            failure_id="high:a@b", task_id="a", task_name="t", queue="high", content_hash="", generation=1,
        )]) if f.name == "lists"]  # fmt: skip
    assert lists.blocks and "priority+redis://" in lists.text


def test_a_server_that_shows_nothing_is_not_believed():
    with PriorityServer("minimal", 5) as server:
        failures = loaded(server)
    assert len(failures) == 0 and "says so whatever there is" in " ".join(failures.attrs["notes"])


@pytest.mark.parametrize(
    ("hours", "options", "utc", "note"),
    [
        (2, "", "2026-11-10T10:01:00.25Z", "UTC+02:00 by its timestamp"),
        (-9.5, "", "2026-11-10T21:31:00.25Z", "UTC-09:30"),
        (0, "?tz=Europe/Berlin", "2026-11-10T11:01:00.25Z", ""),
        (30, "", "2026-11-10T12:01:00.25Z", "taken for UTC"),  # no clock is there
    ],
)
def test_naive_times_are_the_servers_and_a_note_says_which(hours, options, utc, note):
    with PriorityServer(entries=0, hours=hours) as server:
        server.lists["high"] = [entry(1, failed_at="2026-11-10T12:01:00.25")]
        failures = loaded(server, options)
    assert failures["failed_at"].iloc[0] == pd.Timestamp(utc)
    assert note in " ".join(failures.attrs["notes"])


def test_hostile_entries_stay_rows():
    odd = [
        "no object", 7, None, ["a"], {}, {"task_id": {"a": 1}}, {"task_id": "x\ud800\u0000", "payload": 5},
        entry(1), entry(1), entry(2, payload=None), entry(3, payload='{"a": 1}'), entry(4, failed_at="never"),
        entry(5, attempts=1e400, task_id="a" * 5000), entry(6, last_error={"code": 5}),
    ]  # fmt: skip
    with PriorityServer(entries=0) as server:
        server.lists["normal"] = odd
        failures = loaded(server, columns=["raw"])
    assert len(failures) == len(odd) and failures["failure_id"].is_unique
    assert failures["raw"].notna().all() and failures["failure_id"].str.len().max() < 700
    states = failures.set_index("failure_id")["payload_state"]
    assert (states == "unreadable").sum() == 5 and (states == "missing").sum() == 3
    assert failures.loc[failures["task_id"] == "task-3", "kwargs"].item() == '{"a": 1}'


def test_entries_whose_task_is_under_way_or_done_are_no_failures():
    with PriorityServer(entries=4) as server:
        server.tasks = {"task-1": "completed", "task-2": "pending", "task-3": "dead_lettered"}
        failures = loaded(server)
        everything = loaded(server, status=None)
    assert set(failures["task_id"]) == {"task-3", "task-4"} and len(everything) == 4
    assert "2 entries lie there although the task is completed, pending" in " ".join(
        failures.attrs["notes"]
    )


@pytest.mark.parametrize("habit", ["html", "no_json", "401", "403", "404"])
def test_what_is_no_list_is_told_in_a_sentence(habit):
    with PriorityServer() as server:
        server.gets["/high"] = deque([habit])
        with pytest.raises(DLQError) as caught:
            loaded(server)
    assert str(caught.value).endswith(".") and "/high" in str(caught.value)


def test_an_answer_that_is_too_big_is_refused(monkeypatch):
    monkeypatch.setattr("dlqanalysis.sources._http._MOST_BYTES", 2**20)
    with PriorityServer() as server:
        server.gets["/high"] = deque(["huge"])
        with pytest.raises(ConnectError, match="more than 1 MB"):
            loaded(server)


def test_the_token_goes_along_and_shows_nowhere(monkeypatch):
    monkeypatch.setenv("DLQ_PRIORITY_TOKEN", "s3cret-token")
    with PriorityServer() as server:
        server.token = "s3cret-token"
        source = connect(server.url)
        assert len(dlq.load(source, since=None)) == 4
        monkeypatch.setenv("DLQ_PRIORITY_TOKEN", "another-s3cret")
        with pytest.raises(ConnectError, match="DLQ_PRIORITY_TOKEN") as caught:
            loaded(server)
    assert "s3cret" not in str(caught.value) + repr(source) + source.name


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("priority+http://", "no host"),
        ("priority+http://u:s3cret@h:1", "holds more than a place"),
        ("priority+http://h:1?limit=5", "'limit' is no option"),
        ("priority+http://h:1?tz=Nowhere/X", "tz=Nowhere/X is no time zone"),
        ("priority+http://h:1?ttl=soon", "is not a duration"),
        ("priority+http://h:1?reset_attempts=maybe", "neither yes nor no"),
    ],
)
def test_a_wrong_url_is_told(url, told):
    with pytest.raises(SettingsError, match=told) as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)


def test_ids_lead_back_to_their_task():
    for task in ("a", "x/y@z:%", "ü ☃", "a#2"):
        one = Entry.of("low", json.dumps(entry(1, task_id=task)).encode())
        assert task_of(failure_id(one)) == ("low", task)
    with pytest.raises(QueryError, match="no failure of this queue"):
        task_of("urgent:a@b")


# ---- the suite of hands ------------------------------------------------------------------------


class PriorityApiGround(Ground):
    """The API and what lies behind it as the suite of hands sees them."""

    nowhere = "priority+http://127.0.0.1:1"
    without = frozenset({"quarantine", "archive", "purge", "undo", "restore"})
    silent = True  # a task that left its list shows nowhere

    def __init__(self, server):
        self.server, self.url = server, server.url
        server.token = self.secret

    def hand(self):
        client, said = open_client(self.url, self.secret, timeout=5)
        return PriorityApiHand(client, said, quiet=0.0)

    def dead(self):
        lists = self.server.lists.values()
        return {one["task_id"]: json.dumps(one) for rows in lists for one in rows}

    def went(self):
        return self.server.runs()

    def change(self, task_id):
        self.server.find(task_id)[1]["payload"] = {"user_id": -1}

    def remove(self, task_id):
        priority, one = self.server.find(task_id)
        self.server.lists[priority].remove(one)

    def kept(self, row, dead):
        return json.loads(row["raw"]) == json.loads(dead)


def test_the_suite_of_hands(monkeypatch, tmp_path):
    monkeypatch.setenv("DLQ_PRIORITY_TOKEN", Ground.secret)
    with PriorityServer(entries=NEEDED) as server:
        check_hand(PriorityApiGround(server), tmp_path)


# ---- retrying ----------------------------------------------------------------------------------


def test_each_is_retried_once_and_only_by_its_own_id():
    with PriorityServer(entries=6) as server:
        failures = loaded(server)
        chosen = failures.iloc[[0, 2, 4]]
        server.before_retry = lambda s: s.lists["high"].insert(0, entry(100 + len(s.executed)))
        receipts = sent(server, chosen)
        assert [r.state for r in receipts] == [State.SENT] * 3
        assert server.runs() == Counter(chosen["task_id"])
        assert server.posts() == [
            {"task_id": task, "reset_attempts": False} for task in chosen["task_id"]
        ]
        assert {path for verb, path, _, _ in server.requests if verb == "POST"} == {"/retry"}


def test_attempts_are_reset_only_when_asked():
    with PriorityServer(entries=1) as server:
        sent(server, options="?reset_attempts=yes")
        assert server.posts()[0]["reset_attempts"] is True


def test_success_that_changes_nothing_stops_the_run_at_its_first_item():
    with PriorityServer(entries=5) as server:
        server.retries = deque(["lie"] * 5)
        got = []
        with pytest.raises(RunError, match=r"retries nothing.*nothing changed.*priority\+redis://"):
            for receipt in hand(server).send("replay", items(loaded(server)), "run-1"):
                got.append(receipt)
        assert len(server.posts()) == 1
    assert [r.state for r in got] == [State.REFUSED] + [State.SKIPPED] * 4
    assert "re-queued for processing, and nothing changed" in got[0].detail


def test_a_run_on_such_a_server_ends_with_the_reason(tmp_path):
    with PriorityServer(entries=5) as server:
        server.retries = deque(["lie"] * 5)
        journal = Journal(f"sqlite:///{tmp_path}/j.sqlite")
        plan = dlq.plan(
            loaded(server), journal, reason="x", limit=5, classes=("transient", "unknown")
        )
        run = dlq.replay(
            plan,
            to=connect_hand(server.url),
            journal=journal,
            confirm=plan.id,
            stages=(2, None),
            **UNGATED,
        )
        assert len(server.posts()) == 1 and server.executed == []
    assert "retries nothing" in run.stopped
    assert run.items["state"].value_counts().to_dict() == {
        State.NOT_REACHED: 3, State.REFUSED: 1, State.SKIPPED: 1,
    }  # fmt: skip


def test_a_lie_after_a_proof_refuses_its_item_only():
    with PriorityServer(entries=3) as server:
        server.retries = deque(["", "lie", ""])
        assert [r.state for r in sent(server)] == [State.SENT, State.REFUSED, State.SENT]


def test_a_task_that_was_taken_out_and_lost_is_uncertain_and_in_the_snapshot():
    with PriorityServer(entries=2) as server:
        acting, failures = hand(server), loaded(server)
        kept = acting.snapshot(failures["failure_id"].tolist())
        server.retries = deque(["lose"])
        first, second = sent(server, failures, hand=acting)
        assert first.state == State.UNCERTAIN and "may be lost" in first.detail
        assert second.state == State.SENT
        lost = json.loads(kept["raw"].iloc[0])
        assert lost["payload"]["big"] == 9007199254740998
        [settled] = acting.settle(items(failures)[:1], "run-1")
        assert settled.state == State.UNCERTAIN and "snapshot has the entry" in settled.detail


@pytest.mark.parametrize(
    ("habit", "state", "told"),
    [
        ("500", State.REFUSED, "its entry is where it was"),
        ("404", State.REFUSED, "has expired"),
        ("429:900", State.NOT_REACHED, "come back in 900 s"),
        ("400", State.REFUSED, "habit 400"),
        ("html", State.REFUSED, "its entry is where it was"),
        ("drop_before", State.UNCERTAIN, "asked, not answered"),
        ("drop_after", State.UNCERTAIN, "asked, not answered"),
        ("fails_again_then_500", State.SENT, "failed again already"),
        ("504", State.UNCERTAIN, "may still go"),
        ("408", State.UNCERTAIN, "may still go"),
    ],
)
def test_each_answer_is_judged_by_what_the_lists_show(habit, state, told):
    with PriorityServer(entries=1) as server:
        server.retries = deque([habit])
        [receipt] = sent(server)
        assert len(server.posts()) == 1
    assert receipt.state == state and told in receipt.detail


@pytest.mark.parametrize("habit", ["404", "403", "400"])
@pytest.mark.parametrize("listed", [True, False])
def test_what_somebody_else_retries_while_we_are_turned_down_is_not_ours(habit, listed):
    def colleague(server):
        priority, one = server.find("task-1")
        server.tasks["task-1"] = "processing"
        if not listed:
            server.lists[priority] = [{**one, "failed_at": "2026-11-20T10:00:00"}]

    with PriorityServer(entries=1) as server:
        server.retries, server.before_retry = deque([habit]), colleague
        [receipt] = sent(server)
    assert receipt.state == State.SKIPPED and not receipt.sent_id, receipt
    assert "somebody else retried it meanwhile" in receipt.detail


def test_too_many_requests_are_waited_for_and_looked_at_again():
    with PriorityServer(entries=1) as server:
        server.retries = deque(["429:7", "429:7"])
        clock = Clock()
        assert sent(server, clock=clock)[0].state == State.SENT
        assert clock.slept == [7, 7] and server.runs() == {"task-1": 1}


def test_a_slow_answer_is_uncertain_then_settled_by_state():
    with PriorityServer(entries=1, slow=3) as server:
        server.retries = deque(["slow_after"])
        acting, failures = hand(server, timeout=1), loaded(server)
        [receipt] = sent(server, failures, hand=acting)
        assert receipt.state == State.UNCERTAIN and server.runs() == {"task-1": 1}
        [settled] = acting.settle(items(failures), "run-1")
        assert settled.state == State.UNCERTAIN  # gone, and this API does not show where it went
        server.lists["normal"].insert(0, entry(1, failed_at="2026-11-20T00:00:00"))
        [settled] = acting.settle(items(failures), "run-1")
        assert settled.state == State.SENT and "failed again" in settled.detail


def test_what_never_happened_is_settled_only_after_a_while():
    with PriorityServer(entries=1) as server:
        server.retries = deque(["drop_before"])
        clock = Clock()
        acting, failures = hand(server, clock), loaded(server)
        sent(server, failures, hand=acting)
        [early] = acting.settle(items(failures), "run-1")
        assert early.state == State.UNCERTAIN and "settle again in 60 s" in early.detail
        clock.now += 61
        [late] = acting.settle(items(failures), "run-1")
        assert late.state == State.NOT_REACHED


def test_what_is_no_longer_as_planned_is_not_tried():
    with PriorityServer(entries=4) as server:
        failures = loaded(server)
        server.lists["normal"][0]["payload"] = {"user_id": 666}  # task-4, and task-1 stays
        server.lists["low"].clear()  # task-2
        server.tasks["task-3"] = "processing"
        server.lists["normal"].append(entry(1, failed_at="2026-11-01T00:00:00"))
        got = {r.failure_id: r for r in sent(server, failures)}
        details = {key.partition("@")[0].partition(":")[2]: r.detail for key, r in got.items()}
        assert {r.state for r in got.values()} == {State.SKIPPED} and server.posts() == []
    assert "content changed" in details["task-4"] and "entry is gone" in details["task-2"]
    assert "task is processing" in details["task-3"]
    assert "2 entries are of this task" in details["task-1"]


def test_a_task_listed_on_though_it_runs_counts_as_sent():
    def mark(server):
        server.tasks["task-1"] = "pending"

    with PriorityServer(entries=1) as server:
        server.retries, server.before_retry = deque(["lie"]), mark
        [receipt] = sent(server)
    assert receipt.state == State.SENT and "task is pending" in receipt.detail


def test_the_lists_are_enough_where_one_task_is_not_shown():
    with PriorityServer(entries=3, shows_task=False) as server:
        assert {r.state for r in sent(server)} == {State.SENT}
        assert sum(server.runs().values()) == 3


def test_outcomes_know_what_came_back_and_claim_no_success():
    with PriorityServer(entries=2) as server:
        failures = loaded(server)
        sent(server, failures)
        server.lists["normal"].insert(0, entry(1, failed_at="2026-11-20T00:00:00", last_error="no"))
        tasks = dict(zip(failures["failure_id"], failures["task_id"], strict=True))
        now = datetime.now(UTC)
        found = {v.failure_id: v for v in hand(server).outcomes(tasks, now)}
        later = {
            v.failure_id: v.outcome for v in hand(server).outcomes(tasks, now - timedelta(hours=1))
        }
    one, two = tasks
    assert found[one].outcome == Outcome.FAILED_AGAIN and found[one].exception_message == "no"
    assert found[two].outcome == Outcome.PENDING and later[two] == Outcome.UNKNOWN


@pytest.mark.parametrize("options", ["?tz=Europe/Berlin", ""])
def test_a_failure_in_the_hour_that_is_repeated_is_a_new_one(options):
    """The clock was set back between both: 02:10 came after 02:50. Without a zone it is the server's clock of now."""
    with PriorityServer(entries=0, hours=1) as server:
        server.lists["high"] = [entry(1, failed_at="2026-10-25T02:50:00")]
        failures = loaded(server)
        server.lists["high"] = [entry(1, failed_at="2026-10-25T02:10:00", last_error="again")]
        tasks = dict(zip(failures["failure_id"], failures["task_id"], strict=True))
        since = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)
        [back] = hand(server, options=options).outcomes(tasks, since)
        [old] = hand(server, options=options).outcomes(tasks, since + timedelta(minutes=10))
    assert (back.outcome, back.exception_message) == (Outcome.FAILED_AGAIN, "again")
    assert old.outcome == Outcome.UNKNOWN  # another entry of the task, from before the run


def test_half_a_character_in_an_id_ends_no_run():
    with PriorityServer(entries=3) as server:
        server.lists["high"][0]["task_id"] = "task-\ud800"
        assert {receipt.state for receipt in sent(server)} == {State.SENT}
    assert "task-\ud800" in server.executed


@pytest.mark.parametrize("place", ["task_id", "failed_at", "attempts", "payload"])
def test_a_number_that_python_does_not_read_hides_no_other_entry(place):
    text = json.dumps([entry(3, **{place: "HERE"}), entry(6)]).replace('"HERE"', "9" * 5_000)

    def reply(verb, path, query, body):
        if path.endswith("/stats"):
            return 200, {"queues": {}}
        return 200, text.encode() if path.endswith("/high") else []

    with SmallServer(reply) as server:
        failures = dlq.load(connect(f"priority+http://{server.place}"), since=None)
    assert len(failures) == 2 and "task-6" in failures["task_id"].tolist()


@pytest.mark.parametrize("number", [10**400, 2**63, -1, True, "three", None])
def test_a_count_that_counts_nothing_is_no_count(number):
    with PriorityServer(entries=4) as server:
        server.counts = {"high": number, "normal": 2, "low": 1}
        assert connect_monitor(server.url).depths()["depth"].isna().tolist() == [True, False, False]
        assert len(loaded(server)) == 4


def test_a_search_in_the_error_is_a_filter_that_a_plan_takes():
    with PriorityServer(entries=6) as server:
        server.lists["high"][0]["last_error"] = "HTTP 503 from billing"
        failures = loaded(server)
    hit = failures[failures["exception_message"].str.contains(r"\b50\d\b.*billing")]
    plan = dlq.plan(hit, reason="billing is back", limit=10)
    assert plan.chosen["task_id"].tolist() == ["task-6"]


def test_preflight_says_what_this_api_loses():
    with PriorityServer(entries=60) as server:
        found = {f.name: f for f in hand(server).preflight(items(loaded(server)))}
    assert found["health"].severity == "warning" and "accumulating" in found["health"].text
    assert "40 items are of priority high or low" in found["priority"].text
    assert "60 items failed more than 7 days ago" in found["expired"].text
    assert not any(f.blocks for f in found.values())


def test_the_monitor_tells_depths_and_health():
    with PriorityServer(entries=4) as server:
        monitor = connect_monitor(server.url)
        depths = monitor.depths().set_index("queue")["depth"].to_dict()
        assert depths == {"high": 1, "normal": 2, "low": 1}
        assert monitor.health()[0].severity == "ok"
        for nothing in (monitor.workers(), monitor.running()):
            assert len(nothing) == 0 and nothing.attrs["notes"]
