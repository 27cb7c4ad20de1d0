"""The hand of Redis lists: exactly the chosen elements move, once, as the bytes they are."""

import hashlib
import json
import re
import socket
import threading
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.sources import connect, connect_hand, connect_monitor
from dlqanalysis.sources.redis_list import moves
from dlqanalysis.sources.redis_list.ledger import hashes
from tests.hand_suite import NEEDED, Ground, check_hand, with_secret
from tests.lists import CORRUPT, UNREADABLE, Lists, counted, items, message

SINCE = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture
def lists(redis_url, key_prefix):
    one = Lists(redis_url, key_prefix)
    yield one
    one.redis.close()


@pytest.fixture
def hand(lists):
    with connect_hand(lists.url) as one:
        yield one


class ListGround(Ground):
    """Dead-letter lists as the suite of hands sees them."""

    nowhere = "list+redis://u:s3cret@127.0.0.1:1/0?keys=dlq:*"
    keeps = frozenset({"quarantine"})  # what is archived is in the run's snapshot

    def __init__(self, lists):
        self.lists = lists
        url, self.secret = with_secret(lists.url.removeprefix("list+"), "default")
        self.url = f"list+{url}"
        lists.fill(*(message(n) for n in range(NEEDED)))

    def dead(self):
        return {json.loads(raw)["id"]: raw for raw in self.lists.all()}

    def went(self):
        return Counter(json.loads(raw)["id"] for raw in self.lists.all(self.lists.main))

    def change(self, task_id):
        raw = self.dead()[task_id]
        place = self.lists.redis.lpos(self.lists.dlq, raw)
        self.lists.redis.lset(self.lists.dlq, place, raw.replace(b'"tags":[]', b'"tags":[1]'))

    def remove(self, task_id):
        self.lists.redis.lrem(self.lists.dlq, 0, self.dead()[task_id])

    def kept(self, row, dead):
        return row["raw"] == dead


def test_the_suite_of_hands(lists, tmp_path):
    check_hand(ListGround(lists), tmp_path)


def sent(hand, rows, action="replay", run_id="run-1", **more):
    return list(hand.send(action, items(rows, **more), run_id))


def states(receipts):
    return Counter(str(receipt.state) for receipt in receipts)


def test_the_oldest_of_the_chosen_is_taken_first_and_the_rest_keeps_its_order(lists, hand):
    lists.fill(*(message(n) for n in range(10)))
    failures = lists.load()
    receipts = sent(hand, failures[failures["task_id"].isin(["w-000002", "w-000007", "w-000008"])])
    assert {(r.state, r.detail) for r in receipts} == {(State.SENT, f"to {lists.main}")}
    assert lists.all(lists.main) == [message(n) for n in (2, 7, 8)]
    assert lists.all() == [message(n) for n in (0, 1, 3, 4, 5, 6, 9)]


def test_of_identical_messages_as_many_go_as_were_chosen(lists, hand):
    twin, other = message(1), message(2)
    lists.fill(twin, other, twin, twin, other, twin)
    failures = lists.load(columns=["raw"])
    twins = failures[failures["raw"] == twin].sort_values("failure_id")
    assert states(sent(hand, twins.iloc[[1, 2]])) == {"sent": 2}
    assert Counter(lists.all()) == {twin: 2, other: 2}
    left = lists.load(columns=["raw"])
    assert set(left["failure_id"]) == set(failures["failure_id"]) - set(twins["failure_id"][1:3])
    lists.fill(twin)  # it fails again: a new failure, not the old one
    new = set(lists.load()["failure_id"]) - set(failures["failure_id"])
    assert [one.split(":")[-1] for one in new] == ["5"]
    assert states(sent(hand, twins)) == {"sent": 4}  # two were done before, two go now
    assert Counter(lists.all(lists.main)) == {twin: 4} and lists.all().count(twin) == 1


