"""The journal: written before and after, folded into states, claims that are unique, a chain that shows tampering."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace as changed
from datetime import UTC, datetime
from socket import gethostname
from types import SimpleNamespace

import pandas as pd
import pytest
import sqlalchemy as sa

from dlqanalysis.errors import JournalError, RunError
from dlqanalysis.journal import Journal, tables
from dlqanalysis.model import Item, State
from dlqanalysis.replay.run import Run


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
    won = [queue.get(timeout=300) for _ in workers]
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


def _altered(url, statement):
    engine = sa.create_engine(url)
    with engine.begin() as db:
        assert db.execute(sa.text(statement)).rowcount
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "names", "says"),
    [
        ("UPDATE dlq_runs SET operator = 'somebody' WHERE plan_digest = 'd2'", 1, "who, why"),
        ("UPDATE dlq_runs SET reason = 'because' WHERE plan_digest = 'd2'", 1, "who, why"),
        ("UPDATE dlq_items SET content_hash = 'x' WHERE failure_id = 'b'", 1, "what was planned"),
        ("DELETE FROM dlq_items WHERE failure_id = 'b'", 1, "what was planned"),
        ("DELETE FROM dlq_runs WHERE plan_digest = 'd2'", 1, "what was planned"),
        ("DELETE FROM dlq_entries WHERE event = 'refused'", 2, "stood before its first one is gone"),
        ("DELETE FROM dlq_entries WHERE run_id = '{1}'", 1, "its entries are gone"),
        ("DELETE FROM dlq_entries WHERE seq = (SELECT max(seq) FROM dlq_entries)", None, "was the newest once"),
    ],
)  # fmt: skip
def test_what_was_altered_or_taken_away_is_noticed(url, statement, names, says):
    journal = Journal(url)
    assert journal.newest() == "" and journal.verify() == []
    first = journal.start(a_plan("a"), {})
    second = journal.start(a_plan("b", "c", digest="d2"), {})
    journal.claim(first, "s", items("a"))
    journal.record(first, [("a", "refused", {"detail": "no"})])
    third = journal.start(a_plan("d", digest="d3"), {})
    journal.record(third, [("", "finished", {})])
    newest = journal.newest()
    assert journal.verify(newest[:16]) == []
    _altered(url, statement.replace("{1}", second))
    broken = journal.verify(newest[:16])
    assert len(broken) == 1 and says in broken[0]
    if names is not None:
        assert [first, second, third][names] in broken[0]


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
        "postgresql://u@127.0.0.1:1/none?password=s3cret",
        "nonsense://u:s3cret@h/d",
        "postgresql://u:p:s3cret@h:1:s3cret/d",
        "postgresql://u:p@h:s3cret/d",
        "no URL at all, s3cret",
        "mssql+absent://u:s3cret@h/d",
        "mysql://u:s3cret@h/d",
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
    got = [queue.get(timeout=300) for _ in range(20)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sum(got) == 120  # each item once, whoever came first


def _note(url, run, count):
    journal = Journal(url)
    for _ in range(count):
        journal.record(run, [("", "cancel", {})])


def test_a_claim_that_is_given_back_at_this_moment_is_free_again(postgres_url):
    ours, theirs = Journal(postgres_url), Journal(postgres_url)
    one = items("x")
    first = theirs.start(a_plan("x", digest="d1"), {})
    second = ours.start(a_plan("x", digest="d2"), {})
    theirs.claim(first, "celery:failed_tasks", one)
    refused = iter([[("x", "refused", {})]])

    def between(connection, cursor, statement, *more):
        if "INSERT INTO dlq_claims" in statement and (events := next(refused, None)):
            theirs.record(
                first, events
            )  # after it was told to be taken, before it is asked by whom

    sa.event.listen(ours._engine, "after_cursor_execute", between)
    assert ours.claim(second, "celery:failed_tasks", one) == {}
    assert next(refused, "given back") == "given back"
    assert theirs.claim(first, "celery:failed_tasks", one) == {"x": second}


@pytest.mark.parametrize("ended", [True, False])
def test_a_colleague_asleep_within_a_transaction_holds_nobody_up(postgres_url, monkeypatch, ended):
    monkeypatch.setattr(tables, "_PATIENCE", 1)
    ours, theirs = Journal(postgres_url), Journal(postgres_url)
    run = ours.start(a_plan("x"), {})
    asleep = theirs._engine.connect()
    if not ended:  # a session that may sleep for ever
        asleep.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
    claim = {"source": "s", "failure_id": "x", "generation": 1, "run_id": "r"}
    asleep.execute(tables.CLAIMS.insert(), claim)
    if ended:
        assert ours.claim(run, "s", items("x")) == {}
    else:
        with pytest.raises(JournalError, match="lock timeout"):
            ours.claim(run, "s", items("x"))
    asleep.invalidate()
    asleep.close()


def test_a_journals_patience_ends_with_its_transaction(postgres_url):
    """Behind a pooler the session is another program's next."""
    journal = Journal(postgres_url)
    names = ("idle_in_transaction_session_timeout", "lock_timeout")
    with journal._engine.connect() as db:
        inside = [db.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]
        db.commit()
        session = db.connection.driver_connection
        session.autocommit = True
        after = [session.execute(f"SHOW {name}").fetchone()[0] for name in names]
        session.autocommit = False
    assert inside == ["30s", "1min"] and after == ["0", "0"]


