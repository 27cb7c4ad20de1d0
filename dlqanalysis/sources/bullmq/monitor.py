"""How BullMQ's queues are now: depths, workers, what they hold, what stalled, and Redis itself. Reads only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from dlqanalysis import readings
from dlqanalysis.errors import DLQError
from dlqanalysis.frame import from_arrow, from_records
from dlqanalysis.model import Finding
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.bullmq import health, jobs, standing
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Keys, shown
from dlqanalysis.sources.bullmq.pages import find_queues, no_queue, unheard_of
from dlqanalysis.sources.bullmq.workers import workers

if TYPE_CHECKING:
    import redis

#: BullMQ's word -> this house's
_STATUS = {"active": "active", "delayed": "scheduled"}
_FAILED = ["keeps", "gone", "traceback_bytes", "expires_at"]  # columns that only failures have
_HIDDEN = "this Redis or user lists no clients, so that workers cannot be told"


class BullMonitor:
    """Looks at the queues of one prefix in one Redis database."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address)

    def __repr__(self) -> str:
        return f"BullMonitor({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def depths(self) -> pd.DataFrame:
        """The columns of readings.DEPTHS, one row a queue and state: waiting, paused, active, prioritized,
        delayed, waiting_children, failed, completed. Jobs of a paused queue of BullMQ 6 stay `waiting`."""
        rows: list[dict[str, Any]] = []
        with self.link.clear() as client:
            at = _server_time(client)
            queues, notes = self._queues(client)
            clients = workers(client, self.address.prefix, queues)
            for keys in queues:
                consumers = len(clients[keys.queue]) if clients is not None else None
                rows += [
                    {"source": self.name, "queue": shown(keys.queue), "state": state, "depth": depth,
                     "consumers": consumers, "oldest_at": oldest, "at": at}
                    for state, depth, oldest in _depths(client, keys)
                ]  # fmt: skip
                if _paused(client, keys):
                    notes.append(f"Queue {shown(keys.queue)} is paused.")
        found = readings.depths(rows)
        found.attrs["notes"] = notes + ([] if clients is not None else [_HIDDEN])
        return found

    def workers(self) -> pd.DataFrame:
        """The columns of readings.WORKERS, one row a worker of a queue: the connections it named."""
        with self.link.clear() as client:
            at = _server_time(client)
            queues, notes = self._queues(client)
            clients = workers(client, self.address.prefix, queues)
        rows = [
            {
                "source": self.name,
                "worker": name,
                "queues": shown(queue),
                "started_at": at - timedelta(seconds=age),
                "at": at,
            }
            for queue, ones in (clients or {}).items()
            for name, age in ones
        ]
        found = readings.workers(rows)
        found.attrs["notes"] = notes + ([] if clients is not None else [_HIDDEN])
        return found

    def running(
        self, states: Sequence[str] = ("active",), most: int = standing.MOST
    ) -> pd.DataFrame:
        """A failures frame of the jobs that workers hold, status active, or stalled when nobody renews its
        lock any more; failed_at is when each began.

        `states` may name waiting, paused, prioritized, delayed (status scheduled) and waiting_children too,
        the next ones first and at most so many a state, so that a plan can name them.
        """
        tables, notes = [], []
        with self.link.clear() as client:
            queues, notes = self._queues(client)
            for keys in queues:
                ones = standing.standing(client, keys, states, most)
                loose = [one.job for one in ones if one.state == "active" and not one.locked]
                gone = standing.stalled(client, keys, loose)
                tables.append(self._framed(keys, ones, gone))
                if len(ones) >= most:
                    notes.append(
                        f"Queue {shown(keys.queue)}: of each state at most {most:,} were read."
                    )
        found = from_arrow(pa.concat_tables(tables) if tables else pa.table({}))
        found.attrs = {
            "notes": notes,
            "source": self.name,
            "selection": f"jobs {', '.join(states)}",
        }
        return found

    def queues(self) -> pd.DataFrame:
        """The queues as a failures frame, for plans that pause or unpause: status is paused or running."""
        with self.link.clear() as client:
            at = _server_time(client)
            queues, notes = self._queues(client)
            found = from_records(
                {
                    "source": self.name,
                    "failure_id": f"{shown(keys.queue)}@{at.isoformat()}",
                    "queue": shown(keys.queue),
                    "status": "paused" if _paused(client, keys) else "running",
                    "failed_at": at,
                }
                for keys in queues
            )
        found.attrs = {
            "source": self.name,
            "selection": "all queues",
            "narrows": True,
            "notes": notes,
        }
        return found

    def duplicates(self) -> pd.DataFrame:
        """Ids that stand in two places of their queue, or twice in one: queue, job, places. Such a job runs twice,
        or hides from whoever looks for it; BullMQ itself makes none."""
        with self.link.clear() as client:
            queues, notes = self._queues(client)
            rows = [
                (shown(keys.queue), shown(job), ", ".join(places))
                for keys in queues
                for job, places in standing.twice(client, keys).items()
            ]
        found = pd.DataFrame(rows, columns=["queue", "job", "places"], dtype="str")
        found.attrs["notes"] = notes
        return found

    def health(self) -> list[Finding]:
        """Whether Redis answers and keeps what it is given; paused queues, queues nobody works on, stalled jobs,
        ids in two places, failures that BullMQ deletes."""
        try:
            with self.link.clear() as client:
                queues, _ = self._queues(client)
                clients = workers(client, self.address.prefix, queues)
                found = list(health.server(client, self.address))
                for keys in queues:
                    consumers = None if clients is None else len(clients[keys.queue])
                    found += health.queue(client, keys, consumers)
                return found
        except DLQError as error:
            return [Finding(name="redis", severity="critical", text=str(error))]

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def _queues(self, client: "redis.Redis") -> tuple[list[Keys], list[str]]:
        """The queues of the URL, else all of the prefix; and what to know of the search."""
        prefix = self.address.prefix.encode()
        if self.address.queues:
            named = [queue.encode() for queue in self.address.queues]
            return [Keys(prefix, queue) for queue in named], unheard_of(client, prefix, named)
        known, whole = find_queues(client, prefix, b"meta", "hash")
        failed, also = find_queues(client, prefix)
        cut = "The search for queues was stopped: this Redis has too many keys. Name them: ?queues=a,b."
        queues = sorted({*known, *failed})
        notes = [] if queues else [no_queue(prefix)]
        return [Keys(prefix, queue) for queue in queues], notes if whole and also else [cut]

    def _framed(self, keys: Keys, ones: Sequence[standing.Standing], gone: set[bytes]) -> pa.Table:
        began = [one.fields["processedOn"] if one.state == "active" else None for one in ones]
        times = [when or b"0" for when in began]  # no moment of a failure: no hand takes it for one
        fields: dict[str, list[bytes | None]] = {
            name: [one.fields[name] for one in ones] for name in jobs.FIELDS
        }
        fields["finishedOn"] = [None] * len(ones)  # of an earlier failure
        fields["failedReason"] = [None] * len(ones)
        table = jobs.columns(keys.queue, [one.job for one in ones], times, fields)
        status = [
            "stalled" if one.job in gone else _STATUS.get(one.state, one.state) for one in ones
        ]
        place = table.column_names.index("status")
        table = table.set_column(place, "status", pa.array(status, pa.string()))
        names = pa.array([self.name] * len(ones), pa.string())
        return table.append_column("source", names).drop_columns(_FAILED)


