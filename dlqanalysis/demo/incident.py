"""Two weeks of failures that tell a story: deterministic for a seed and an end, columnar, any number of rows.

stories.toml says what goes wrong; here it gets times, ids and words, chunk by chunk, as Arrow tables with the
columns of shop.sql.
"""

import io
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dlqanalysis.demo.words import FIELD, IMPORT_TENANT, PROPERTIES, TENANTS, Slots, uuids

SEED = 20261120
END = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  #: of the committed export
ROWS = 12_000
HOURS = 14 * 24
CHUNK = 50_000  #: rows made at once: what bounds memory

_ENTRY, _BUSINESS = 0.02, 0.03  # share of exact copies, and of other tasks for the same work
_HOUR = 3_600_000_000  # in microseconds
_TIME = pa.timestamp("us", tz="UTC")
_CELERY = """Traceback (most recent call last):
  File "/usr/local/lib/python3.12/site-packages/celery/app/trace.py", line 564, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/usr/local/lib/python3.12/site-packages/celery/app/trace.py", line 883, in __protected_call__
    return self.run(*args, **kwargs)
"""


class Chunk(NamedTuple):
    """Some rows of failed_tasks, and the communications that prove which of them did their work before."""

    failed_tasks: pa.Table
    communications: pa.Table


@cache
def script() -> dict[str, Any]:
    """stories.toml."""
    return tomllib.loads((files("dlqanalysis.demo") / "stories.toml").read_text("utf-8"))


@cache
def business_keys() -> Mapping[str, str]:
    """task -> template of its business key, from the demo's profile."""
    profile = tomllib.loads((files("dlqanalysis.demo") / "profile.toml").read_text("utf-8"))
    return profile["keys"]


def deploys(end: datetime = END) -> list[dict[str, str]]:
    """What was deployed in the two weeks; one of them broke the memo renderer."""
    broken = next(s["when"]["from"] for s in script()["story"] if s["name"] == "broken release")
    releases = [
        (311.0, "api", "2026.11.1"),
        (262.5, "billing", "2026.11.1"),
        (190.25, "hooks", "2026.11.2"),
        (broken, "api", "2026.11.3"),
        (74.75, "geo-config", "key-2026-11"),
        (23.5, "exports", "2026.11.4"),
    ]
    return [
        {
            "at": (end - timedelta(hours=hours)).isoformat(timespec="seconds"),
            "service": service,
            "version": version,
        }
        for hours, service, version in releases
    ]


def chunks(rows: int = ROWS, seed: int = SEED, end: datetime = END) -> Iterator[Chunk]:
    """The incident, oldest first, about CHUNK rows at a time; `rows` in all."""
    stories = script()["story"]
    rng = np.random.default_rng(seed)
    copies = int(rows * _ENTRY) + int(rows * _BUSINESS)
    shares = np.array([story["share"] for story in stories], float)
    counts = np.floor(shares / shares.sum() * (rows - copies)).astype(int)
    counts[0] += rows - copies - counts.sum()
    last = int(end.timestamp() * 1_000_000)
    times = np.concatenate(
        [_times(rng, s["when"], n, end) for s, n in zip(stories, counts, strict=True)]
    )
    story = np.repeat(np.arange(len(stories), dtype=np.int8), counts)
    order = np.argsort(times, kind="stable")
    times, story = last - times[order][::-1], story[order][::-1]
    first_id = 1
    pieces = max(1, round(rows / CHUNK))
    for number, part in enumerate(np.array_split(np.arange(len(times)), pieces)):
        wanted = rows * (number + 1) // pieces - (first_id - 1)
        chunk = _chunk([seed, number], times[part], story[part], wanted, last)
        ids = pa.array(np.arange(first_id, first_id + wanted))
        first_id += wanted
        yield Chunk(chunk.failed_tasks.add_column(0, "id", ids), chunk.communications)


