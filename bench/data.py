"""A million failures in every place that a bench reads from: the same ones each time, made once, found again.

DLQ_BENCH_POSTGRES_URL and DLQ_BENCH_REDIS_URL name servers to use; without them, embedded ones are started.
What is put there stays (a schema, keys with a prefix of their own) and is used by the next run.
"""

import contextlib
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench.messages import errors
from dlqanalysis.demo import servers

LAYOUT = 1  #: raise it when the data changes
END = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1e6)
TASKS = [f"{app}.tasks.{name}" for app in ("api", "billing", "exports") for name in
         ("generate_memo", "send_email", "resize_image", "sync_listing")]  # fmt: skip
QUEUES = ["memos", "emails", "images", "listings", "billing", "default"]
_CHUNK = 100_000
_TABLE = """create table {schema}.failed_tasks (
    id bigint primary key, task_id text not null, task_name text not null, queue_name text not null,
    args jsonb, kwargs jsonb, exception_type text not null, exception_message text not null,
    traceback text, retries_attempted integer not null, max_retries integer, failed_at timestamptz not null,
    status text not null check (status in ('failed', 'replayed', 'archived')), worker text)"""


def chunks(rows: int) -> Iterator[pa.Table]:
    """The failures as columns of `failed_tasks`, oldest first: 12 tasks, 6 queues, 60 kinds of errors, tracebacks
    of 1 to 3 KB."""
    for start in range(0, rows, _CHUNK):
        yield _chunk(start, min(_CHUNK, rows - start), rows)


def _chunk(start: int, rows: int, of: int) -> pa.Table:
    pick = random.Random(start)
    found = errors(rows, seed=start)
    tasks = [pick.randrange(len(TASKS)) for _ in range(rows)]
    bits = [pick.getrandbits(128) for _ in range(rows)]
    step = 14 * 86_400_000_000 // of
    columns = {
        "id": list(range(start + 1, start + rows + 1)),
        "task_id": [f"{n:032x}" for n in bits],
        "task_name": [TASKS[n] for n in tasks],
        "queue_name": [QUEUES[n % len(QUEUES)] for n in tasks],
        "args": ["[]"] * rows,
        "kwargs": [
            json.dumps({"property_id": n % 900_000, "template_id": n % 40, "tenant": f"t{n % 97}"})
            for n in bits
        ],
        "exception_type": [kind for kind, _ in found],
        "exception_message": [message for _, message in found],
        "traceback": [
            f"{_frames(task, kind, n % 3)}{kind}: {message}"
            for task, n, (kind, message) in zip(tasks, bits, found, strict=True)
        ],
        "retries_attempted": [n % 4 for n in bits],
        "max_retries": [3] * rows,
        "failed_at": pa.array(
            [END - (of - start - n) * step for n in range(rows)], pa.timestamp("us", "UTC")
        ),
        "status": ["failed"] * rows,
        "worker": [f"worker@shop-{n % 7}" for n in bits],
    }
    return pa.table(columns)


def _frames(task: int, kind: str, depth: int) -> str:
    """What stands above the message: 1 to 3 KB, one of three depths for each task and kind."""
    if (task, kind, depth) not in _FRAMES:
        pick = random.Random(f"{task}{kind}{depth}")
        module, _, name = TASKS[task].rpartition(".")
        lines = ["Traceback (most recent call last):"]
        for n in range(8 + 5 * depth + pick.randrange(4)):
            word = pick.choice(["client", "session", "render", "models", "retry", "adapters"])
            lines += [
                f'  File "/srv/app/{module.replace(".", "/")}/{word}.py", line {pick.randrange(20, 900)}, in {name}_{word}_{n}',
                f"    return self.{word}({name}, attempt=attempt, timeout=settings.TIMEOUT)",
            ]
        _FRAMES[task, kind, depth] = "\n".join(lines) + "\n"
    return _FRAMES[task, kind, depth]


_FRAMES: dict[tuple[int, str, int], str] = {}


@contextlib.contextmanager
def postgres(rows: int) -> Iterator[str]:
    """A URL whose `failed_tasks` holds that many failures."""
    with _server("DLQ_BENCH_POSTGRES_URL", servers.postgres) as url:
        schema = f"dlq_bench_{LAYOUT}_{rows}"
        _fill(url, schema, rows)
        yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={schema}')}"


def _fill(url: str, schema: str, rows: int) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        if connection.execute("select to_regclass(%s)", (f"{schema}.failed_tasks",)).fetchone()[0]:
            return
        connection.execute(f"create schema {schema}")
        connection.execute(_TABLE.format(schema=schema))
        for chunk in chunks(rows):
            buffer = io.BytesIO()
            pa.csv.write_csv(chunk, buffer, pa.csv.WriteOptions(include_header=False))
            with connection.cursor().copy(
                f"copy {schema}.failed_tasks from stdin (format csv)"
            ) as copy:
                copy.write(buffer.getbuffer())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create index on {schema}.failed_tasks (status, queue_name, failed_at)")
        connection.execute(f"create index on {schema}.failed_tasks (failed_at)")
        connection.execute(f"vacuum analyze {schema}.failed_tasks")