@pytest.mark.parametrize(
    "odd", ["order\x00of\x00somebody-else-17", "order\ud800of-somebody-else-17"]
)
def test_texts_that_no_database_holds_are_kept_as_escapes(url, odd):
    journal = Journal(url)
    strange = [changed(one, task_id=odd, task_name=odd) for one in items("a", "b")]
    plan = a_plan("a", "b")
    plan.items = lambda: iter(strange)
    run = journal.start(plan, {})
    assert journal.claim(run, plan.source, strange[:1]) == {}
    other = journal.start(a_plan("c", digest="d2", source="list:hooks"), {})
    copy = [changed(strange[0], failure_id="c")]
    assert journal.claim(other, "list:hooks", copy) == {"c": run}  # the same task
    journal.record(run, [("a", "sent", {"sent_id": odd, "detail": f"the server said {odd}"})])
    found = journal.items(run).set_index("failure_id").loc["a"]
    assert "somebody-else-17" in found["task_id"] and "\x00" not in found["task_name"]
    assert found["detail"].startswith("the server said order\\")
    assert journal.verify() == []


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


def test_reading_keeps_runs_and_sources_apart(url):
    journal = Journal(url)
    one = journal.start(a_plan("a", "b"), {})
    two = journal.start(a_plan("a", digest="d2", source="bullmq:q"), {})
    journal.claim(one, "celery:failed_tasks", items("a"))
    journal.record(one, [("a", "finished", {}), ("b", "refused", {"detail": "x"})])
    journal.record(two, [("", "stopped", {"because": "y"})])
    assert journal.items(source="bullmq:q")["run_id"].tolist() == [two]
    assert journal.items(source="celery:failed_tasks")["run_id"].tolist() == [one, one]
    assert journal.events(one)["event"].tolist() == ["started"]
    assert journal.events(two)["event"].tolist() == ["started", "stopped"]
    assert not journal.has(one, "finished")  # an item's entry is none of the run
    refused = journal.items(one).set_index("failure_id").loc["b"]
    assert refused["sent_id"] == ""
    counts = journal.runs().set_index("run_id")
    assert counts.loc[two, ["sent", "uncertain", "not_reached"]].tolist() == [0, 0, 1]
    assert counts.loc[one, ["refused", "uncertain"]].tolist() == [1, 1]


def test_moments_with_and_without_a_fraction_are_read(url, monkeypatch):
    times = iter([datetime(2026, 11, 1, 3, tzinfo=UTC), datetime(2026, 11, 1, 4, 0, 0, 5, UTC)])
    journal = Journal(url)
    run = journal.start(a_plan("a", "b"), {})
    journal.claim(run, "s", items("a", "b"))
    monkeypatch.setattr(
        sys.modules["dlqanalysis.journal"],
        "datetime",
        SimpleNamespace(now=lambda zone: next(times)),
    )
    journal.record(run, [("a", "sent", {})])
    journal.record(run, [("b", "sent", {})])
    found = journal.items(run)
    assert found["at"].dt.hour.tolist() == [3, 4]
    # of what was never measured too: a frame of many runs has one dtype
    assert {str(found[name].dtype.tz) for name in ("at", "outcome_at")} == {"UTC"}


@pytest.mark.parametrize(
    ("run", "says"),
    [("r-9", "There is no run 'r-9', and .* none yet"), ("", "No run was named, and")],
)
def test_a_run_that_is_not_there_is_named(journal, run, says):
    with pytest.raises(RunError, match=says):
        journal.run(run)


