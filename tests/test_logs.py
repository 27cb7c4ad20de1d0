"""Logs of Celery workers as a source: a real worker's, a journal's, rotated ones, and arbitrary bytes."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery import Celery
from hypothesis import given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis.errors import SettingsError
from dlqanalysis.model import Selection
from dlqanalysis.sources.logs import open_source
from dlqanalysis.sources.logs.events import exception
from tests.source_suite import check_source
from tests.waiting import until

ROOT = Path(__file__).parents[1]
DAY = "2026-11-22 "
TRACE = """Traceback (most recent call last):
  File "/srv/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/app/tasks.py", line 9, in send
    raise OperationalError("no route to host\\nis it up?")
django.db.utils.OperationalError: no route to host
is it up?
"""
LOG = f"""\
[{DAY}01:00:00,000: INFO/MainProcess] Connected to redis://cache:6379/0
[{DAY}01:00:01,100: INFO/MainProcess] Task api.send[a-1] received
[{DAY}01:00:02,200: ERROR/ForkPoolWorker-1] Task api.send[a-1] raised unexpected: OperationalError('no route to host\\nis it up?')
{TRACE}\
[{DAY}01:00:03,000: INFO/ForkPoolWorker-2] Task api.memo[b-1] retry: Retry in 60s: ConnectionError("it's \\xe9")
[{DAY}01:01:03,000: INFO/ForkPoolWorker-2] Task api.memo[b-1] retry: Retry in 60s: TimeoutError()
[{DAY}01:02:03,000: INFO/ForkPoolWorker-2] Task api.memo[b-1] succeeded in 0.5s: None
[{DAY}01:02:04,000: INFO/ForkPoolWorker-2] Task api.memo[b-2] retry: Retry in 60s: KeyError('x')
[{DAY}01:02:05,000: INFO/ForkPoolWorker-2] Task api.memo[b-3] retry: Retry in 60s: KeyError('x')
[{DAY}01:03:05,000: ERROR/ForkPoolWorker-2] Task api.memo[b-3] raised unexpected: KeyError('x')
Traceback (most recent call last):
  File "/srv/app/tasks.py", line 3, in memo
    d['x']
KeyError: 'x'
[{DAY}01:04:00,000: ERROR/MainProcess] Hard time limit (300s) exceeded for api.pdf[c-1]
[{DAY}01:04:00,001: ERROR/MainProcess] Task handler raised error: TimeLimitExceeded(300)
Traceback (most recent call last):
  File "/srv/billiard/pool.py", line 684, in on_hard_timeout
    raise TimeLimitExceeded(job._timeout)
billiard.einfo.ExceptionWithTraceback: TimeLimitExceeded(300,)
[{DAY}01:05:00,000: ERROR/MainProcess] Task handler raised error: WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 3.')
[{DAY}01:06:00,000: ERROR/MainProcess] Received unregistered task of type 'api.gone'.
The message has been ignored and discarded.