@contextlib.contextmanager
def larger(rows: int, times: int) -> Iterator[str]:
    """A URL whose `failed_tasks` holds the failures of `postgres(rows)` that many times, each time an hour earlier
    and under ids of their own: rows of a table, copied by the server."""
    import psycopg

    with postgres(rows) as url:
        base = url.partition("options=")[0].rstrip("?&")
        one, all_ = f"dlq_bench_{LAYOUT}_{rows}", f"dlq_bench_{LAYOUT}_{rows}x{times}"
        with psycopg.connect(base, autocommit=True) as connection:
            found = connection.execute("select to_regclass(%s)", (f"{all_}.failed_tasks",))
            if not found.fetchone()[0]:
                connection.execute(f"drop schema if exists {all_}_part cascade")
                connection.execute(f"create schema {all_}_part")
                connection.execute(
                    f"create unlogged table {all_}_part.failed_tasks (like {one}.failed_tasks)"
                )
                for number in range(times):
                    connection.execute(
                        _AGAIN.format(part=f"{all_}_part", one=one, number=number, rows=rows)
                    )
                connection.execute(f"alter table {all_}_part.failed_tasks add primary key (id)")
                connection.execute(f"create index on {all_}_part.failed_tasks (failed_at)")
                connection.execute(f"vacuum analyze {all_}_part.failed_tasks")
                connection.execute(f"alter schema {all_}_part rename to {all_}")
        yield f"{base}{'&' if '?' in base else '?'}options={quote(f'-csearch_path={all_}')}"


_AGAIN = """insert into {part}.failed_tasks select {number} * {rows} + id, task_id, task_name, queue_name, args, kwargs,
    exception_type, exception_message, traceback, retries_attempted, max_retries,
    failed_at - {number} * interval '1 hour', status, worker from {one}.failed_tasks"""


@contextlib.contextmanager
def redis(jobs: int) -> Iterator[str]:
    """A Redis URL with a BullMQ queue of that many failed jobs, its prefix in the path of `bull`."""
    import redis as library

    with redis_server() as url:
        with library.Redis.from_url(url) as client:
            prefix = f"dlqbench{LAYOUT}-{jobs}"
            if client.zcard(f"{prefix}:work:failed") != jobs:
                fill_bullmq(client, prefix, jobs)
            if client.llen(f"{prefix}:list") != jobs:
                _fill_list(client, f"{prefix}:list", jobs)
        yield url


def redis_server() -> contextlib.AbstractContextManager[str]:
    """The URL of a Redis."""
    return _server("DLQ_BENCH_REDIS_URL", servers.valkey)


def prefix(jobs: int) -> str:
    """How the keys begin that `redis` has made."""
    return f"dlqbench{LAYOUT}-{jobs}"


def fill_bullmq(client: "object", prefix: str, jobs: int) -> None:
    """That many failed jobs in a queue `work`, as BullMQ lays them out."""
    number = 0
    for chunk in chunks(jobs):
        pipe = client.pipeline(transaction=False)  # type: ignore[attr-defined]
        for row in chunk.select(_BULL).to_pylist():
            number += 1
            at = int(row["failed_at"].timestamp() * 1000)
            fields = {
                "name": row["task_name"],
                "data": row["kwargs"],
                "opts": '{"attempts":3,"backoff":{"type":"exponential","delay":1000}}',
                "timestamp": at - 60_000,
                "delay": 0,
                "priority": 0,
                "atm": 3,
                "ats": 3,
                "processedOn": at - 900,
                "finishedOn": at,
                "failedReason": row["exception_message"],
                "stacktrace": json.dumps([row["traceback"]]),
            }
            pipe.hset(f"{prefix}:work:{number}", mapping=fields)
            pipe.zadd(f"{prefix}:work:failed", {str(number): at})
            if not number % 2_000:
                pipe.execute()
        pipe.execute()


_BULL = ["task_name", "kwargs", "exception_message", "traceback", "failed_at"]


def _fill_list(client: "object", key: str, rows: int) -> None:
    client.delete(key)  # type: ignore[attr-defined]
    for chunk in chunks(rows):
        pipe = client.pipeline(transaction=False)  # type: ignore[attr-defined]
        for row in chunk.to_pylist():
            row["failed_at"] = row["failed_at"].isoformat()
            row["args"], row["kwargs"] = json.loads(row["args"]), json.loads(row["kwargs"])
            pipe.rpush(key, json.dumps(row))
            if not row["id"] % 2_000:
                pipe.execute()
        pipe.execute()


def parquet(rows: int, times: int = 1) -> Path:
    """A folder of Parquet parts with that many failures; each part `times` over, under names of its own."""
    if times > 1:
        once, folder = parquet(rows), parquet(rows).with_name(f"{prefix(rows)}-{times}")
        folder.mkdir(exist_ok=True)
        for part in once.glob("*.parquet"):
            for number in range(times):
                again = folder / f"{number}-{part.name}"
                if not again.exists():
                    os.link(part, again)
        return folder
    folder = Path(os.environ.get("DLQ_BENCH_FOLDER", gettempdir())) / prefix(rows)
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for number, chunk in enumerate(chunks(rows)):
            chunk = chunk.rename_columns(
                ["failure_id" if n == "id" else n for n in chunk.column_names]
            )
            pa.parquet.write_table(chunk, folder / f"{number:03}.parquet", compression="zstd")
        (folder / "done").touch()
    return folder


_STAYS: dict[str, tuple[contextlib.ExitStack, str]] | None = (
    None  #: servers that a whole run shares
)


@contextlib.contextmanager
def shared_servers() -> Iterator[None]:
    """While this lasts, a server that one bench starts stays for the next one, with all that is in it."""
    global _STAYS
    _STAYS = {}
    try:
        yield
    finally:
        started, _STAYS = _STAYS, None
        for stack, _ in started.values():
            stack.close()


@contextlib.contextmanager
def _server(
    variable: str, start: Callable[[], contextlib.AbstractContextManager[str]]
) -> Iterator[str]:
    if url := os.environ.get(variable):
        assert urlsplit(url).hostname, f"{variable} is no URL"
        yield url
    elif _STAYS is None:
        with start() as url:
            yield url
    else:
        if variable not in _STAYS:
            stack = contextlib.ExitStack()
            _STAYS[variable] = stack, stack.enter_context(start())
        yield _STAYS[variable][1]