def _times(
    rng: np.random.Generator, when: Mapping[str, Any], rows: int, end: datetime
) -> np.ndarray:
    """Microseconds before the end."""
    start = when.get("from", HOURS)
    match when["shape"]:
        case "window":
            before = when["to"] + rng.beta(2, 2, rows) * (start - when["to"])
        case "growing":
            before = start * (1 - np.sqrt(rng.random(rows)))
        case _:  # steady or since: office hours more than at night
            hours = np.arange(int(start) + 1)
            clock = (end.hour - 1 - hours) % 24
            weight = 0.25 + np.exp(-(((clock - 13) / 4.5) ** 2))
            before = rng.choice(hours, rows, p=weight / weight.sum()) + rng.random(rows)
            before = np.minimum(before, start - 0.02 - rng.random(rows) * 0.2)
    if when["shape"] == "since" and rows:
        before[0] = start - 41 / 3600  # the first one comes 41 seconds after its cause
    return (np.clip(before, 0.0003, HOURS) * _HOUR).astype(np.int64)


def _chunk(seed: list[int], times: np.ndarray, story: np.ndarray, wanted: int, last: int) -> Chunk:
    tables, done = [], []
    for number, tale in enumerate(script()["story"]):
        mine = times[story == number]
        rng = np.random.default_rng([*seed, number])
        names, weights = zip(*tale["tasks"].items(), strict=True)
        task = rng.choice(len(names), len(mine), p=np.array(weights) / sum(weights))
        weights = np.array([failure["weight"] for failure in tale["failure"]], float)
        failure = rng.choice(len(weights), len(mine), p=weights / weights.sum())
        for t, name in enumerate(names):
            for f, what in enumerate(tale["failure"]):
                at = mine[(task == t) & (failure == f)]
                if len(at):
                    rows, effects = _failures(rng, name, tale, what, at, last)
                    tables.append(rows)
                    done.append(effects)
    base = pa.concat_tables(tables)
    rng = np.random.default_rng([*seed, 99])
    full = _with_copies(rng, base, wanted - base.num_rows, last)
    return Chunk(full.sort_by("failed_at"), pa.concat_tables(done))


def _failures(
    rng: np.random.Generator,
    task: str,
    tale: Mapping[str, Any],
    what: Mapping[str, Any],
    at: np.ndarray,
    last: int,
) -> tuple[pa.Table, pa.Table]:
    """Rows of one task and one kind of failure, and the side effects that some of them had."""
    rows, about = len(at), script()["task"][task]
    when = pa.array(at).cast(_TIME)
    slots = Slots(
        rng, rows, {"day": pc.strftime(when, "%Y-%m-%d"), "month": pc.strftime(when, "%Y-%m")}
    )
    for name, other in tale.get("fill", {}).items():
        made = pa.repeat(pa.scalar(other), rows) if other == IMPORT_TENANT else slots[other]
        slots = Slots(rng, rows, {**slots.made, name: made})
    kwargs = about["kwargs"]
    if extra := tale.get("extra"):
        kwargs = f"{kwargs[:-1]}, {extra}}}"
    text = f"{_CELERY}{about['app']}{what['frames']}{what['qualified']}: {what['message']}"
    retries = np.full(rows, tale["retries"], np.int32)
    first = at - retries * rng.integers(20_000_000, 90_000_000, rows)
    age_days = (last - at) / (24 * _HOUR)
    status = np.where(
        (age_days > 3) & (rng.random(rows) < 0.1) & (tale["retries"] > 0), 1, 0
    )  # 1: somebody has replayed it
    status = np.where((age_days > 9) & (rng.random(rows) < 0.05), 2, status)
    replayed = pa.array(at + rng.integers(1, 40, rows) * _HOUR, mask=status != 1)
    identity = uuids(rng, rows)
    table = pa.table(
        {
            "task_id": identity,
            "task_name": pa.repeat(pa.scalar(task), rows),
            "queue_name": pa.repeat(pa.scalar(about["queue"]), rows),
            "args": pa.repeat(pa.scalar("[]"), rows),
            "kwargs": slots.fill(kwargs),
            "body": pa.nulls(rows, pa.string()),
            "exception_type": pa.repeat(pa.scalar(what["type"]), rows),
            "exception_message": slots.fill(what["message"]),
            "traceback": slots.fill(what.get("cause", "") + text),
            "retries_attempted": pa.array(retries),
            "max_retries": pa.repeat(pa.scalar(3, pa.int32()), rows),
            "priority": pa.nulls(rows, pa.int32()),
            "enqueued_at": pa.array(first - rng.integers(200_000, 30_000_000, rows)).cast(_TIME),
            "first_failed_at": pa.array(first).cast(_TIME),
            "failed_at": when,
            "replayed_at": pc.min_element_wise(replayed, last - 60_000_000, skip_nulls=False).cast(_TIME),
            "replayed_task_id": pc.if_else(pa.array(status == 1), uuids(rng, rows), None),
            "status": pa.array(np.array(["failed", "replayed", "archived"], object)[status], pa.string()),
            "worker": Slots(rng, rows, {"n": pa.array(rng.integers(1, 7, rows)).cast(pa.string())}).fill("worker@shop-$n"),
            "idempotency_key": slots.fill("charge_$invoice_id") if task.endswith("charge_invoice") else pa.nulls(rows, pa.string()),
            "trace_id": slots["trace"],
        }
    )  # fmt: skip
    if tale.get("payload") == "unreadable":
        table = _unreadable(table, slots)
    return table, _effects(rng, task, tale, slots, table)