def test_an_answer_names_the_newest_five_runs(url):
    journal = Journal(url)
    runs = [journal.start(a_plan("a", digest=f"d{n}"), {}) for n in range(7)]
    with pytest.raises(RunError) as caught:
        journal.run("nope")
    named = [run for run in runs if run in str(caught.value)]
    assert len(named) == 5


def test_what_did_not_happen_gives_back_no_claim_of_another_run(url):
    journal = Journal(url)
    one, two, three = (journal.start(a_plan("a", digest=f"d{n}"), {}) for n in range(3))
    journal.claim(one, "s", items("a"))
    journal.record(one, [("a", "sent", {"sent_id": "x"})])
    journal.claim(two, "s", items("a", generation=2))
    journal.record(two, [("a", "refused", {})])
    assert journal.claim(three, "s", items("a")) == {"a": one}


def test_a_holder_on_another_host_that_says_nothing_any_more_has_left(url, monkeypatch):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    journal.record(run, [("", "resumed", {"host": "elsewhere", "pid": 7})])
    assert journal.held_by(run) == "process 7 on elsewhere"
    monkeypatch.setattr(sys.modules["dlqanalysis.journal"], "_SILENCE", 0)
    assert journal.held_by(run) == ""


def test_asking_whether_a_process_lives_does_it_no_harm(url):
    journal = Journal(url)
    run = journal.start(a_plan("a"), {})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        journal.record(run, [("", "resumed", {"host": gethostname(), "pid": process.pid})])
        assert journal.held_by(run) == f"process {process.pid}"
        process.communicate(b"\n")
    assert process.returncode == 0
    assert journal.held_by(run) == ""


def test_a_journal_of_an_earlier_version_gets_the_columns_it_lacks(url):
    journal = Journal(url)
    old = journal.start(a_plan("a"), {})
    engine = sa.create_engine(url)
    with engine.begin() as db:
        for name in ("key", "target", "work"):
            db.exec_driver_sql(f"ALTER TABLE dlq_items DROP COLUMN {name}")
    engine.dispose()
    again = Journal(url)
    new = again.start(a_plan("b", digest="d2"), {})
    found = again.items().set_index("run_id")
    assert set(found.index) == {old, new} and set(found["key"]) == set(found["target"]) == {""}
    assert not again.verify()  # a run sealed without a column of today is as it was written


def test_who_opens_an_older_journal_in_the_same_moment_as_a_colleague_goes_on(url, monkeypatch):
    Journal(url)
    engine, look, added = sa.create_engine(url), tables._columns, tables._ADDED["key"]
    with engine.begin() as db:
        db.exec_driver_sql("ALTER TABLE dlq_items DROP COLUMN key")

    def and_a_colleague_adds_it(of):
        found = look(of)
        if "key" not in found:
            with engine.begin() as db:
                db.exec_driver_sql(added)
        return found

    monkeypatch.setattr(tables, "_columns", and_a_colleague_adds_it)
    tables.create(engine)
    assert "key" in look(engine)
    monkeypatch.setattr(
        tables, "_ADDED", {"never": "ALTER TABLE dlq_nothing ADD COLUMN never TEXT"}
    )
    with pytest.raises(sa.exc.DBAPIError, match="dlq_nothing"):
        tables.create(engine)
    engine.dispose()


def test_what_was_replayed_is_counted_by_fingerprint(url):
    journal = Journal(url)
    assert journal.replayed().empty
    plans = [a_plan("a", "b", "c"), a_plan("a", digest="d2"), a_plan("c", digest="d3")]
    plans[0].items = lambda: iter([changed(one, fingerprint="f") for one in items("a", "b", "c")])
    plans[1].items = lambda: iter(
        [changed(one, fingerprint="f", generation=2) for one in items("a")]
    )
    plans[2].action = "archive"
    first, second, third = (journal.start(one, {}) for one in plans)
    journal.record(first, [("a", "sent", {}), ("b", "sent", {}), ("c", "refused", {})])
    journal.record(second, [("a", "sent", {})])
    journal.record(third, [("c", "sent", {})])
    [row] = journal.replayed().to_dict("records")
    assert (row["fingerprint"], row["replayed"]) == ("f", 3)
    assert row["last_replayed"].tzinfo is not None