def test_every_corrupt_message_can_be_set_aside_and_brought_back(lists, hand):
    lists.fill(*CORRUPT.values(), message(1))
    failures = lists.load(columns=["raw"])
    before = lists.redis.lrange(lists.dlq, 0, -1)
    bad = failures[failures["payload_state"].isin(["unreadable", "truncated"])]
    assert len(bad) == len(UNREADABLE)
    refused = sent(hand, bad)
    assert states(refused) == {"refused": len(bad)}
    assert "repair or quarantine it" in refused[0].detail
    assert states(sent(hand, bad, "quarantine")) == {"sent": len(bad)}
    assert Counter(lists.all(lists.quarantine)) == Counter(bad["raw"])
    assert Counter(lists.all()) == Counter(set(failures["raw"]) - set(bad["raw"]))
    aside = lists.redis.hgetall(f"dlqanalysis:list:{lists.quarantine}:quarantined")
    assert {one.decode() for one in aside} == set(bad["failure_id"])
    action, run, at, where, *_ = json.loads(next(iter(aside.values())))
    assert (action, run, where) == ("quarantine", "run-1", lists.quarantine)
    assert abs(at / 1000 - datetime.now(UTC).timestamp()) < 60
    assert states(sent(hand, bad, "restore", "run-2", undoes="run-0")) == {"skipped": len(bad)}
    assert states(sent(hand, bad, "restore", "run-2", undoes="run-1")) == {"sent": len(bad)}
    assert states(sent(hand, bad, "restore", "run-2", undoes="run-1")) == {"sent": len(bad)}
    assert Counter(lists.redis.lrange(lists.dlq, 0, -1)) == Counter(before)
    assert not lists.redis.exists(lists.quarantine)
    assert set(lists.load()["failure_id"]) == set(failures["failure_id"])


@pytest.mark.parametrize("action", ["archive", "purge"])
def test_removed_messages_stay_in_the_snapshot(lists, hand, action):
    lists.fill(*(message(n) for n in range(4)), CORRUPT["pickle"])
    failures = lists.load(columns=["raw"])
    kept = hand.snapshot(failures["failure_id"].tolist())
    assert kept["raw"].tolist() == failures["raw"].tolist()
    assert set(kept["list"]) == {lists.dlq}
    assert {receipt.detail for receipt in sent(hand, failures, action)} == {"removed"}
    assert not lists.redis.exists(lists.dlq, lists.main, lists.quarantine)
    gone = hand.snapshot(failures["failure_id"].tolist())
    assert gone["raw"].isna().all() and set(gone["list"]) == {""}
    back = sent(hand, failures, "restore", "run-2", undoes="run-1")
    assert states(back) == {"skipped": 5} and "only that run's snapshot has it" in back[0].detail


def test_an_undo_takes_back_what_nobody_took_and_nothing_else(lists, hand):
    live = [message(900 + n) for n in range(3)]
    lists.redis.lpush(lists.main, live[0], live[1])
    lists.fill(*(message(n) for n in range(6)))
    failures = lists.load()
    first, second = failures.iloc[:4], failures.iloc[4:]
    sent(hand, first, run_id="run-1")
    sent(hand, second, run_id="run-2")
    lists.redis.lpush(lists.main, live[2])
    taken = [
        lists.redis.rpop(lists.main) for _ in range(3)
    ]  # two of the live ones, and one of ours
    assert taken == [live[0], live[1], message(0)]
    assert hand.snapshot(first["failure_id"].tolist())["list"].tolist() == ["", *[lists.main] * 3]
    receipts = sent(hand, failures, "undo", "run-3", undoes="run-1")
    assert states(receipts) == {"sent": 3, "skipped": 3}
    assert "a consumer has taken it already" in receipts[0].detail
    assert "run run-1 did not replay it" in receipts[4].detail
    assert lists.all(lists.main) == [message(4), message(5), live[2]]
    assert sorted(lists.all()) == [message(n) for n in (1, 2, 3)]
    assert set(lists.load()["failure_id"]) == set(failures["failure_id"][1:4])
    settled = hand.settle(items(first, undoes="run-1"), "run-3")
    assert [r.state for r in settled] == [State.NOT_REACHED, *[State.SENT] * 3]
    again = sent(hand, first.iloc[1:], run_id="run-4")  # what was taken back can go again
    assert states(again) == {"sent": 3}
    late = sent(hand, first, "undo", "run-5", undoes="run-1")
    assert states(late) == {"skipped": 4}  # run-1 has nothing there any more