def _unreadable(table: pa.Table, slots: Slots) -> pa.Table:
    """Payloads cut off in the middle, pickled, or lost."""
    rows = table.num_rows
    kind = np.arange(rows) % 3
    cut = slots.fill("\"({'property_id': $property_id, 'note': 'see $hex16 and $hex8 for ...\"")
    pickled = slots.fill("\\x80059528000000000000007d94288c0b70726f70657274795f6964$hex8")
    for name, value in (
        (
            "args",
            pc.case_when(
                pc.make_struct(kind == 0, kind == 1),
                cut,
                slots.fill('"gASVKAAAAAAAAAB9lIwL$hex16"'),
            ),
        ),
        ("kwargs", pa.nulls(rows, pa.string())),
        ("body", pc.if_else(pa.array(kind == 1), pickled, None)),
    ):
        table = table.set_column(table.column_names.index(name), name, value)
    return table


def _effects(
    rng: np.random.Generator, task: str, tale: Mapping[str, Any], slots: Slots, table: pa.Table
) -> pa.Table:
    """What some of these tasks did before they failed, as rows of communications."""
    rows = table.num_rows
    key = business_keys().get(task)
    done = pa.array(rng.random(rows) < (tale.get("done", 0) if key else 0))
    nothing = pa.nulls(rows, pa.string())
    has = script()["task"][task]["kwargs"]
    if "$email" in has:
        slots.made["to"] = slots["email"]
    made = pa.table(
        {
            "property_id": slots["property_id"] if "$property_id" in has else nothing,
            "template_id": slots["template_id"] if "$template_id" in has else nothing,
            "channel": pa.repeat(pa.scalar(CHANNELS.get(task, "other")), rows),
            "recipient": slots["email"] if "$email" in has else nothing,
            "idempotency_key": slots.fill(key, FIELD) if key else nothing,
            "task_id": table["task_id"],
            "created_at": pc.subtract(table["failed_at"], pa.scalar(1_000_000, pa.duration("us"))),
        }
    )
    return made.filter(done)


#: task -> the channel under which the shop notes it
CHANNELS = {
    "api.tasks.generate_memo": "memo",
    "api.tasks.send_email": "email",
    "api.tasks.send_digest": "digest",
    "billing.tasks.charge_invoice": "charge",
}


