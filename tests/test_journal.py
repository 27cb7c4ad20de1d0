"""The journal: written before and after, folded into states, claims that are unique, a chain that shows tampering."""

import multiprocessing
import os
from dataclasses import replace as changed
from socket import gethostname
from types import SimpleNamespace

import pandas as pd
import pytest
import sqlalchemy as sa

from dlqanalysis.errors import JournalError, RunError
from dlqanalysis.journal import Journal
from dlqanalysis.model import Item, State
from dlqanalysis.run import Run


def items(*names, generation=1):
    return [
        Item(
            failure_id=name,
            task_id=f"task-with-one-name-{name}",
            task_name="shop.charge",
            queue="payments",
            content_hash="0" * 16,
            generation=generation,
        )
        for name in names
    ]


def a_plan(*names, digest="d1", source="celery:failed_tasks"):
    return SimpleNamespace(
        id=digest.ljust(8, "0")[:8],
        digest=digest,
        action="replay",
        source=source,
        reason="INC-42",
        held_back=pd.DataFrame({"because": ["class is data"]}),
        items=lambda: iter(items(*names)),
    )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.sqlite'}"
    return request.getfixturevalue("postgres_url")


def test_an_item_is_what_its_entries_say(url):
    journal = Journal(url)
    run = journal.start(a_plan("a", "b", "c", "d", "e", "f"), {"rate": "5/s"})
    journal.claim(run, "celery:failed_tasks", items("a", "b", "c", "d", "e"))
    journal.record(run, [("a", "sent", {"sent_id": "new-a"})])
    journal.record(run, [("b", "refused", {"detail": "no such queue"})])
    journal.record(run, [("c", "skipped", {"detail": "changed"})])
    journal.record(run, [("e", "unsent", {"detail": "settled"})])
    found = journal.items(run).set_index("failure_id")
    assert found["state"].to_dict() == {
        "a": State.SENT,
        "b": State.REFUSED,
        "c": State.SKIPPED,
        "d": State.UNCERTAIN,
        "e": State.NOT_REACHED,
        "f": State.NOT_REACHED,
    }
    assert found.loc["a", "sent_id"] == "new-a"
    assert found.loc["b", "detail"] == "no such queue"
    journal.record(run, [("a", "outcome", {"outcome": "succeeded"})])
    after = journal.items(run).set_index("failure_id").loc["a"]
    assert (after["state"], after["outcome"], after["sent_id"]) == (
        State.SENT,
        "succeeded",
        "new-a",
    )
    counts = journal.runs().iloc[0]
    assert counts[["sent", "refused", "skipped", "uncertain", "not_reached"]].tolist() == [
        1,
        1,
        1,
        1,
        2,
    ]
    assert counts["reason"] == "INC-42" and counts["held_back"] == 1