def test_a_repair_goes_instead_in_the_same_step_and_can_be_taken_back(lists, hand):
    lists.fill(CORRUPT["truncated"], message(1))
    failures = lists.load(columns=["raw"])
    [bad] = items(failures[failures["payload_state"] == "truncated"])
    good = b'{"id":"c1","type":"webhook","payload":{"a":1}}'
    [worse] = hand.send("replay", [replace(bad, payload=b"still {broken")], "run-0")
    assert worse.state == State.REFUSED and "its payload is unreadable" in worse.detail
    [receipt] = hand.send("replay", [replace(bad, payload=good)], "run-1")
    assert (receipt.state, receipt.detail) == (State.SENT, f"to {lists.main}, repaired")
    assert lists.all(lists.main) == [good] and lists.all() == [message(1)]
    [verdict] = hand.outcomes({bad.failure_id: "c1"}, SINCE)
    assert verdict.outcome == Outcome.PENDING
    [undone] = hand.send("undo", [replace(bad, undoes="run-1", payload=good)], "run-2")
    assert undone.state == State.SENT
    assert sorted(lists.all()) == sorted([CORRUPT["truncated"], message(1)])
    assert not lists.redis.exists(lists.main)


def test_outcomes_say_what_is_known_and_no_more(lists, hand):
    lists.fill(*(message(n) for n in range(6)), message(7), message(7))
    failures = lists.load()
    by_task = failures.groupby("task_id")["failure_id"].first().to_dict()
    chosen = failures[failures["failure_id"].isin(by_task.values())]
    sent(hand, chosen[chosen["task_id"] != "w-000005"])
    sent(hand, chosen[chosen["task_id"] == "w-000005"], "quarantine")
    taken = [lists.redis.rpop(lists.main) for _ in range(3)]
    lists.fill(taken[1])  # the same bytes are back
    lists.fill(message(2, retryCount=4))  # the same id is back, its time of failure is the old one
    ids = dict(zip(chosen["failure_id"], chosen["task_id"], strict=True)) | {
        "x:" + "0" * 40 + ":1": ""
    }
    found = {verdict.failure_id: verdict for verdict in hand.outcomes(ids, SINCE)}
    got = {task: found[failure_id].outcome for task, failure_id in by_task.items()}
    assert got == {
        "w-000000": Outcome.UNKNOWN,
        "w-000001": Outcome.FAILED_AGAIN,
        "w-000002": Outcome.FAILED_AGAIN,
        "w-000003": Outcome.PENDING,
        "w-000004": Outcome.PENDING,
        "w-000005": Outcome.SUCCEEDED,
        "w-000007": Outcome.PENDING,  # its twin never went: that is no return
    }
    assert "does not tell what became of it" in found[by_task["w-000000"]].detail
    assert "taken back (dlq.undo)" in found["x:" + "0" * 40 + ":1"].detail


def test_a_result_backend_tells_more(lists, redis_url, monkeypatch):
    monkeypatch.setenv("DLQ_HOOKS_URL", lists.url)
    monkeypatch.setenv("DLQ_HOOKS_RESULTS_URL", redis_url)
    good, bad = (f"{lists.prefix}{word}" for word in ("good", "bad"))
    lists.fill(message(1, id=good), message(2, id=bad))
    for task, state in ((good, "SUCCESS"), (bad, "FAILURE")):
        lists.redis.set(f"celery-task-meta-{task}", json.dumps({"status": state}))
    with connect_hand("hooks") as hand:
        failures = lists.load()
        sent(hand, failures)
        lists.redis.delete(lists.main)
        ids = dict(zip(failures["failure_id"], failures["task_id"], strict=True))
        assert [v.outcome for v in hand.outcomes(ids, SINCE)] == ["succeeded", "failed_again"]


def test_a_result_from_before_the_replay_is_no_outcome(lists, redis_url, monkeypatch):
    monkeypatch.setenv("DLQ_HOOKS_URL", lists.url)
    monkeypatch.setenv("DLQ_HOOKS_RESULTS_URL", redis_url)
    task = f"{lists.prefix}bad"
    lists.fill(message(1, id=task))
    for ended, outcome in (
        (datetime.now(UTC) - timedelta(hours=1), "unknown"),
        (datetime.now(UTC), "failed_again"),
    ):
        result = {"status": "FAILURE", "date_done": ended.isoformat()}
        lists.redis.set(f"celery-task-meta-{task}", json.dumps(result))
        with connect_hand("hooks") as hand:
            if outcome == "unknown":
                failures = lists.load()
                sent(hand, failures)
                lists.redis.delete(lists.main)  # a consumer has it
            [verdict] = hand.outcomes({failures["failure_id"].iloc[0]: task}, SINCE)
        assert verdict.outcome == outcome