def _with_copies(rng: np.random.Generator, base: pa.Table, copies: int, last: int) -> pa.Table:
    """The rows, and copies of some: recorded twice, or enqueued a second time for the same work."""
    exact = int(copies * _ENTRY / (_ENTRY + _BUSINESS))
    complete = np.flatnonzero(pc.is_valid(base["kwargs"]).to_numpy())
    keyed = pc.is_in(base["task_name"], pa.array(list(business_keys()))).to_numpy()
    again = base.take(rng.choice(complete, exact))
    other = base.take(rng.choice(complete[keyed[complete]], copies - exact))
    other = _set(other, "task_id", uuids(rng, other.num_rows))
    parts = [base]
    for table, most in ((again, 120), (other, 4 * 3600)):
        later = rng.integers(1_000_000, most * 1_000_000, table.num_rows)
        at = np.minimum(table["failed_at"].cast(pa.int64()).to_numpy() + later, last - 1_000_000)
        for name in ("replayed_at", "replayed_task_id"):
            table = _set(table, name, pa.nulls(table.num_rows, table[name].type))
        table = _set(table, "status", pa.repeat(pa.scalar("failed"), table.num_rows))
        parts.append(_set(table, "failed_at", pa.array(at).cast(_TIME)))
    return pa.concat_tables(parts)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def properties() -> pa.Table:
    """The table properties; the rolled-back import is not in it."""
    ids = np.arange(1, PROPERTIES + 1)
    street = pc.binary_join_element_wise(
        pa.array(ids % 400).cast(pa.string()), " Harbour Street", ""
    )
    return pa.table(
        {
            "id": ids,
            "tenant": pa.array(np.array(TENANTS, object)[ids % len(TENANTS)], pa.string()),
            "address": street,
            "state": pa.array(np.array(["listed", "sold", "draft"], object)[ids % 3], pa.string()),
        }
    )


def executions(rows: int = 30_000, seed: int = SEED, end: datetime = END) -> pa.Table:
    """Tasks of the two weeks that went well, for success rates."""
    rng = np.random.default_rng([seed, 1])
    tasks = list(script()["task"])
    queues = [about["queue"] for about in script()["task"].values()]
    which = rng.integers(0, len(tasks), rows)
    at = int(end.timestamp() * 1_000_000) - _times(rng, {"shape": "steady"}, rows, end)
    return pa.table(
        {
            "task_id": uuids(rng, rows),
            "task_name": pa.array(np.array(tasks, object)[which], pa.string()),
            "queue_name": pa.array(np.array(queues, object)[which], pa.string()),
            "status": pa.repeat(pa.scalar("success"), rows),
            "runtime_ms": pa.array(rng.lognormal(5.5, 0.8, rows).astype(np.int32)),
            "worker": pa.repeat(pa.scalar("worker@shop-1"), rows),
            "created_at": pa.array(at).cast(_TIME),
        }
    ).sort_by("created_at")


def load(
    database: str, rows: int = ROWS, seed: int = SEED, end: datetime = END, history: bool = True
) -> int:
    """Put the incident into the shop's empty tables; gives the number of failures. COPY, chunk by chunk."""
    import psycopg

    written = 0
    with psycopg.connect(database) as connection:
        _copy(connection, "properties", properties())
        if history:
            _copy(connection, "task_executions", executions(seed=seed, end=end))
        for chunk in chunks(rows, seed, end):
            _copy(connection, "failed_tasks", chunk.failed_tasks)
            _copy(connection, "communications", chunk.communications)
            written += chunk.failed_tasks.num_rows
        connection.execute(
            "select setval(pg_get_serial_sequence('failed_tasks', 'id'), max(id)) from failed_tasks"
        )
        if history:
            connection.execute(
                "insert into task_executions (task_id, task_name, queue_name, status, worker, created_at)"
                " select task_id, task_name, queue_name, 'failed', worker, failed_at from failed_tasks"
            )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("analyze")
    return written


def _copy(connection: Any, table: str, rows: pa.Table) -> None:
    from psycopg import sql

    buffer = io.BytesIO()
    pa.csv.write_csv(rows, buffer, pa.csv.WriteOptions(include_header=False))
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    )
    with connection.cursor().copy(statement) as copy:
        copy.write(buffer.getbuffer())
