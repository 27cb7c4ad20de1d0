"""A scan answers as one machine does: however the archive is cut, whatever stands in it twice, whoever dies."""

import os
import signal
import sys
import threading
import time
from functools import cache

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis import archive
from dlqanalysis.archive import dataset
from dlqanalysis.errors import ConnectError, SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.patterns import contrast
from dlqanalysis.scan import condense, work

MESSAGES = ["user {} is gone", "connection reset by peer", "deadlock detected", "", "timeout after {} s", None]  # fmt: skip
TYPES = ["ValueError", "ConnectionResetError", "OperationalError", "Error", None]


def one(n, **more):
    """A failure whose fields all follow from its number, with gaps and ties."""
    message = MESSAGES[n * 7 % 6]
    return {
        "source": f"celery:{'ab'[n % 11 == 0]}",
        "failure_id": f"f{n}",
        "task_name": f"tasks.t{n * 3 % 4}" if n % 13 else None,
        "queue": ["emails", "memos", None][n % 3],
        "exception_type": TYPES[n * 7 % 5],
        "exception_message": message and message.format(n),
        "traceback": f'Traceback\n  File "app.py", line {n % 2}, in step{n % 2}\nError' if n % 3 else None,
        "kwargs": {"tenant": n % 3, "id": n},
        "retries": n % 5 if n % 6 else None,
        "max_retries": 3 if n % 4 else None,
        "worker": f"w{n % 2}",
        "failed_at": f"2026-11-{17 + n % 4:02}T{n // 4 % 24:02}:00:00Z" if n % 9 else None,
    } | more  # fmt: skip


def judged(failures):
    return failures.pipe(dlq.classify).pipe(dlq.fingerprint)


@pytest.fixture(scope="module")
def two_workers():
    """A cluster of two real worker processes."""
    from dlqanalysis.scan.cluster import local

    with local(2) as cluster:
        yield cluster


def test_a_worker_is_one_thread_in_all_libraries(two_workers):
    from distributed import Client

    with Client(two_workers, set_as_default=False) as client:
        found = client.run(lambda: (pl.thread_pool_size(), pa.cpu_count()))
    assert list(found.values()) == [(1, 1)] * 2


def same(scanned, failures):
    """Every answer of the scan is the one of the whole frame."""
    frame = judged(failures)
    frame.attrs = {}  # say where they were read
    assert scanned.rows == len(frame)
    groups = dlq.groups(frame)
    for mine, theirs in (
        (groups, scanned.groups()),
        (dlq.groups(frame, "36h", "2026-11-19T12:00:00Z"), scanned.groups("36h", "2026-11-19T12:00:00Z")),
        (dlq.coverage(frame), scanned.coverage()),
        (dlq.counts(frame), scanned.counts()),
        (dlq.counts(frame, ["queue", "failure_class"]), scanned.counts(["queue", "failure_class"])),
        (dlq.counts(frame, "retries", "1h"), scanned.counts("retries", "1h")),
        (dlq.counts(frame, ["source", "why"]), scanned.counts(["source", "why"])),
    ):  # fmt: skip
        pd.testing.assert_frame_equal(mine, theirs)
        assert mine.attrs == theirs.attrs
    for name in groups["fingerprint"].head(2):
        mine, theirs = dlq.lift(frame, name), scanned.lift(name)
        pd.testing.assert_frame_equal(mine, theirs)
        assert mine.attrs == theirs.attrs


