"""A run that minds what it meets: keys one at a time, the same error coming back, a target that is not well."""

import http.server
import threading
import time
from collections import Counter
from contextlib import contextmanager

import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.display.progress import Progress
from dlqanalysis.errors import RunError
from dlqanalysis.model import Outcome
from dlqanalysis.profile import Profile
from dlqanalysis.replay import execution
from dlqanalysis.sources.celery.hand import CeleryHand
from tests.consumer import Consumer
from tests.waiting import QUICK


@pytest.fixture
def queue(queue_name):
    return queue_name("payments")


@pytest.fixture
def hand(shop_url, redis_url):
    with CeleryHand.connect(shop_url, redis_url) as opened:
        yield opened


def fill(url, queue, count):
    """Failures n = 1..count of three tenants in turn; the message is what Consumer's failures say, too."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, traceback, failed_at) SELECT 'task-' || n, 'shop.charge', %s,"
            " jsonb_build_array(n), jsonb_build_object('tenant', 't' || n %% 3), 'ConnectionError',"
            " 'connection refused, again', '', now() - make_interval(days => 1, secs => -n)"
            " FROM generate_series(1, %s) n",
            (queue, count),
        )


def planned(url, journal, **options):
    failures = dlq.load(dlq.connect(url), since=None, limit=10_000)
    return dlq.plan(failures, journal, **{"reason": "INC-42", "ungraded": None, **options})


def test_of_one_key_the_next_goes_when_the_last_is_done(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 18)
    plan = planned(shop_url, journal, per_key="tenant")
    running, most = Counter(), Counter()

    def slow(task, args, kwargs):
        tenant = kwargs["tenant"]
        running[tenant] += 1
        most[tenant] = max(most[tenant], running[tenant])
        time.sleep(0.02)
        running[tenant] -= 1
        return True

    with (
        Consumer(redis_url, shop_url, [queue], slow) as one,
        Consumer(redis_url, shop_url, [queue], slow) as two,
    ):
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, stages=(None,), **QUICK)
    assert run.finished and len(one.ran) + len(two.ran) == 18
    assert dict(most) == {"t0": 1, "t1": 1, "t2": 1}
    for tenant in ("t0", "t1", "t2"):  # in the order in which they failed
        sent = run.items[
            run.items["key"] == dict(zip(["t0", "t1", "t2"], _keys(plan), strict=True))[tenant]
        ]
        assert sent["at"].is_monotonic_increasing and len(sent) == 6


def _keys(plan):
    """The keys of t0, t1, t2: of failures 3, 1 and 2."""
    by_task = plan.chosen.set_index("task_id")["key"]
    return [by_task["task-3"], by_task["task-1"], by_task["task-2"]]


def test_a_key_without_an_outcome_holds_those_behind_it(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 6)
    plan = planned(shop_url, journal, per_key="tenant")
    with Consumer(redis_url, shop_url, [queue]) as worker:
        worker._stop_now.set()  # nobody works
        worker.join()
        run = dlq.replay(
            plan,
            to=hand,
            journal=journal,
            confirm=plan.id,
            stages=(None,),
            **{**QUICK, "wait": "1s"},
        )
    assert "3 items have no outcome after 1s, and others wait for them" in run.stopped
    assert run.summary.iloc[0][["sent", "not_reached"]].tolist() == [3, 3]


def test_the_same_error_three_times_stops_before_the_share_does(
    shop_url, redis_url, queue, journal, hand
):
    fill(shop_url, queue, 40)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda *_: False):
        run = dlq.replay(
            plan,
            to=hand,
            journal=journal,
            confirm=plan.id,
            **{**QUICK, "rate": "20/s", "min_sample": 30},
        )
    assert "came back with the same error, and none of it succeeded" in run.stopped
    row = run.summary.iloc[0]
    assert row["failed_again"] >= 3 and row["sent"] <= 10 and row["not_reached"] >= 30
    back = run.outcomes[run.outcomes["outcome"] == Outcome.FAILED_AGAIN]
    assert set(back["came_back"]) == {"same error"}
    assert f"{row['sent']} sent" in repr(run)


def test_the_third_of_three_is_enough(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 8)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda *_: False):
        run = dlq.replay(
            plan,
            to=hand,
            journal=journal,
            confirm=plan.id,
            **{**QUICK, "stages": (3, None), "min_sample": 30},
        )
    assert "3 of group" in run.stopped and "came back with the same error" in run.stopped
    assert run.summary.iloc[0]["sent"] == 3


def test_another_error_is_told_apart(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 4)
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute("UPDATE failed_tasks SET exception_message = 'connection timed out after 30 s'")
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda *_: False):
        run = dlq.replay(
            plan,
            to=hand,
            journal=journal,
            confirm=plan.id,
            **{**QUICK, "same": 1, "min_sample": 30},
        )
    assert "the gate needs" not in run.stopped and "same error" not in run.stopped
    assert set(run.outcomes["came_back"]) == {"another error"}


@contextmanager
def page(codes):
    """A health page on a real socket that answers these codes in turn, the last one for ever."""
    answers = list(codes)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health"
    finally:
        server.shutdown()
        server.server_close()


def test_a_target_that_is_not_well_gets_nothing(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 3)
    plan = planned(shop_url, journal)
    with page([503]) as url, Consumer(redis_url, shop_url, [queue]) as worker:
        ill = Profile(preflight={"shop": {"url": url}})
        with pytest.raises(RunError, match="shop: its page answers 503"):
            dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, profile=ill, **QUICK)
    assert not worker.ran and not len(journal.runs())


def test_a_run_rests_while_the_target_is_not_well(
    shop_url, redis_url, queue, journal, hand, monkeypatch
):
    monkeypatch.setattr(execution, "_LOOK_AGAIN", 0.0)
    fill(shop_url, queue, 20)
    plan = planned(shop_url, journal)
    lines = []
    with page([200, 200, 503, 503, 200]) as url, Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id,
            profile=Profile(preflight={"shop": {"url": url}}), **{**QUICK, "progress": lines.append},
        )  # fmt: skip
    assert run.finished and len(worker.ran) == 20
    assert any(line == "paused: shop: its page answers 503" for line in lines)
    assert "the target is well again: going on" in lines
    assert journal.has(run.run_id, "paused")


def test_a_target_that_stays_ill_ends_the_run(
    shop_url, redis_url, queue, journal, hand, monkeypatch
):
    monkeypatch.setattr(execution, "_LOOK_AGAIN", 0.0)
    fill(shop_url, queue, 20)
    plan = planned(shop_url, journal)
    with page([200, 200, 503]) as url, Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id,
            profile=Profile(preflight={"shop": {"url": url}}), **{**QUICK, "wait": "2s"},
        )  # fmt: skip
    assert run.stopped == "the target is not well: shop: its page answers 503"
    assert len(worker.ran) == 10 and run.summary["not_reached"].item() == 10


def test_progress_is_a_table_and_lines(capsys, monkeypatch):
    view = Progress()
    view.stage("stage 1 of 2", {"planned": 10, "sent": 4}, "about 2 min")
    assert capsys.readouterr().out == ""  # nothing before the first seconds are over
    view._said = -100.0
    view.stage("stage 1 of 2", {"planned": 10, "sent": 5, "failed_again": 1}, "about 2 min")
    assert (
        "stage 1 of 2: 10 planned, 5 sent, 1 failed again; about 2 min left"
        in capsys.readouterr().out
    )
    view.stage("stage 2 of 2", {"planned": 3, "sent": 0})
    view.say("<b>done</b>")
    assert view.table["sent"].tolist() == [5, 0] and view.table["failed_again"].tolist() == [1, 0]
    assert "<b>done" not in view._repr_html_() and "&lt;b&gt;done" in view._repr_html_()
    assert "stage 2 of 2" in repr(view)