def test_a_message_that_stays_is_no_return_of_one_with_its_id(lists, hand):
    """The newest of all goes as well, so that it cannot mark what was there before."""
    lists.fill(message(1), message(1, retryCount=4), message(2))
    failures = lists.load()
    chosen = failures.iloc[[0, 2]]
    sent(hand, chosen)
    ids = dict(zip(chosen["failure_id"], chosen["task_id"], strict=True))
    assert [v.outcome for v in hand.outcomes(ids, SINCE)] == [Outcome.PENDING] * 2
    lists.redis.delete(lists.main)
    assert [v.outcome for v in hand.outcomes(ids, SINCE)] == [Outcome.UNKNOWN] * 2
    lists.fill(message(2, retryCount=5))  # this one came back
    found = [v.outcome for v in hand.outcomes(ids, SINCE)]
    assert found == [Outcome.UNKNOWN, Outcome.FAILED_AGAIN]


def test_places_that_moved_are_found_again(lists, hand):
    lists.fill(*(message(n) for n in range(300)))
    failures = lists.load()
    some = failures.iloc[100:200]
    hand.snapshot(some["failure_id"].tolist())  # from now on it has places to begin with
    for _ in range(37):
        lists.redis.rpop(lists.dlq)
    lists.fill(message(400))
    assert states(sent(hand, some.iloc[:50])) == {"sent": 50}
    lists.redis.lrem(lists.dlq, 0, message(160))
    assert states(sent(hand, some.iloc[50:])) == {"sent": 49, "skipped": 1}
    assert lists.all(lists.main) == [message(n) for n in range(100, 200) if n != 160]
    assert len(lists.all()) == 300 - 37 + 1 - 100


def test_when_places_never_hold_the_bytes_are_searched(lists, hand, monkeypatch):
    """Between each look and the script somebody takes the oldest: in the end the list is searched."""
    lists.fill(*(message(n) for n in range(60)))
    failures = lists.load()
    step = moves._step

    def late(client, part, searching):
        lists.redis.rpop(lists.dlq)
        return step(client, part, searching)

    monkeypatch.setattr(moves, "_step", late)
    assert states(sent(hand, failures.iloc[40:43])) == {"sent": 3}
    assert lists.all(lists.main) == [message(n) for n in (40, 41, 42)]


def test_a_large_list_is_searched_once_a_step_not_once_an_element(key_prefix):
    raws = [message(n) for n in range(50_000)]
    with servers.valkey() as url:  # of its own: what it counts is ours
        lists = Lists(url, key_prefix)
        lists.fill_many(raws)
        some = lists.load().iloc[5_000::45]
        with connect_hand(lists.url) as hand, counted(lists) as commands:
            hand.snapshot(some["failure_id"].tolist())
            assert states(sent(hand, some)) == {"sent": len(some)} and len(some) == 1000
        assert lists.all(lists.main) == raws[5_000::45]
        lists.redis.close()
    assert commands["lrem"][0] == 10 and commands["lrange"][0] < 2 * 50_000 / 500