def test_a_scan_gives_what_one_machine_gives(two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ROWS", 80)
    old = from_records(one(n, exception_message="was another", failed_at="2026-11-16T00:00:00Z") for n in range(0, 400, 3))  # fmt: skip
    new = from_records(one(n) for n in range(400))
    archive.append(tmp_path, old, redact=False)
    archive.append(tmp_path, new, redact=False)
    monkeypatch.setattr(work_of_scan(), "PIECE", 20_000)
    monkeypatch.setattr(work_of_scan(), "_KEYS", 60_000)
    with dlq.scan(tmp_path, cluster=two_workers.scheduler_address) as scanned:
        assert len(scanned._pieces) > 4
        same(scanned, new)
        with pytest.raises(SchemaError, match=r"No failure has the fingerprint 'zzz'"):
            scanned.lift("zzz")
        with pytest.raises(SchemaError, match=r"no column 'tsk' to count by. Did you mean"):
            scanned.counts("tsk")
    monkeypatch.setenv("DLQ_DASK", two_workers.scheduler_address)
    with dlq.scan(tmp_path, "2026-11-18", "2026-11-19T12:00:00Z") as scanned:
        same(scanned, archive.read(tmp_path, "2026-11-18", "2026-11-19T12:00:00Z"))
    with dlq.scan(tmp_path / "nothing") as scanned:
        same(scanned, empty())


def work_of_scan():
    """The module behind the verb."""
    return sys.modules["dlqanalysis.scan"]


def _spills(dask_worker):
    manager = dask_worker.memory_manager
    return manager.memory_spill_fraction or manager.memory_target_fraction


def test_a_worker_that_is_killed_changes_nothing(tmp_path, monkeypatch):
    """Two worker processes of the scan's own; one is killed when it has given some answers."""
    monkeypatch.setattr(dataset, "ROWS", 50)
    failures = from_records(one(n) for n in range(1500))
    archive.append(tmp_path, failures, redact=False)
    monkeypatch.setattr(work_of_scan(), "PIECE", 1)
    monkeypatch.setattr(work_of_scan().cluster.os, "cpu_count", lambda: 2)
    with dlq.scan(tmp_path) as scanned:
        assert len(scanned._pieces) > 30
        client, scheduler = scanned._cluster.client, scanned._cluster.local.scheduler
        pids = client.run(os.getpid)
        assert len(pids) == 2
        spills = client.run(_spills).values()
        assert not any(spills)  # failures are never put on the disk, pickled
        killed = threading.Event()

        def kill_one():
            while not killed.is_set():
                done = [
                    task for task in list(scheduler.tasks.values())
                    if "counted" in str(task.key) and task.state == "memory"
                ]  # fmt: skip
                if len(done) >= 3:
                    os.kill(next(iter(pids.values())), signal.SIGKILL)
                    killed.set()
                time.sleep(0.002)

        killer = threading.Thread(target=kill_one)
        killer.start()
        groups = scanned.groups()
        was_killed = killed.is_set()
        killed.set()
        killer.join()
        assert was_killed, "the answer was there before anybody was killed"
        pd.testing.assert_frame_equal(groups, dlq.groups(judged(failures)))
        assert set(client.run(os.getpid).values()) != set(pids.values())


def test_workers_that_judge_by_other_rules_are_refused(two_workers, tmp_path, monkeypatch):
    archive.append(tmp_path, from_records([one(1)]), redact=False)
    own = tmp_path / "rules.toml"
    own.write_text(
        '[[rule]]\nname = "mine"\nclass = "data"\nwhy = "ours"\nconfidence = "high"\n'
        'when = [{ message = ["connection reset"] }]\n'
        'examples = [{ message = "connection reset by peer" }]\n'
    )
    monkeypatch.setenv("DLQ_RULEBOOK", str(own))  # the workers were started without it
    with (
        dlq.scan(tmp_path, cluster=two_workers.scheduler_address) as scanned,
        pytest.raises(SettingsError, match=r"A worker judges by other rules than this machine"),
    ):
        scanned.groups()


def test_no_scheduler_and_a_place_that_workers_cannot_see(tmp_path):
    with pytest.raises(ConnectError, match=r"No Dask scheduler answers at DLQ_DASK"):
        dlq.scan(tmp_path, cluster="tcp://127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"memory:// is of this process alone"):
        dlq.scan("memory://archive")


# -- partitioning does not change the answer --------------------------------------------------------------

ROWS = judged(from_records(one(n) for n in range(160)))


@st.composite
def cuts(draw):
    """Each row's part, and the order in which parts are put together."""
    many = draw(st.integers(1, 6))
    parts = draw(st.lists(st.integers(0, many - 1), min_size=len(ROWS), max_size=len(ROWS)))
    return parts, draw(st.permutations(range(many)))


def pieces(cut):
    parts, order = cut
    of = pd.Series(parts)
    return [ROWS[of == number].reset_index(drop=True) for number in order if (of == number).any()]


def tree(things, join, width=2):
    while len(things) > 1:
        things = [join(things[at : at + width]) for at in range(0, len(things), width)]
    return things[0]


@cache
def alone(verb, *asked):
    """What a verb of one machine says of all rows; the same for every cut."""
    return getattr(dlq, verb)(ROWS, *asked)


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(cut=cuts(), window=st.sampled_from(["1h", "24h", "3d"]), keys=st.sampled_from([condense.GROUP_KEYS, ("queue", "retries"), ("why", "task_name")]))  # fmt: skip
def test_groups_and_counts_do_not_depend_on_the_parts(cut, window, keys):
    last = ROWS["failed_at"].max().to_pydatetime()
    rows = [condense.condensed(one, keys, window, last) for one in pieces(cut)]
    whole = condense.framed(tree(rows, lambda some: work.joined(some, keys)))
    assert whole["count"].sum() == len(ROWS)
    if keys == condense.GROUP_KEYS:
        pd.testing.assert_frame_equal(dlq.groups(whole, window), alone("groups", window))
        pd.testing.assert_frame_equal(dlq.coverage(whole), alone("coverage"))
    pd.testing.assert_frame_equal(dlq.counts(whole, keys, window), alone("counts", keys, window))


@settings(few, max_examples=10)  # each takes a second
@given(cut=cuts(), sample=st.sampled_from([20, 50_000]), group=st.integers(0, 3))
def test_lift_does_not_depend_on_the_parts(cut, sample, group):
    name = alone("groups")["fingerprint"][group]
    tasks = ROWS.loc[ROWS["fingerprint"] == name, "task_name"].unique()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(contrast, "SAMPLE", sample)
        tallies = []
        for one in pieces(cut):
            inside = (one["fingerprint"] == name).to_numpy()
            tallies.append(
                contrast.tally(one, inside, one["task_name"].isin(tasks).to_numpy() & ~inside)
            )
        found = contrast.told([tree(tallies, work.tallied)])
        whole = dlq.lift(ROWS, name)
    pd.testing.assert_frame_equal(found, whole)
    assert found.attrs == whole.attrs
