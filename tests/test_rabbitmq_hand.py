"""The hand of dead-letter queues on a real RabbitMQ: exactly the selection, once, whatever dies meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pika
import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis.errors import RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.plan import _hashes
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources._results import Results
from dlqanalysis.sources.rabbitmq import open_hand, open_source
from tests.hand_suite import NEEDED, Ground, check_hand
from tests.rabbit import body, headers, rabbit, url_of

pytestmark = pytest.mark.rabbitmq
ROOT = Path(__file__).parents[1]


def load(made, **asked):
    return dlq.load(open_source(url_of(made.url, made.dlq)), **{"since": "1h", **asked})


def chosen(failures, **options):
    return make_plan(
        failures, **{"reason": "test", "classes": ("unknown",), "ungraded": None, **options}
    )


def items(failures, **options):
    return list(chosen(failures, **options).items())


def numbers(taken):
    return [json.loads(content)[0][0] for _, content in taken]


def run(plan, hand, journal, **options):
    return dlq.replay(plan, to=hand, journal=journal, confirm=plan.confirmation, **{"gate": None, "rate": None, "progress": lambda _: None, **options})  # fmt: skip


class RabbitGround(Ground):
    """A work queue and its dead-letter queue as the suite of hands sees them."""

    nowhere = "amqp://u:s3cret@127.0.0.1:1/?queue=memos.dlq"
    without = frozenset({"archive", "undo"})

    def __init__(self, made):
        self.made, self.url = made, url_of(made.url, made.dlq)
        parts = urlsplit(made.url)
        if parts.password != parts.username:  # guest:guest is no secret
            self.secret = unquote(parts.password)
        made.fill(NEEDED)

    def look(self, queue):
        """Its messages, each (tag, properties, body), held until the channel that comes along is closed."""
        channel, found = self.made.connection.channel(), []
        while (got := channel.basic_get(queue))[0] is not None:
            found.append((got[0].delivery_tag, *got[1:]))
        return channel, found

    def dead(self):
        channel, found = self.look(self.made.dlq)
        channel.close()
        return {p.headers["id"]: (content, vars(p)) for _, p, content in found}

    def went(self):
        channel, found = self.look(self.made.work)
        channel.close()
        return Counter(p.headers["dlqanalysis_replay_of"] for _, p, _ in found)

    def change(self, task_id):
        self.remove(task_id, b"[[-1], ")  # not 0: `fill` gives the first of its messages that

    def remove(self, task_id, instead=b""):
        channel, found = self.look(self.made.dlq)
        [(tag, properties, content)] = [one for one in found if one[1].headers["id"] == task_id]
        if instead:
            changed = instead + content.partition(b"], ")[2]
            channel.basic_publish("", self.made.dlq, changed, properties)
        channel.basic_ack(tag)
        channel.close()

    def kept(self, row, dead):
        return row["body"] == dead[0]


def test_the_suite_of_hands(classic, tmp_path, monkeypatch):
    from dlqanalysis.sources.rabbitmq import hand as module

    monkeypatch.setattr(module, "_GRACE", 0.1)  # nobody was killed: nothing is on its way back
    check_hand(RabbitGround(classic), tmp_path)


def test_a_selection_goes_and_the_rest_stays_while_producers_run(dead, journal):
    ids = dead.fill(120)
    failures = load(dead)
    stop = threading.Event()

    def produce():
        with rabbit(dead.url, dead.work, dead.kind) as other:
            number = 1000
            while not stop.is_set():
                other.channel.basic_publish(
                    "", other.dlq, body([number]), pika.BasicProperties(headers=headers())
                )
                number += 1

    wanted = failures[failures["args"].str.strip("[]").astype(int) % 3 == 0]
    producer = threading.Thread(target=produce)
    producer.start()
    try:
        with open_hand(url_of(dead.url, dead.dlq)) as hand:
            done = run(chosen(wanted), hand, journal, stages=(10, None))
    finally:
        stop.set()
        producer.join()
    assert done.summary["sent"].item() == 40
    replayed = dead.take(dead.work)
    assert sorted(numbers(replayed)) == list(range(0, 120, 3))
    left = numbers(dead.take(dead.dlq))
    old = [n for n in left if n < 1000]
    assert sorted(old) == [n for n in range(120) if n % 3]
    assert len(set(left)) == len(left)
    assert not {p.headers["id"] for p, _ in replayed} & set(ids)


def test_the_rest_keeps_its_order_and_the_queue_is_given_back(dead, journal):
    dead.fill(60)
    failures = load(dead)
    with open_hand(url_of(dead.url, dead.dlq, "&delivery_limit=none")) as hand:
        done = run(chosen(failures[failures["args"].isin(["[5]", "[50]"])]), hand, journal)
    assert done.finished
    dead.until(dead.dlq, 58)
    assert numbers(dead.take(dead.dlq)) == [n for n in range(60) if n not in (5, 50)]


def test_a_replayed_message_is_the_old_one_but_for_what_must_change(classic, queue_name):
    user, elsewhere = unquote(urlsplit(classic.url).username), queue_name("elsewhere")
    content = b'[[1.50],{"x":1e400, "s": "\\ud800"},{"callbacks":null,"errbacks":null,"chain":[{"task":"b"}],"chord":null}]'
    told = headers(
        task_id="t-1", eta="2020-01-01T00:00:00", expires="2020-01-01T00:00:00", timelimit=[None, 300],
        root_id="r", parent_id="p", **{"x-tenant": "acme", "CC": [elsewhere]},
    )  # fmt: skip
    classic.channel.queue_declare(elsewhere)
    classic.publish(
        content, headers=told, correlation_id="t-1", reply_to="me", priority=4, app_id="shop",
        user_id=user, expiration="100000",
    )  # fmt: skip
    classic.take(elsewhere)
    classic.reject(1)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [item] = items(load(classic))
        [kept] = hand.snapshot([item.failure_id]).to_dict("records")
        [receipt] = hand.send("replay", [item], "run-1")
        assert receipt.state == State.SENT, receipt.detail
        [again] = hand.send("replay", [item], "run-2")
        assert (again.state, again.detail) == (
            State.SKIPPED,
            "it is no longer in the dead-letter queue",
        )
    [(properties, sent)] = classic.take(classic.work)
    assert sent == content == kept["body"]
    assert (properties.correlation_id, properties.headers["id"]) == (receipt.sent_id,) * 2
    assert (properties.reply_to, properties.priority, properties.app_id, properties.delivery_mode) == (
        "me", 4, "shop", 2,
    )  # fmt: skip
    assert (properties.expiration, properties.user_id) == (None, None)
    new = properties.headers
    assert (new["retries"], new["eta"], new["expires"]) == (0, None, None)
    assert (new["root_id"], new["parent_id"], new["timelimit"]) == ("r", "p", [None, 300])
    assert (new["x-tenant"], new["dlqanalysis_replay_of"], new["dlqanalysis_run"]) == (
        "acme", "t-1", "run-1",
    )  # fmt: skip
    assert new["dlqanalysis_generation"] == 1
    assert not [name for name in new if name.startswith("x-") and name != "x-tenant"]
    assert classic.take(elsewhere) == []
    restored = Properties.parse(kept["properties"])  # what the snapshot keeps is all of it
    assert restored.header("x-first-death-queue") == classic.work
    assert restored.field("user_id") == user
    assert json.loads(kept["shown"])["headers"]["x-tenant"] == "acme"


ODD = [
    (headers(task_id="g-1", group="g"), body([1]), "g-1"),
    (headers(task_id="c-1"), body([2], chord={"task": "sum"}), "c-1"),
    (None, b'{"task": "a", "id": "old-1", "args": [], "kwargs": {}}', "old-1"),
    (headers(task_id="t-1"), body([3]), None),
]


def test_what_is_counted_by_its_id_keeps_it(classic):
    for told, content, _ in ODD:
        classic.publish(content, headers=told)
    classic.reject(len(ODD))
    failures = load(classic)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        planned = {item.task_id: item for item in items(failures)}
        receipts = {r.failure_id: r for r in hand.send("replay", list(planned.values()), "r")}
    for (_, _, same), task_id in zip(ODD, ["g-1", "c-1", "old-1", "t-1"], strict=True):
        receipt = receipts[planned[task_id].failure_id]
        assert receipt.state == State.SENT
        assert (receipt.sent_id == task_id) == (same is not None)
    assert sorted(c for _, c in classic.take(classic.work)) == sorted(c for _, c, _ in ODD)


def test_bytes_that_nobody_can_read_are_moved_as_they_are(classic):
    """Unreadable ones are held back by a plan; quarantine takes them, byte for byte."""
    odd = [b"\x80\x04}\x94.", b'[["\xff"], {}, {}]', b"", bytes(range(256)) * 600]
    for content in odd:
        classic.publish(content, headers=headers(), content_type="application/octet-stream")
    classic.reject(len(odd))
    failures = load(classic)
    assert set(chosen(failures).held_back["because"]) == {"payload is unreadable"}
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        planned = items(failures, action="quarantine", classes=None)
        receipts = list(hand.send("quarantine", planned, "run-1"))
    assert {r.state for r in receipts} == {State.SENT}
    moved = classic.take(f"{classic.dlq}.quarantine")
    assert sorted(content for _, content in moved) == sorted(odd)
    assert all(p.headers["x-death"][0]["queue"] == classic.work for p, _ in moved)
    assert all(p.headers["dlqanalysis_quarantined_from"] == classic.dlq for p, _ in moved)
    assert classic.depth(classic.dlq) == 0


def test_a_target_that_is_not_there_blocks_and_nothing_is_lost(classic, journal):
    classic.fill(3)
    failures = load(classic)
    classic.channel.queue_delete(classic.work)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        with pytest.raises(RunError, match="There is no queue"):
            run(chosen(failures), hand, journal)
        receipts = list(hand.send("replay", items(failures), "run-1"))
        assert {(r.state, r.detail) for r in receipts} == {
            (State.REFUSED, f"there is no queue '{classic.work}'")
        }
    classic.until(classic.dlq, 3)


def test_a_target_that_goes_in_the_last_moment_loses_nothing(classic, monkeypatch):
    """In a transaction an unroutable message is returned, and the acknowledgement counts all the same."""
    classic.fill(2)
    planned = items(load(classic))
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        monkeypatch.setattr(hand._queues.link, "depth", lambda queue: (2, 1))
        classic.channel.queue_delete(classic.work)
        receipts = list(hand.send("replay", planned, "run-1"))
    assert {r.state for r in receipts} == {State.REFUSED}
    assert all("is in" in r.detail and "again" in r.detail for r in receipts)
    classic.until(classic.dlq, 2)
    taken = classic.take(classic.dlq)
    assert sorted(numbers(taken)) == [0, 1]
    assert all(p.headers["x-first-death-queue"] == classic.work for p, _ in taken)


def test_a_queue_of_the_plan_goes_first(classic, queue_name):
    classic.fill(1)
    other = queue_name("other")
    classic.channel.queue_declare(other)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [one] = items(load(classic))
        [receipt] = hand.send("replay", [replace(one, target=other)], "run-1")
    assert receipt.state == State.SENT
    assert classic.depth(other) == 1


def test_messages_at_their_delivery_limit_survive_a_run(amqp_url, queue_name, amqp_management_url, monkeypatch, journal):  # fmt: skip
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    with rabbit(amqp_url, queue_name("q"), "quorum", **{"x-delivery-limit": 3}) as made:
        made.fill(6)
        failures = load(made)
        for number in range(5):
            with open_hand(url_of(made.url, made.dlq)) as hand:
                done = run(chosen(failures[failures["args"] == f"[{number}]"]), hand, journal)
                assert done.summary["sent"].item() == 1
            made.until(made.dlq, 5 - number)
        assert sorted(numbers(made.take(made.work))) == list(range(5))
        assert numbers(made.take(made.dlq)) == [5]


def test_still_there_is_not_reached_gone_is_sent(dead):
    dead.fill(3)
    planned = items(load(dead))
    with open_hand(url_of(dead.url, dead.dlq)) as hand:
        [sent] = hand.send("replay", planned[:1], "run-1")
        settled = {r.failure_id: r for r in hand.settle(planned, "run-1")}
    assert settled[planned[0].failure_id].state == State.SENT
    assert settled[planned[0].failure_id].sent_id == sent.sent_id
    assert "only the management API tells" in settled[planned[0].failure_id].detail  # not set here
    assert {settled[i.failure_id].state for i in planned[1:]} == {State.NOT_REACHED}


def test_a_queue_that_somebody_consumes_leaves_doubt(classic):
    classic.fill(1)
    planned = items(load(classic))
    classic.channel.basic_consume(classic.dlq, lambda *_: None)
    classic.until(classic.dlq, 0)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [settled] = hand.settle(planned, "run-1")
    assert settled.state == State.UNCERTAIN and "somebody consumes" in settled.detail


def test_a_queue_that_forgets_leaves_doubt(amqp_url, queue_name, amqp_management_url, monkeypatch):
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    with rabbit(amqp_url, queue_name("q"), **{"x-message-ttl": 3_600_000}) as made:
        made.fill(1)
        planned = items(load(made))
        made.take(made.dlq)
        with open_hand(url_of(made.url, made.dlq)) as hand:
            [settled] = hand.settle(planned, "run-1")
    assert settled.state == State.UNCERTAIN
    assert "forgets" in settled.detail


def test_a_connection_that_breaks_before_the_commit_sent_nothing(classic):
    classic.fill(2)
    planned = items(load(classic))
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        hand.snapshot([item.failure_id for item in planned])
        hand._queues.link._connection.close()
        receipts = list(hand.send("replay", planned, "run-1"))
    assert {r.state for r in receipts} == {State.SENT}  # looked again, and went on
    assert sorted(numbers(classic.take(classic.work))) == [0, 1]


def test_outcomes_come_from_results_and_from_what_came_back(classic, redis_url):
    classic.fill(3)
    planned = items(load(classic))
    client = redis.Redis.from_url(redis_url)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        hand._results = Results(client)
        sent = {r.failure_id: r.sent_id for r in hand.send("replay", planned, "run-1")}
        ids = [sent[item.failure_id] for item in planned]
        client.set(f"celery-task-meta-{ids[0]}", '{"status": "SUCCESS"}')
        rejected = {}
        while (got := classic.channel.basic_get(classic.work))[0] is not None:
            method, properties, _ = got
            back = properties.headers["id"] == ids[1]
            rejected[properties.headers["id"]] = back
            if back:
                classic.channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                classic.channel.basic_ack(method.delivery_tag)
        classic.until(classic.dlq, 1)
        found = {v.failure_id: v.outcome for v in hand.outcomes(sent, datetime.now(UTC))}
    assert [found[i.failure_id] for i in planned] == [
        Outcome.SUCCEEDED,
        Outcome.FAILED_AGAIN,
        Outcome.PENDING,
    ]
    [row] = load(classic).to_dict("records")
    assert row["task_id"] == ids[1]  # a second replay is known as one by this id
    client.close()


def test_a_second_run_waits_outside(classic, journal, monkeypatch):
    from dlqanalysis.sources.rabbitmq import hand as module

    monkeypatch.setattr(module, "_IDLE", 600)  # the first keeps it, however long the second takes
    classic.fill(2)
    failures = load(classic)
    with open_hand(url_of(classic.url, classic.dlq)) as first, open_hand(url_of(classic.url, classic.dlq)) as second:  # fmt: skip
        first.snapshot(list(failures["failure_id"]))
        with pytest.raises(RunError, match="Wait until it has ended"):
            run(chosen(failures), second, journal)
    classic.until(classic.dlq, 2)


def test_what_is_held_goes_back_by_itself(classic, monkeypatch):
    from dlqanalysis.sources.rabbitmq import hand as module

    monkeypatch.setattr(module, "_IDLE", 0.2)
    classic.fill(2)
    failures = load(classic)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        hand.snapshot(list(failures["failure_id"]))
        classic.until(classic.dlq, 2)
        assert len(load(classic)) == 2  # the lock is gone as well


def operator(url, journal, order="oldest", rate="1000/s"):
    command = [sys.executable, "-m", "tests.rabbit_replayer", url, journal, order, rate]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})  # fmt: skip


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_killed_in_the_middle_and_resumed_beside_a_colleague(amqp_url, queue_name, tmp_path, kind):
    with rabbit(amqp_url, queue_name("memos"), kind) as made:
        made.fill(160)
        url = url_of(made.url, made.dlq, "&delivery_limit=none")
        journals = [f"sqlite:///{tmp_path / name}.sqlite" for name in ("one", "two")]
        failures = dlq.load(open_source(url), since="1h")
        colleague = chosen(failures[failures["args"].str.strip("[]").astype(int) % 2 == 0])
        first = operator(url, journals[0], rate="20/s")
        patient = time.monotonic() + 120
        while made.depth(made.work) < 20:
            assert time.monotonic() < patient and first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert made.depth(made.work) < 80
        second = operator(url, journals[0])
        told = second.communicate(timeout=300)
        assert second.returncode == 0, told
        with open_hand(
            url
        ) as hand:  # a colleague who planned the same before, with another journal
            late = run(colleague, hand, dlq.Journal(journals[1]))
        assert late.summary["skipped"].item() == 80
        ran = Counter(numbers(made.take(made.work)))
        assert ran == Counter(range(0, 160, 2))
        made.until(made.dlq, 80)
        assert sorted(numbers(made.take(made.dlq))) == list(range(1, 160, 2))
        summary = json.loads(told[0].splitlines()[-1])[0]
        assert summary["uncertain"] == 0


def test_the_hash_of_a_plan_is_the_hash_of_the_message(classic):
    classic.publish(body([1], {"ä": "☃"}), headers=headers())
    classic.reject(1)
    failures = load(classic)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [receipt] = hand.send("replay", items(failures), "run-1")
    assert receipt.state == State.SENT
    assert len(_hashes(failures)) == 1