The full contents of the message headers:
{{'lang': 'py', 'task': 'api.gone', 'id': 'd-1', 'retries': 0}}
[{DAY}01:07:00,000: INFO/MainProcess] Discarding revoked task: api.send[e-1]
[{DAY}01:08:00,000: ERROR/MainProcess] consumer: Cannot connect to redis://cache:6379/0: refused.
[{DAY}01:09:00,000: INFO/ForkPoolWorker-1] api.send[z-9]: saw Task api.send[a-1] succeeded in 3s: quoted by the task
"""


def write(folder: Path, text: "str | bytes" = LOG, name: str = "celery.log") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def url(path: Path, options: str = "tz=UTC") -> str:
    return f"log+file://{path}?{options}"


def rows(path: Path, options: str = "tz=UTC", **asked):
    return dlq.load(url(path, options), **{"since": None, "status": None, **asked})


def test_the_suite(tmp_path):
    path = write(tmp_path)

    def state():
        return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns

    check_source(dlq.connect(url(path)), state)
    assert dlq.connect(url(path)).name == "log:celery.log"


def test_what_each_line_becomes(tmp_path):
    found = rows(write(tmp_path))
    told = found[["task_id", "status", "exception_type", "exception_message", "retries"]]
    assert told.astype(object).where(told.notna(), None).to_numpy().tolist() == [
        ["a-1", "failed", "OperationalError", "no route to host\nis it up?", 0],
        ["b-1", "succeeded", "TimeoutError", "", 2],
        ["b-2", "retrying", "KeyError", "'x'", 1],
        ["b-3", "failed", "KeyError", "'x'", 1],
        ["c-1", "failed", "TimeLimitExceeded", "TimeLimitExceeded(300,)", 0],
        [None, "failed", "WorkerLostError",
         "Worker exited prematurely: signal 9 (SIGKILL) Job: 3.", 0],
        ["d-1", "failed", "NotRegistered", "api.gone", 0],
        ["e-1", "revoked", None, "", 0],
    ]  # fmt: skip
    first = found.iloc[0]
    assert first["failed_at"].isoformat() == "2026-11-22T01:00:02.200000+00:00"
    assert (first["worker"], first["payload_state"]) == ("ForkPoolWorker-1", "missing")
    assert found["first_failed_at"].iloc[3].minute == 2 and found["failed_at"].iloc[3].minute == 3
    assert any(
        "1 line at ERROR" in note and "without a task" in note for note in found.attrs["notes"]
    )


def test_only_what_failed_for_good_is_loaded_unless_asked(tmp_path):
    path = write(tmp_path)
    failed = dlq.load(url(path), since=None)
    assert failed["task_id"].dropna().tolist() == ["a-1", "b-3", "c-1", "d-1"]
    assert rows(path, status="retrying")["task_id"].tolist() == ["b-2"]


def test_tracebacks_and_bytes_are_read_at_the_lines_place(tmp_path):
    path = write(tmp_path)
    source = dlq.connect(url(path))
    found = dlq.load(source, since=None, columns=["traceback", "raw"])
    first = found.iloc[0]
    assert first["traceback"] == TRACE
    assert first["raw"].endswith(TRACE.encode()) and b"raised unexpected" in first["raw"]
    offset = int(first["failure_id"].rpartition(":")[2])
    assert path.read_bytes()[offset:].startswith(b"[2026-11-22 01:00:02,200: ERROR")


def test_ids_stay_while_the_file_grows_and_when_it_is_rotated_and_packed(tmp_path):
    path = write(tmp_path)
    before = rows(path)["failure_id"].tolist()
    with path.open("a") as log:
        log.write(f"[{DAY}02:00:00,000: ERROR/W] Task api.send[f-1] raised unexpected: E('x')\n")
        log.write(f"[{DAY}02:00:01,000: INFO/W] Task api.memo[b-2] succeeded in 1s: None\n")
    grown = rows(path)
    assert grown["failure_id"].tolist()[: len(before)] == before
    assert grown["status"].iloc[2] == "succeeded" and grown["task_id"].iloc[-1] == "f-1"
    packed = tmp_path / "celery.log.1.gz"
    with path.open("rb") as log, gzip.open(packed, "wb") as out:
        shutil.copyfileobj(log, out)
    again = rows(packed, columns=["traceback"])
    assert again["failure_id"].tolist() == grown["failure_id"].tolist()
    assert again["traceback"].iloc[0] == TRACE


def test_a_rotated_set_is_one_story(tmp_path):
    older, newer = LOG.splitlines(keepends=True)[:14], LOG.splitlines(keepends=True)[14:]
    write(tmp_path, "".join(older), "celery.log.1")
    done = f"[{DAY}01:02:59,000: INFO/W] Task api.memo[b-2] succeeded in 1s: None\n"
    write(tmp_path, done + "".join(newer), "celery.log")
    whole = rows(tmp_path / "celery.log*")
    status = whole.set_index("task_id")["status"]
    assert status["b-1"] == "succeeded" and status["b-2"] == "succeeded"
    assert whole.set_index("task_id")["retries"]["b-3"] == 1
    assert set(whole["source"]) == {"log:celery.log*"}
    assert len(dlq.details(url(tmp_path / "celery.log*"), whole)["raw"].dropna()) == len(whole)


def test_copies_of_a_log_are_told(tmp_path):
    write(tmp_path)
    write(tmp_path, name="celery.log.bak")
    found = rows(tmp_path / "celery.log*")
    assert found["failure_id"].is_unique and (found["task_id"] == "a-1").sum() == 2
    assert any("is a copy" in note for note in found.attrs["notes"])


def test_a_time_without_a_zone_is_not_guessed(tmp_path):
    path = write(tmp_path)
    with pytest.raises(SettingsError, match=r"log\+file://.*celery\.log\?tz=UTC"):
        dlq.load(str(path), since=None)
    berlin = rows(path, "tz=Europe/Berlin")
    assert berlin["failed_at"].iloc[0].isoformat() == "2026-11-22T00:00:02.200000+00:00"
    zoned = LOG.replace(",200:", ",200+0200:").replace(",000:", ",000Z:").replace(",100:", "Z:")
    path = write(tmp_path, zoned.replace(",001:", "Z:"), "zoned.log")
    assert dlq.load(path, since=None)["failed_at"].iloc[0].hour == 23


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("{day} {time},123 ERROR celery.app.trace ", ""),
        ("{day} {time},123 - celery.app.trace - ERROR - ", ""),
        ("ERROR {day} {time},123 trace 4711 140 ", ""),
        ("{day}T{time}.123Z [error] ", ""),
        ("22/Nov/2026:{time} |E| ",
         r"&line=%5E(%3FP%3Ctime%3E%5CS%2B)%20%5C%7CE%5C%7C%20(%3FP%3Cmessage%3E.*)"
         r"&time=%25d/%25b/%25Y:%25H:%25M:%25S"),
    ],
)  # fmt: skip
def test_other_formats(tmp_path, head, options):
    lines = head.format(day="2026-11-22", time="01:00:02")
    log = (
        f"{lines}Task api.send[a-1] raised unexpected: OperationalError('x')\n{TRACE}"
        f"{lines}Task api.send[a-2] retry: Retry in 3s: E()\n{lines}nothing about a task\n"
    )
    found = rows(write(tmp_path, log, "app.log"), f"tz=UTC{options}", columns=["traceback"])
    assert found["task_id"].tolist() == ["a-1", "a-2"]
    assert found["failed_at"].iloc[0].strftime("%F %T") == "2026-11-22 01:00:02"
    assert found["traceback"].iloc[0] == TRACE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("tz=Mars/Base", "no time zone"),
        ("zone=UTC", "tz"),
        ("line=%28", "regular expression"),
        ("line=.*", "time"),
    ],
)
def test_a_wrong_option_is_a_sentence(tmp_path, options, says):
    with pytest.raises(SettingsError, match=says):
        rows(write(tmp_path), options)


def test_a_log_that_is_not_understood_says_how_to_be(tmp_path):
    found = rows(write(tmp_path, "one\ntwo\n"))
    assert not len(found) and "line=" in found.attrs["notes"][0]
    with pytest.raises(SettingsError, match="no log"):
        rows(tmp_path / "none.log")


def test_a_log_in_other_words_says_that_it_makes_no_rows(tmp_path):
    log = "[2026-11-22 01:00:02] ERROR Job failed: HTTP 429\n[2026-11-22 01:00:03] INFO DLQ has 3\n"
    head = "%5E%5C%5B(%3FP%3Ctime%3E%5B%5E%5C%5D%5D%2B)%5C%5D%20%5Cw%2B%20(%3FP%3Cmessage%3E.*)"
    found = rows(write(tmp_path, log, "app.log"), f"tz=UTC&line={head}")
    assert not len(found)
    assert "None of 2 lines of app.log is about a task" in found.attrs["notes"][0]


def entry(second: int, text, pid="7", unit="celery.service") -> str:
    fields = {
        "__REALTIME_TIMESTAMP": str(1_795_309_200_000_000 + second * 1_000_000),
        "MESSAGE": text,
        "_PID": pid,
        "_SYSTEMD_UNIT": unit,
        "_HOSTNAME": "box",
    }
    return json.dumps(fields) + "\n"


def journal() -> str:
    head = "[2031-01-01 00:00:00,000: ERROR/W]"  # the journal's own time is taken
    raised = f"{head} Task api.send[a-1] raised unexpected: OperationalError('no route')"
    trace = [entry(0, line) for line in TRACE.splitlines()]
    other = entry(0, "Traceback of somebody else", unit="nginx.service")
    return "".join(
        [
            entry(0, raised), *trace[:3], other, *trace[3:],
            entry(0, list(f"{head} Task api.send[\xe9] raised unexpected: E('x')".encode("latin-1"))),
            entry(1, "Task api.memo[b-1] retry: Retry in 1s: E('y')", pid="8"),
            entry(9, "Task api.memo[b-1] succeeded in 1s: None", pid="9"),
            entry(9, None),
            entry(10, f"{head} Task api.send[a-2] raised unexpected: E('z')"),
            "{no json\n",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["worker.journal.json", "worker.jsonl"])
def test_a_journals_export(tmp_path, name):
    path = write(tmp_path, journal(), name)
    found = dlq.load(path, since=None, status=None, columns=["traceback"])
    assert found["task_id"].tolist() == ["a-1", "\\xe9", "b-1", "a-2"]
    assert found["status"].tolist() == ["failed", "failed", "succeeded", "failed"]
    assert found["traceback"].iloc[0] == TRACE and found["worker"].iloc[0] == "box"
    assert found["failed_at"].iloc[0].strftime("%F") == "2026-11-22"
    check_source(dlq.connect(path), path.read_bytes)


def test_a_real_workers_log(redis_shop):
    failed = redis_shop.send("api.tasks.generate_memo", property_id=4_000_001, template_id=1)
    amiss = redis_shop.send(
        "billing.tasks.charge_invoice", invoice_id=7, amount_cents=-5, currency="EUR",
        customer="c", idempotency_key="k",
    )  # fmt: skip
    redis_shop.wait_for("select count(*) from failed_tasks", 2)
    [log] = redis_shop.world.parent.glob("*.worker.log")
    until(lambda: len(rows(log)) >= 2)
    found = rows(log)
    recorded = dict(redis_shop.rows("select task_id, exception_message from failed_tasks"))
    types = dict(redis_shop.rows("select task_id, exception_type from failed_tasks"))
    assert set(found["task_id"]) == {failed, amiss}
    for row in found.itertuples():
        assert row.exception_message == recorded[row.task_id]
        assert row.exception_type == types[row.task_id]
    assert set(found["task_name"]) == {"api.tasks.generate_memo", "billing.tasks.charge_invoice"}


TASKS = "fine raises expected recovers gives_up slow softly killed rejected unknown"


@pytest.fixture
def worked(redis_url, queue_name, tmp_path):
    """The log of a real prefork worker that has done each task of tests.log_app, and the tasks' ids."""
    path, queue = tmp_path / "celery.log", queue_name("logs")
    environment = {
        **os.environ,
        "LOG_BROKER": redis_url,
        "LOG_QUEUE": queue,
        "TZ": "America/New_York",
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.log_app", "worker", "-P", "prefork", "-c", "3", "-l", "INFO"]  # fmt: skip
    command += ["--logfile", str(path), "--without-gossip", "--without-mingle"]
    with Celery("producer", broker=redis_url) as app:
        ids = {name: app.send_task(f"log.{name}", queue=queue).id for name in TASKS.split()}
        # the pool keeps what it cannot say; its own output is no part of the log
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    patient_until = time.monotonic() + 120
    try:
        while True:
            told = path.read_text() if path.exists() else ""
            done = sum(one in told for one in ("WorkerLostError(", "Hard time", "SoftTimeLimitExceeded()", "reject requeue", "TimeoutError('too late')\nTrace"))  # fmt: skip
            if done == 5 and told.count("succeeded in") == 2 and "unregistered" in told:
                break
            assert time.monotonic() < patient_until, told
            time.sleep(0.1)
    finally:
        worker.terminate()
        worker.wait(20)
    return path, ids


def test_each_end_of_a_task_in_a_real_workers_log(worked):
    path, ids = worked
    found = rows(path, "tz=America/New_York", columns=["traceback"])
    by_id = {name: found[found["task_id"] == task_id] for name, task_id in ids.items()}
    told = {
        name: (row["status"].iloc[0], row["exception_type"].iloc[0], row["retries"].iloc[0])
        for name, row in by_id.items()
        if len(row)
    }
    # two processes write into one file: a line of one may be torn by the other, and is not counted then
    assert told["recovers"][2] in (1, 2)
    told["recovers"] = (*told["recovers"][:2], 2)
    assert told == {
        "raises": ("failed", "RuntimeError", 0),
        "expected": ("failed", "LookupError", 0),
        "recovers": ("succeeded", "ConnectionError", 2),
        "gives_up": ("failed", "TimeoutError", 1),
        "slow": ("failed", "TimeLimitExceeded", 0),
        "softly": ("failed", "SoftTimeLimitExceeded", 0),
        "rejected": ("rejected", "Reject", 0),
        "unknown": ("failed", "NotRegistered", 0),
    }
    [killed] = found[found["task_id"].isna()].itertuples()
    assert killed.exception_type == "WorkerLostError" and "SIGKILL" in killed.exception_message
    raised = by_id["raises"].iloc[0]
    assert raised["exception_message"] == 'it\'s "bad"\nand \xe9 worse'
    assert "KeyError: 'tenant'" in raised["traceback"]
    slow = by_id["slow"].iloc[0]
    assert slow["exception_message"] == "TimeLimitExceeded(1,)" and "Traceback" in slow["traceback"]
    assert by_id["rejected"].iloc[0]["exception_message"] == "no use"
    age = datetime.now(UTC) - found["failed_at"].max()
    assert 0 <= age.total_seconds() < 600


@pytest.mark.parametrize(
    ("told", "is_"),
    [
        ("ValueError('a')", ("ValueError", "a")),
        ('ValueError("it\'s")', ("ValueError", "it's")),
        (r"ValueError('a\n\'b\'\x00\ud800')", ("ValueError", "a\n'b'\x00\\ud800")),
        ("OSError(111, 'refused')", ("OSError", "111, 'refused'")),
        ("<DoesNotExist: no row>", ("DoesNotExist", "no row")),
        ("E()", ("E", "")),
        ("something else", (None, "something else")),
    ],
)
def test_exceptions_are_read_from_their_repr_and_never_evaluated(told, is_):
    assert exception(told, "") == is_


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from([line.encode() for line in LOG.splitlines(keepends=True)]),
            st.sampled_from([line.encode() for line in journal().splitlines(keepends=True)]),
        ),
        max_size=12,
    )
)
def test_no_bytes_make_it_fail(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(b"".join(parts))
    for options in ("tz=UTC", "tz=UTC&line=(%3FP%3Ctime%3E.%7B0,24%7D)(%3FP%3Cmessage%3E.*)"):
        dlq.load(url(path, options), since=None, status=None, columns=["traceback", "raw"])


def test_a_large_log_takes_little_memory(tmp_path):
    line = f"[{DAY}01:00:03,000: INFO/W] Task api.memo[%d] succeeded in 0.5s: None\n"
    path = write(tmp_path, "".join(line % n for n in range(90_000)) + LOG + "x" * 3_000_000)
    source = open_source(url(path))
    source.read(Selection(), [])  # what is made once is made now
    tracemalloc.start()
    try:
        read = source.read(Selection(), [])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read.table.num_rows == 5
    assert peak < 5_000_000 < path.stat().st_size / 2, peak


def test_nothing_is_replayed_from_a_log(tmp_path):
    told = dlq.capabilities(str(write(tmp_path))).set_index("capability")
    assert told.loc["read", "can"] and not told.loc["replay", "can"]
    with pytest.raises(SettingsError, match="cannot be replayed from"):
        dlq.connect_hand(url(tmp_path / "celery.log"))


@pytest.mark.parametrize(
    "evil",
    [
        "Task " * 200_000,
        "Task a[" * 140_000,
        "Task a[b] raised unexpected: E(" + "(" * 900_000,
        "Task a[b] raised unexpected: E('" + "\\" * 900_000,
        "Task a[b] raised unexpected: E('x')\n" + '  File "' * 30_000 + "\nE" * 50_000,
    ],
    ids=lambda text: text[:32],
)
def test_hostile_lines_take_time_in_proportion(tmp_path, evil):
    path = write(tmp_path, f"2026-11-22 01:00:00 {evil}\n" * 3)
    rows(path)  # what is made once is made now
    began = time.process_time()
    open_source(url(path)).read(Selection(), ["traceback"])
    assert time.process_time() - began < 5
