"""A RabbitMQ hand's repairs and returns from quarantine, and what its monitor tells, on a real broker."""

import json
from dataclasses import replace

import pytest

import dlqanalysis as dlq
from dlqanalysis import readings
from dlqanalysis.model import State
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.sources.rabbitmq import open_hand, open_monitor, open_source
from tests.rabbit import body, headers, url_of
from tests.waiting import until

pytestmark = pytest.mark.rabbitmq
EMBED = '{"callbacks": null, "errbacks": null, "chain": [{"task":"b"}], "chord": null}'


def load(made, **asked):
    source = open_source(url_of(made.url, made.dlq, "&delivery_limit=none"))
    return dlq.load(source, **{"since": "1h", **asked})


def items(failures, action="replay", **fields):
    planned = make_plan(failures, reason="test", action=action, classes=("unknown",)).items()
    return [replace(item, **fields) for item in planned]


def test_a_repaired_message_goes_with_its_headers_and_its_chain(dead):
    content = f'[[1], {{"to":  "bad@@"}}, {EMBED}]'.encode()
    told = headers(task_id="t-1", **{"x-tenant": "acme", "argsrepr": "[1]"})
    dead.publish(content, headers=told, correlation_id="t-1", priority=2)
    dead.reject(1)
    repair = b'{"kwargs": {"to": "good@example.org", "n": 12345678901234567890.5}}'
    with open_hand(url_of(dead.url, dead.dlq)) as hand:
        [item] = items(load(dead), payload=repair)
        [receipt] = hand.send("replay", [item], "run-1")
        assert receipt.state == State.SENT, receipt.detail
        [again] = hand.send("replay", [item], "run-2")
        assert again.state == State.SKIPPED
    [(properties, sent)] = dead.take(dead.work)
    kwargs = '{"to": "good@example.org", "n": 12345678901234567890.5}'
    assert sent.decode() == f"[[1], {kwargs}, {EMBED}]"  # texts, no round trip
    assert properties.headers["x-tenant"] == "acme" and properties.priority == 2
    assert properties.headers["kwargsrepr"] == kwargs
    assert properties.headers["id"] == properties.correlation_id == receipt.sent_id
    assert properties.headers["dlqanalysis_replay_of"] == "t-1"
    assert dead.depth(dead.dlq) == 0


@pytest.mark.parametrize(
    ("expires", "goes"),
    [("2020-01-01T00:00:00+00:00", False), ("2020-01-01T00:00:00", False), ("soon", False), (7, False),
     ("2999-01-01T00:00:00+00:00", True), (None, True)],
)  # fmt: skip
def test_a_task_that_says_itself_that_it_is_too_late_is_repaired_first(classic, expires, goes):
    """Protocol 1 has it in the body: a worker would discard the task, and nobody would hear of it."""
    told = {"task": "a.b", "id": "old-1", "args": [1], "kwargs": {}, "expires": expires}
    classic.publish(json.dumps(told).encode(), headers=None)
    classic.reject(1)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [item] = items(load(classic))
        [receipt] = hand.send("replay", [item], "run-1")
        assert (receipt.state == State.SENT) is goes, receipt.detail
        if not goes:
            assert receipt.state == State.REFUSED and "repair it" in receipt.detail
            told["expires"] = None
            mended = replace(item, payload=json.dumps(told).encode())
            [receipt] = hand.send("replay", [mended], "run-1")
            assert receipt.state == State.SENT, receipt.detail
    [(_, sent)] = classic.take(classic.work)
    assert json.loads(sent) == told


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[1]", b"[[], {}]", b'{"args": {}}', b'{"kwargs": []}', b"\xff"],
)
def test_a_body_that_a_worker_would_die_of_is_refused(classic, payload):
    classic.fill(1)
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [receipt] = hand.send("replay", items(load(classic), payload=payload), "run-1")
    assert receipt.state == State.REFUSED and "repair" in receipt.detail
    classic.until(classic.dlq, 1)


@pytest.mark.parametrize(
    ("of", "change"),
    [("kwargs", lambda k: {"to": "x"}), ("raw", lambda b: [b[0], {"to": "x"}, b[2]])],
)
def test_what_dlq_repair_makes_fits(classic, of, change):
    classic.task([1], {"to": "bad@@"})
    classic.reject(1)
    mended = dlq.repair(load(classic, columns=["raw"]), change, of=of)
    plan = make_plan(mended, reason="the address was wrong")
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        [receipt] = hand.send("replay", list(plan.items()), "run-1")
    assert receipt.state == State.SENT, receipt.detail
    [(_, sent)] = classic.take(classic.work)
    assert json.loads(sent)[:2] == [[1], {"to": "x"}]


