"""Celery's queues on RabbitMQ: by passive declaration, or all of a vhost from the management API. Reads only."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Finding
from dlqanalysis.sources import _amqp
from dlqanalysis.sources._management import Management
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.sources.celery_broker.redis_queues import Row

#: queues of Celery's own and of ours that hold no tasks
_NO_TASKS = (".celery.pidbox", ".reply.celery.pidbox")
_NO_TASKS_START = ("celeryev.", "amq.gen", "dlqanalysis.lock.")


class AmqpQueues:
    """The queues of one vhost. `management` is the URL of the management API, or None."""

    def __init__(self, address: Address, management: str | None, variable: str) -> None:
        self.address, self.variable = address, variable
        self._api = (
            Management(management, address.broker, variable, address.ca) if management else None
        )

    def rows(self, named: Iterable[str]) -> tuple[list[Row], list[str]]:
        """A row a queue and state, and what to know of it. `named` are queues that workers take from."""
        wanted = sorted({*named, *self.address.queues})
        if self._api:
            return list(self._told(set(wanted))), []
        notes = [f"Unacknowledged and other queues are not known: set {self.variable} to see them."]
        if not wanted:
            notes = [
                f"No worker named its queues, so none is known at {self.address.place}. Name them with"
                f" ?queues=, or set {self.variable}."
            ]
        rows = []
        with self._connection() as connection:
            for queue in wanted:
                told = _declared(connection, queue)
                if told is None:
                    notes.append(f"There is no queue '{queue}' at {self.address.place}.")
                    continue
                depth, consumers = told
                rows.append(
                    {"queue": queue, "state": "waiting", "depth": depth, "consumers": consumers}
                )
        return rows, notes

    def findings(self) -> list[Finding]:
        """Does it let us in, and does it take messages."""
        with self._connection():
            text = f"{self.address.place} answers."
        alarms = self._api.alarms() if self._api else []
        if not alarms:
            known = "" if self._api else f" Set {self.variable} to see alarms, too."
            return [Finding(name="broker", severity="ok", text=text + known)]
        return [
            Finding(
                name="alarm",
                severity="critical",
                text=f"{alarm}: RabbitMQ takes no messages, and producers hang. Free some.",
            )
            for alarm in alarms
        ]

    def _told(self, consumed: set[str]) -> Iterator[Row]:
        assert self._api is not None
        dead = self._api.graveyards()
        for told in self._api.queues():
            name = str(told.get("name"))
            if name.endswith(_NO_TASKS) or name.startswith(_NO_TASKS_START):
                continue
            consumers = told.get("consumers")
            delays = name.startswith(_amqp.DELAYING)
            if delays and not told.get("messages_ready"):
                continue  # there are 28 of them, mostly empty
            graveyard = name in dead and not consumers and name not in consumed
            waiting = "delayed" if delays else "dead_lettered" if graveyard else "waiting"
            oldest = told.get("head_message_timestamp")
            yield {
                "queue": name,
                "state": waiting,
                "depth": told.get("messages_ready"),
                "consumers": consumers,
                "oldest_at": datetime.fromtimestamp(oldest, UTC)
                if isinstance(oldest, int) and oldest > 0
                else None,
            }
            if taken := told.get("messages_unacknowledged"):
                yield {"queue": name, "state": "unacked", "depth": taken, "consumers": consumers}

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        from pika import exceptions

        parameters = _amqp.parameters(self.address.broker, ca=self.address.ca)
        try:
            # pika leaks its own sockets when nobody answers; ask with one of ours first
            socket.create_connection((parameters.host, parameters.port), timeout=10).close()
            connection = _amqp.connect(parameters)
        except (exceptions.AMQPError, OSError) as error:
            raise ConnectError(
                f"The broker at {self.address.place} does not answer ({type(error).__name__}). Check the broker"
                " URL, its vhost, user and password."
            ) from None
        try:
            yield connection
        finally:
            with suppress(exceptions.AMQPError, OSError):
                connection.close()


def _declared(connection: Any, queue: str) -> tuple[int, int | None] | None:
    """How many are ready and how many consumers there are; None: there is no such queue."""
    from pika import exceptions

    channel = connection.channel()  # one for each: a missing queue closes the channel that asks
    try:
        told = channel.queue_declare(queue, passive=True).method
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return None
        raise ConnectError(
            f"RabbitMQ says of queue '{queue}': {error.reply_text}. Ask for permission to configure, write or"
            " read it."
        ) from None
    with suppress(exceptions.AMQPError):
        channel.close()
    return told.message_count, told.consumer_count