def _depths(client: "redis.Redis", keys: Keys) -> list[tuple[str, int | None, datetime | None]]:
    """(state, depth, when its oldest was enqueued, or failed or completed); None where the key is another's."""
    asking = client.pipeline(transaction=False)
    for state, (part, kind) in standing.PLACES.items():
        standing.depth(asking, keys, state)
        last = (
            ("LINDEX", keys(part), -1)
            if kind == "list"
            else ("ZRANGE", keys(part), 0, 0, "WITHSCORES")
        )
        asking.execute_command(*last)
    answers = asking.execute(raise_on_error=False)
    found = []
    for (state, (_, kind)), depth, last in zip(
        standing.PLACES.items(), answers[::2], answers[1::2], strict=True
    ):
        if not isinstance(depth, int) or isinstance(last, Exception):
            found.append((state, None, None))
            continue
        oldest = None
        if kind == "list" and last:
            if last.startswith(b"0:"):  # BullMQ 4's marker
                depth -= 1
            else:
                oldest = health.moment(health.asked(client, "HGET", keys(last), "timestamp"))
        elif state in ("failed", "completed") and last:
            score = last[0][1] if isinstance(last[0], list | tuple) else last[1]
            oldest = health.moment(score)
        found.append((state, depth, oldest))
    return found


def _paused(client: "redis.Redis", keys: Keys) -> bool:
    return bool(health.asked(client, "HEXISTS", keys(b"meta"), "paused"))


def _server_time(client: "redis.Redis") -> datetime:
    """Now, by the clock that the ages of clients are told by; ours where it does not say."""
    told = health.asked(client, "TIME")
    return datetime.fromtimestamp(int(told[0]), UTC) if told else datetime.now(UTC)
