"""What jobs say at this moment, so that a hand acts on nothing that is not as it was planned."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlqanalysis.frame import content_hash
from dlqanalysis.sources._redis import answers
from dlqanalysis.sources.bullmq import jobs
from dlqanalysis.sources.bullmq.keys import Failure, Keys

if TYPE_CHECKING:
    import redis

_HASHED = ("task_id", "task_name", "queue", "args", "kwargs")
_SEALED = ("name", "data", "opts", "priority", "parentKey")  # what the scripts compare
_READ = (*jobs.FIELDS, "parentKey", "parent")
Fields = dict[str, bytes | None]


def look(
    client: "redis.Redis", prefix: bytes, failures: Sequence[Failure]
) -> dict[Failure, Fields | None]:
    """What each job says now; None where its key is no hash."""
    import redis

    asked = [("HMGET", Keys(prefix, one.queue)(one.job), *_READ) for one in failures]
    found: dict[Failure, Fields | None] = {}
    for one, row in zip(failures, answers(client, asked), strict=True):
        if isinstance(row, Exception):
            if not isinstance(row, redis.ResponseError) or "WRONGTYPE" not in str(row):
                raise row
            found[one] = None
        else:
            found[one] = dict(zip(_READ, row, strict=True))
    return found


def contents(fields: Mapping[Failure, Fields | None]) -> dict[Failure, tuple[str, bool]]:
    """The content hash of each job as it is now, and whether a worker can run it; by the source's own
    mapping. Nothing for those that are no hash.
    """
    found = {}
    for queue in {one.queue for one in fields}:
        ones = [one for one, have in fields.items() if one.queue == queue and have is not None]
        values = {name: [(fields[one] or {}).get(name) for one in ones] for name in jobs.FIELDS}
        table = jobs.columns(queue, [one.job for one in ones], [one.score for one in ones], values)
        rows = zip(*(table[name].to_pylist() for name in _HASHED), strict=True)
        whole = [state == "complete" for state in table["payload_state"].to_pylist()]
        found |= {
            one: (content_hash(*row), good)
            for one, row, good in zip(ones, rows, whole, strict=True)
        }
    return found


def errors(
    client: "redis.Redis", prefix: bytes, failures: Sequence[Failure]
) -> dict[Failure, tuple[str, str]]:
    """Exception type and message of each job as it failed last; by the source's own mapping."""
    asking = client.pipeline(transaction=False)
    names = (*jobs.FIELDS, "stacktrace")
    for one in failures:
        asking.execute_command("HMGET", Keys(prefix, one.queue)(one.job), *names)
    found = {}
    for one, row in zip(failures, asking.execute(raise_on_error=False), strict=True):
        if isinstance(row, Exception):
            continue
        fields = {name: [value] for name, value in zip(names, row, strict=True)}
        stacks = jobs.Stacks.of(fields.pop("stacktrace"))
        table = jobs.columns(one.queue, [one.job], [one.score], fields, stacks)
        kind, message = (table[n][0].as_py() for n in ("exception_type", "exception_message"))
        found[one] = kind or "", message or ""
    return found


def seal(have: Fields) -> str:
    """What of a job must not change between our look and the script, as head.lua computes it."""
    values = [have[name] for name in _SEALED]
    parts = [b"-" if value is None else b"%d:%s" % (len(value), value) for value in values]
    return hashlib.sha1(b"".join(parts)).hexdigest()


def parent(have: Fields) -> tuple[bytes, bytes]:
    """(queue key, id) of a job's parent; empty where there is none."""
    key = have["parentKey"] or b""
    if not key:
        return b"", b""
    try:
        told = json.loads(have["parent"] or b"{}")
        queue, name = str(told["queueKey"]).encode(), str(told["id"]).encode()
        if queue + b":" + name == key:
            return queue, name
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    queue, _, name = key.rpartition(b":")
    return queue, name