@contextmanager
def losing(url, word, times):
    """A way to Redis that breaks when the answer to a request with this word comes, so many times."""
    lost = []
    server = socket.create_server(("127.0.0.1", 0))
    target = urlsplit(url).hostname, urlsplit(url).port

    def serve(client):
        with client, socket.create_connection(target) as redis_:
            asked = threading.Event()

            def answers():
                while data := redis_.recv(2**16):
                    if asked.is_set() and len(lost) < times:
                        lost.append(1)
                        break
                    client.sendall(data)
                client.shutdown(socket.SHUT_RDWR)

            back = threading.Thread(target=answers, daemon=True)
            back.start()
            try:
                while data := client.recv(2**16):
                    if word in data:
                        asked.set()
                    redis_.sendall(data)
                redis_.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            back.join(5)

    def accept():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1], lost
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(("times", "state"), [(1, State.SENT), (2, State.UNCERTAIN)])
def test_a_lost_answer_is_settled_by_the_ledger(lists, times, state):
    lists.fill(message(1), message(2))
    failures = lists.load()
    place = urlsplit(lists.url.removeprefix("list+"))
    with losing(place.geturl(), b"EVAL", times) as (port, lost):
        url = place._replace(netloc=place.netloc.replace(f":{place.port}", f":{port}")).geturl()
        with connect_hand(f"list+{url}") as hand:
            receipts = sent(hand, failures)
            assert len(lost) == times
            assert {receipt.state for receipt in receipts} == {state}
    assert lists.all(lists.main) == [message(1), message(2)] and not lists.all()
    with connect_hand(lists.url) as hand:
        settled = list(hand.settle(items(failures), "run-1"))
        assert {receipt.state for receipt in settled} == {State.SENT}
        other = [replace(i, failure_id=f"{lists.dlq}:{'0' * 40}:1") for i in items(failures)[:1]]
        assert [r.state for r in hand.settle(other, "run-1")] == [State.NOT_REACHED]


def test_a_list_of_another_type_refuses_before_anything_moves(lists, hand):
    lists.fill(message(1))
    failures = lists.load()
    lists.redis.set(lists.main, "in the way")
    [receipt] = sent(hand, failures)
    assert receipt.state == State.REFUSED and f"{lists.main} is not of the type" in receipt.detail
    assert lists.all() == [message(1)]
    blocking = [f.text for f in hand.preflight(items(failures)) if f.blocks]
    assert blocking == [f"{lists.main} is a string, not a list. Check keys= and main= in the URL."]


def test_preflight_tells_depths_and_the_plan_must_agree_on_the_target(lists, hand):
    lists.fill(message(1), message(2))
    lists.redis.expire(lists.dlq, 3000)
    failures = lists.load()
    texts = " ".join(finding.text for finding in hand.preflight(items(failures)))
    assert f"{lists.dlq} has 2 dead letters; 0 messages wait in {lists.main}." in texts
    assert f"{lists.main} is empty" in texts and "Redis forgets" in texts
    assert not [f for f in hand.preflight(items(failures)) if f.blocks]
    with connect_hand(f"{lists.url}&main={lists.prefix}other") as other:
        [first, _] = sent(other, failures)
        assert (
            first.state == State.REFUSED and "give source and hand the same main=" in first.detail
        )
    assert len(lists.all()) == 2


def test_where_the_target_is_unknown_the_hand_says_what_to_write(lists):
    key = f"{lists.prefix}failed"
    lists.redis.lpush(key, message(1))
    url = lists.url.replace("dlq:*", "failed")
    failures = dlq.load(connect(url), since=None)
    with connect_hand(url) as hand:
        [receipt] = hand.send("replay", items(failures), "run-1")
        assert receipt.state == State.REFUSED and "add &main= to the URL" in receipt.detail
        assert [f for f in hand.preflight(items(failures)) if f.blocks]
        with pytest.raises(RunError, match="not pause"):
            list(hand.send("pause", items(failures), "run-1"))
    named = f"{url}&main={lists.prefix}in:%7Bname%7D"
    failures = dlq.load(connect(named), since=None)
    with connect_hand(named) as hand:
        assert [r.state for r in hand.send("replay", items(failures), "run-1")] == [State.SENT]
    assert lists.redis.lrange(f"{lists.prefix}in:failed", 0, -1) == [message(1)]


def test_a_full_server_refuses_and_nothing_is_lost(key_prefix):
    with servers.valkey() as url:  # of its own: its settings are changed
        lists = Lists(url, key_prefix)
        lists.fill(message(1))
        failures = lists.load()
        lists.redis.config_set("maxmemory", 1)
        with connect_hand(lists.url) as hand:
            [receipt] = sent(hand, failures)
            [full] = [f.text for f in hand.preflight(items(failures)) if f.name == "memory"]
            assert receipt.state == State.REFUSED and "not able to serve now" in receipt.detail
            assert "Make room first" in full
            assert lists.all() == [message(1)] and not lists.redis.exists(lists.main)
            lists.redis.config_set("maxmemory", 2**30)
            lists.redis.config_set("maxmemory-policy", "allkeys-lru")
            told = {f.name: f.severity for f in hand.preflight(items(failures))}
            assert told["eviction"] == "critical" and told["memory"] == "ok"
        lists.redis.close()