def test_what_was_sent_stays_sent(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    journal.claim(run, "s", items("a"))
    journal.record(
        run, [("a", "sent", {"sent_id": "new"}), ("a", "skipped", {"detail": "its status"})]
    )
    [row] = journal.items(run).to_dict("records")
    assert (row["state"], row["sent_id"], row["detail"]) == (State.SENT, "new", "")


def test_a_run_is_held_while_its_process_lives(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    assert journal.held_by(run) == ""  # it is this very process
    other = {"host": gethostname(), "pid": os.getppid()}
    journal.record(run, [("", "resumed", other)])
    assert journal.held_by(run) == f"process {os.getppid()}"
    assert Run.read(run, journal).stopped == f"it is going on in process {os.getppid()}"
    journal.record(run, [("", "stopped", {"because": "x"})])
    assert journal.held_by(run) == ""
    journal.record(run, [("", "resumed", {"host": gethostname(), "pid": 2**22 - 3})])
    assert journal.held_by(run) == ""  # nobody has that pid
    assert Run.read(run, journal).stopped == "it never came to an end: the process died"
    journal.record(run, [("", "resumed", {"host": "elsewhere", "pid": 7})])
    assert journal.held_by(run) == "process 7 on elsewhere"


def test_a_claim_is_held_by_one_run_until_nothing_happened(url):
    journal = Journal(url)
    first, second = (
        journal.start(a_plan("a", "b"), {}),
        journal.start(a_plan("a", "b", digest="d2"), {}),
    )
    assert journal.claim(first, "celery:failed_tasks", items("a", "b")) == {}
    assert journal.claim(second, "celery:failed_tasks", items("a", "b")) == {"a": first, "b": first}
    journal.record(first, [("a", "refused", {}), ("b", "sent", {"sent_id": "x"})])
    assert journal.claim(second, "celery:failed_tasks", items("a", "b")) == {"b": first}
    assert journal.claim(second, "celery:failed_tasks", items("b", generation=2)) == {}
    # the same task in another system is the same work, until it has come back
    assert journal.claim(second, "bullmq:default", items("b")) == {"b": first}
    assert journal.claim(second, "bullmq:default", items("b", generation=3)) == {}


def _claim_all(url, digest, names, queue):
    journal = Journal(url)
    run = journal.start(a_plan(*names, digest=digest), {})
    taken: set[str] = set()
    for name in names:
        taken |= set(journal.claim(run, "s", items(name)))
    queue.put([name for name in names if name not in taken])


def test_two_processes_never_claim_the_same_failure(url):
    names = [f"f{number}" for number in range(60)]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [
        context.Process(target=_claim_all, args=(url, digest, order, queue))
        for digest, order in (("p1", names), ("p2", names[::-1]))
    ]
    for worker in workers:
        worker.start()
    won = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert sorted(won[0] + won[1]) == sorted(names)


def test_what_was_altered_is_noticed(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    other = journal.start(a_plan("b", digest="d2"), {})
    journal.claim(run, "s", items("a"))
    journal.record(run, [("a", "refused", {"detail": "no"})])
    assert journal.verify() == []
    engine = sa.create_engine(url)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE dlq_entries SET event = 'sent' WHERE event = 'refused'"))
    engine.dispose()
    broken = journal.verify()
    assert len(broken) == 1 and run in broken[0] and other not in broken[0]


def test_events_since_the_last_start_count(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    assert not journal.has(run, "cancel")
    journal.record(run, [("", "cancel", {})])
    assert journal.has(run, "cancel")
    journal.record(run, [("", "resumed", {})])
    assert not journal.has(run, "cancel")
    assert list(journal.events(run)["event"]) == ["started", "cancel", "resumed"]


def test_an_unknown_run_is_answered_with_those_there_are(url):
    journal = Journal(url)
    with pytest.raises(RunError, match="none yet"):
        journal.run("nope")
    run = journal.start(a_plan("a"), {})
    with pytest.raises(RunError, match=run):
        journal.run("nope")
    assert journal.runs_of("d1") == [run]
    assert journal.runs_of("d9") == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:1/none",
        "nonsense://u:s3cret@h/d",
        "sqlite:////proc/none/j.sqlite",
    ],
)
def test_a_journal_that_cannot_be_opened_says_so_without_the_password(url):
    with pytest.raises(JournalError) as caught:
        Journal(url)
    assert "DLQ_JOURNAL_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "deep" / "journal.sqlite"
    Journal(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_an_empty_journal_has_typed_tables(url):
    journal = Journal(url)
    assert len(journal.items()) == 0 and "outcome" in journal.items()
    assert len(journal.runs()) == 0 and "sent" in journal.runs()
    assert "0 runs" in repr(journal)


def test_what_a_run_has_claimed_it_does_not_send_again(url):
    """Two processes of one run, a resume while the first one lives on: each item goes to one of them."""
    journal = Journal(url)
    run = journal.start(a_plan("a", "b"), {})
    assert journal.claim(run, "s", items("a")) == {}
    journal.record(run, [("a", "sent", {})])
    assert journal.claim(run, "s", items("a", "b")) == {"a": run}
    assert journal.claim(run, "s", items("b")) == {"b": run}
    states = journal.items(run).set_index("failure_id")["state"].to_dict()
    assert states == {"a": State.SENT, "b": State.UNCERTAIN}  # nothing was called skipped
    journal.record(run, [("b", "unsent", {})])
    assert journal.claim(run, "s", items("b")) == {}


def test_an_undo_gives_the_task_back_and_so_does_a_refusal(url):
    journal = Journal(url)
    first = journal.start(a_plan("a", "b"), {})
    other = journal.start(a_plan("m", digest="d2", source="rabbitmq:dlq"), {})
    copy = [changed(items("m")[0], task_id="task-with-one-name-a")]
    journal.claim(first, "celery:failed_tasks", items("a", "b"))
    assert journal.claim(other, "rabbitmq:dlq", copy) == {"m": first}
    journal.record(first, [("a", "refused", {})])
    assert journal.claim(other, "rabbitmq:dlq", copy) == {}
    assert journal.claim(first, "celery:failed_tasks", items("a")) == {"a": other}
    assert journal.items(other)["state"].tolist() == [State.UNCERTAIN]
    journal.record(other, [("m", "sent", {})], [other])
    assert journal.claim(first, "celery:failed_tasks", items("b")) == {"b": first}


def _want(url, order, queue):
    journal = Journal(url)
    run = journal.start(a_plan(*order, digest=f"d{order[0]}"), {})
    for _ in range(10):
        queue.put(len(order) - len(journal.claim(run, "s", items(*order))))


def test_two_operators_in_opposite_order_do_not_wait_in_a_circle(url):
    names = [f"{n:03d}" for n in range(120)]
    Journal(url)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    both = [
        context.Process(target=_want, args=(url, order, queue)) for order in (names, names[::-1])
    ]
    for process in both:
        process.start()
    got = [queue.get(timeout=60) for _ in range(20)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sum(got) == 120  # each item once, whoever came first


def _note(url, run, count):
    journal = Journal(url)
    for _ in range(count):
        journal.record(run, [("", "cancel", {})])


def test_entries_of_two_processes_make_one_chain(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_note, args=(url, run, 40)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert len(journal.events(run)) == 81 and journal.verify() == []