def test_a_whole_body_repairs_what_could_not_be_read(classic):
    classic.publish(b"{'a': 1}", headers=headers())
    classic.publish(b'{"order": 5}', type="order.created")
    classic.reject(2)
    failures = load(classic)
    bodies = {"shop.charge": body([1]), "order.created": b'{"order": 6}'}
    planned = [
        replace(item, payload=bodies[item.task_name])
        for item in make_plan(failures, reason="test", action="quarantine").items()
    ]  # a plan to replay would take only what is whole
    with open_hand(url_of(classic.url, classic.dlq)) as hand:
        assert {r.state for r in hand.send("replay", planned, "run-1")} == {State.SENT}
    assert sorted(c for _, c in classic.take(classic.work)) == sorted(bodies.values())


def test_what_was_set_aside_comes_back_as_it_was_under_its_id(dead):
    told = headers(task_id="t-1", **{"x-tenant": "acme"})
    for number in range(3):  # two of them the same
        dead.publish(body([number // 2]), headers=told, correlation_id="t-1", delivery_mode=1)
    dead.reject(3)
    before = load(dead, columns=["raw"])
    with open_hand(url_of(dead.url, dead.dlq, "&delivery_limit=none")) as hand:
        aside = items(before, "quarantine")
        assert {r.state for r in hand.send("quarantine", aside, "run-1")} == {State.SENT}
        assert dead.depth(dead.dlq) == 0
        kept = hand.snapshot([item.failure_id for item in aside])
        assert set(kept["failure_id"]) == set(before["failure_id"])  # found where they are now
        other = items(before, "quarantine", undoes="run-0")
        skipped = list(hand.send("restore", other, "run-2"))
        assert {(r.state, r.detail) for r in skipped} == {
            (State.SKIPPED, "run run-1 set it aside, not run-0")
        }
        back = items(before, "quarantine", undoes="run-1")
        assert [r.state for r in hand.send("restore", back[:2], "run-2")] == [State.SENT] * 2
        states = {r.failure_id: r.state for r in hand.settle(back, "run-2")}
        assert [states[i.failure_id] for i in back] == [State.SENT, State.SENT, State.NOT_REACHED]
        assert [r.state for r in hand.send("restore", back[2:], "run-2")] == [State.SENT]
        [gone] = hand.send("restore", back[2:], "run-2")
        assert (gone.state, gone.detail) == (State.SKIPPED, "it is not in the quarantine queue")
    dead.until(dead.dlq, 3)
    after = load(dead, columns=["raw"])
    key = ["failure_id"]
    assert after.sort_values(key).drop(columns="queue").to_dict("list") == (
        before.sort_values(key).drop(columns="queue").to_dict("list")
    )
    with open_hand(url_of(dead.url, dead.dlq)) as hand:  # and it can go its way
        assert {r.state for r in hand.send("replay", items(after, "quarantine"), "run-3")} == {
            State.SENT
        }
    assert all(
        not n.startswith("dlqanalysis_quar") for p, _ in dead.take(dead.work) for n in p.headers
    )


# ---- the monitor -------------------------------------------------------------------------------


def test_depths_without_the_management_api(classic):
    classic.fill(3)
    classic.task([9])
    monitor = open_monitor(url_of(classic.url, f"{classic.dlq},gone"))
    found = monitor.depths()
    assert list(found.columns) == list(readings.DEPTHS)
    [row] = found.to_dict("records")
    assert (row["queue"], row["state"], row["depth"], row["consumers"]) == (
        classic.dlq, "dead_lettered", 3, 0,
    )  # fmt: skip
    assert "no queue 'gone'" in found.attrs["notes"][1]
    assert [f.severity for f in monitor.health()] == ["ok", "ok"]
    assert not len(monitor.workers()) and not len(monitor.running())
    classic.until(classic.dlq, 3)
    assert not classic.channel.basic_get(classic.dlq)[0].redelivered  # nothing was touched


def test_depths_and_health_from_the_management_api(classic, amqp_management_url, monkeypatch):
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    classic.fill(2)
    classic.task([9])
    classic.channel.basic_get(classic.dlq)  # somebody holds one
    monitor = open_monitor(url_of(classic.url, classic.dlq))
    wanted = {
        (classic.dlq, "unacked"): 1,
        (classic.dlq, "dead_lettered"): 1,
        (classic.work, "waiting"): 1,
    }

    def depths():
        found = monitor.depths().set_index(["queue", "state"])["depth"].fillna(-1)
        return wanted.items() <= found.to_dict().items()

    def health():
        found = {f.name.split()[0]: f for f in monitor.health()}
        return found.get("connections") and found["connections"].facts.get("connections") and found

    until(depths)  # the figures of the API are some seconds old, each by itself
    assert set(until(health)) == {"rabbitmq", "memory", "disk", "connections"}
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", "http://u:s3cret@127.0.0.1:1")
    [down] = open_monitor(url_of(classic.url, classic.dlq)).health()[-1:]
    assert down.severity == "critical" and "s3cret" not in down.text


def test_the_monitor_is_found_by_name(classic, monkeypatch):
    monkeypatch.setenv("DLQ_MEMOS_URL", url_of(classic.url, classic.dlq))
    assert dlq.connect_monitor("memos").name == dlq.connect("memos").name
    assert len(dlq.depths("memos")) == 1