def test_a_hand_that_may_not_write_is_told_and_shows_no_password(lists, token):
    lists.fill(message(1))
    lists.redis.execute_command("ACL", "SETUSER", token, "on", ">secret-word", "~*", "+@all", "-@scripting")  # fmt: skip
    try:
        url = lists.url.replace("//", f"//{token}:secret-word@") if "@" not in lists.url else (
            f"list+redis://{token}:secret-word@{lists.url.rpartition('@')[2]}"
        )  # fmt: skip
        with connect_hand(url) as hand:
            [blocks] = [f for f in hand.preflight(items(lists.load())) if f.blocks]
            assert "grant it EVAL" in blocks.text
            [receipt] = sent(hand, lists.load())
        assert receipt.state == State.REFUSED and "may not do that" in receipt.detail
        assert "secret-word" not in f"{blocks} {receipt} {hand!r} {hand.address!r}"
        with pytest.raises(ConnectError, match="does not let us in") as caught:
            connect_hand(url.replace("secret-word", "wrong-word")).preflight([])
        assert "wrong-word" not in str(caught.value)
    finally:
        lists.redis.execute_command("ACL", "DELUSER", token)
    assert len(lists.all()) == 1


def test_the_ledger_is_outside_of_the_lists_and_ends(lists, hand):
    lists.fill(message(1))
    failures = lists.load()
    sent(hand, failures)
    name, before = hashes(lists.dlq.encode())
    field = f"{hashlib.sha1(message(1)).hexdigest()}:1".encode()
    assert name.startswith(b"dlqanalysis:list:") and set(lists.redis.hgetall(name)) == {field}
    assert 61 * 86400 < lists.redis.ttl(name) <= 62 * 86400
    assert hashes(b"x", 1767225600.0)[1].endswith(b"2025-12")
    lists.redis.rename(name, before)  # a month later
    assert states(sent(hand, failures, run_id="run-9")) == {"skipped": 1}


def test_the_permissions_that_the_documents_name_are_enough(lists, token):
    lists.fill(*(message(n) for n in range(20)), CORRUPT["nan"])
    page = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    page = page.partition("## Redis lists")[2].partition("\n## ")[0]
    granted = dict(re.findall(r"^\| (reader|operator) \| `([^`]+)`", page, re.M))
    place = urlsplit(lists.url.removeprefix("list+"))
    try:
        for who, rules in granted.items():
            rules = rules.replace("app:", lists.prefix).split()
            name = f"{token}-{who}"
            lists.redis.execute_command("ACL", "SETUSER", name, "on", ">pw", *rules)
            host = place.netloc.rpartition("@")[2]
            url = f"list+{place._replace(netloc=f'{name}:pw@{host}').geturl()}"
            if who == "reader":
                failures = dlq.load(connect(url), since=None)
                assert len(failures) == 21 and not any(
                    "ledger" in n for n in failures.attrs["notes"]
                )
                with closing(connect_monitor(url)) as monitor:
                    assert monitor.depths()["depth"].sum() == 21
                with connect_hand(url) as hand:
                    bad = failures["payload_state"] == "unreadable"
                    refused = sent(hand, failures[bad], "purge")
                assert states(refused) == {"refused": 1} and "may not do that" in refused[0].detail
                continue
            with connect_hand(url) as hand:
                assert not [f for f in hand.preflight(items(failures)) if f.blocks]
                bad = failures["payload_state"] == "unreadable"
                assert states(sent(hand, failures[bad], "quarantine")) == {"sent": 1}
                assert states(sent(hand, failures[~bad])) == {"sent": 20}
                ids = dict.fromkeys(failures["failure_id"], "")
                assert len(list(hand.outcomes(ids, SINCE))) == 21
                back = sent(hand, failures[~bad], "undo", "run-2", undoes="run-1")
                assert states(back) == {"sent": 20}
    finally:
        for who in granted:
            lists.redis.execute_command("ACL", "DELUSER", f"{token}-{who}")
    assert set(granted) == {"reader", "operator"}
