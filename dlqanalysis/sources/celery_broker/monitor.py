"""Celery's monitor: depths from the broker itself, workers and what they hold by asking them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import from_records
from dlqanalysis.model import Finding
from dlqanalysis.profile import variable_of
from dlqanalysis.sources.celery_broker import rows
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.sources.celery_broker.amqp_queues import AmqpQueues
from dlqanalysis.sources.celery_broker.asking import Answers, Workers
from dlqanalysis.sources.celery_broker.redis_queues import RedisQueues, Row
from dlqanalysis.text import many


class CeleryMonitor:
    """How one broker and its workers are now. Every answer is asked for anew."""

    def __init__(
        self, address: Address, management: str | None = None, name: str = "celery"
    ) -> None:
        self.address, self._workers = address, Workers(address)
        variable = variable_of(name, "MANAGEMENT_URL")
        self._redis = RedisQueues(address) if address.server else None
        self._amqp = None if address.server else AmqpQueues(address, management, variable)

    @property
    def name(self) -> str:
        """`celery:redis:host:6379/0`; its hand has the same."""
        return self.address.name

    def __repr__(self) -> str:
        return f"CeleryMonitor({self.name})"

    def depths(self) -> pd.DataFrame:
        """Waiting and unacknowledged tasks a queue, from the broker; consumers on Redis from the workers."""
        return self._depths(self._workers.ask("active_queues"))

    def workers(self) -> pd.DataFrame:
        """One row a worker that answered within the timeout."""
        answers = self._workers.ask("stats", "active_queues", *rows.HELD, "registered")
        frame = readings.workers(rows.workers(answers, self.name, datetime.now(UTC)))
        frame.attrs["notes"] = [] if len(frame) else [self._silence()]
        return frame

    def running(self) -> pd.DataFrame:
        """The tasks that workers hold: scheduled, reserved, active; failed_at is when it began, or its ETA."""
        return self._running(self._workers.ask("active_queues", *rows.HELD, "revoked"))

    def health(self) -> list[Finding]:
        """Broker, workers, queues that nobody takes from, tasks that are held too long or twice."""
        try:
            found = (
                self._redis.findings(datetime.now(UTC)) if self._redis else self._amqp_findings()
            )
            answers = self._workers.ask("active_queues", *rows.HELD, "revoked")
            depths = self._depths(answers)
        except ConnectError as error:
            return [Finding(name="broker", severity="critical", text=str(error))]
        waiting = depths[(depths["state"] == "waiting") & (depths["depth"].fillna(0) > 0)]
        found.append(self._answered(answers, depths, int(waiting["depth"].sum())))
        found += self._abandoned(waiting)
        _, twice = rows.running(answers, self.name)
        if twice:
            text = f"{_told_twice(twice)} Their work may be done twice."
            found.append(Finding(name="held twice", severity="warning", text=text))
        if again := rows.delivered_again(answers):
            found.append(
                Finding(name="given out again", severity="warning", text=_told_again(again))
            )
        return found

    def close(self) -> None:
        """Nothing is kept open between two looks."""

    def __enter__(self) -> "CeleryMonitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _amqp_findings(self) -> list[Finding]:
        assert self._amqp is not None
        return self._amqp.findings()

    def _depths(self, answers: Answers) -> pd.DataFrame:
        at, consumers = datetime.now(UTC), rows.consumers(answers["active_queues"])
        found: list[Row]
        notes: list[str] = []
        if self._redis:
            found = self._redis.rows(consumers or (), consumers)
            if not found:
                notes.append(
                    f"No queue is known at {self.address.place}: no worker answered, and none ever bound one."
                    " Check the database number, or name the queues with ?queues=."
                )
        else:
            assert self._amqp is not None
            found, notes = self._amqp.rows(consumers or ())
        if consumers is None:
            notes.append(self._silence())
        frame = readings.depths({**row, "source": self.name, "at": at} for row in found)
        frame.attrs["notes"] = notes
        return frame

    def _running(self, answers: Answers) -> pd.DataFrame:
        records, twice = rows.running(answers, self.name)
        frame = from_records(records)
        notes = [] if answers["active_queues"] else [self._silence()]
        if twice:
            notes.append(_told_twice(twice))
        if again := rows.delivered_again(answers):
            notes.append(_told_again(again))
        flagged = {str(one) for told in answers["revoked"].values() for one in told or ()}
        gone = int((frame["task_id"].isin(flagged) & (frame["status"] != "active")).sum())
        if gone:
            notes.append(
                f"{gone:,} of these tasks {'is' if gone == 1 else 'are'} revoked: workers drop revoked tasks when their time comes."
            )
        frame.attrs = {"source": self.name, "notes": notes, "selection": "what workers hold now"}
        return frame

    def _answered(self, answers: Answers, depths: pd.DataFrame, waiting: int) -> Finding:
        there = len(answers["active_queues"])
        if there:
            text = f"{there:,} worker{'s' if there > 1 else ''} answered."
            return Finding(name="workers", severity="ok", text=text, facts={"workers": there})
        severity = "critical" if waiting else "warning"
        # without a queue that is known nothing was counted: "0 are waiting" would be a guess
        told = f"{many(waiting, 'tasks are')} waiting." if len(depths) else depths.attrs["notes"][0]
        text = f"{self._silence()} {told}"
        return Finding(name="workers", severity=severity, text=text, facts={"workers": 0})

    def _abandoned(self, waiting: pd.DataFrame) -> Iterator[Finding]:
        """Queues with waiting tasks that no worker takes from."""
        for queue, depth in waiting.loc[waiting["consumers"] == 0, ["queue", "depth"]].itertuples(
            index=False
        ):
            text = (
                f"Queue {queue} has {many(depth, 'waiting tasks')}, and no worker that answered takes from it. Start a"
                f" worker with -Q {queue}, or find out who sends to it."
            )
            yield Finding(
                name=f"queue {queue}", severity="critical", text=text, facts={"waiting": int(depth)}
            )

    def _silence(self) -> str:
        return (
            f"No worker answered within {self.address.timeout:g} s. That is no proof that there is none: those"
            " without remote control and busy ones of the solo pool keep silent. Look at their processes and"
            " logs, or ask with a longer ?timeout=."
        )


def _told_again(again: list[str]) -> str:
    shown = ", ".join(again[:3]) + (", ..." if len(again) > 3 else "")
    return (
        f"{many(len(again), 'tasks')} that workers hold had been given out before ({shown}): a worker died or gave back."
        " If they stay, they are in a loop: look at their time limit and memory; a plan to revoke takes out what"
        " has not begun, and what has ends with its worker."
    )


def _told_twice(twice: list[str]) -> str:
    shown = ", ".join(twice[:3]) + (", ..." if len(twice) > 3 else "")
    return f"{many(len(twice), 'tasks are')} held by two workers at once ({shown})."
