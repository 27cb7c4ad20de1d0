"""Celery's queues on RabbitMQ: by passive declaration, or all of a vhost from the management API. Reads only."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.model import Finding
from dlqanalysis.sources import _amqp
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.sources.celery_broker.redis_queues import Row

#: queues of Celery's own and of ours that hold no tasks
_NO_TASKS = (".celery.pidbox", ".reply.celery.pidbox")
_NO_TASKS_START = ("celeryev.", "amq.gen", "dlqanalysis.lock.")


class AmqpQueues:
    """The queues of one vhost. `management` is the URL of the management API, or None."""

    def __init__(self, address: Address, management: str | None, variable: str) -> None:
        self.address, self.variable = address, variable
        self._api = _Api(management, address, variable) if management else None

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
        alarms = list(self._api.alarms()) if self._api else []
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
        queues, dead = self._api.queues()
        for told in queues:
            name = str(told.get("name"))
            if name.endswith(_NO_TASKS) or name.startswith(_NO_TASKS_START):
                continue
            consumers = told.get("consumers")
            graveyard = name in dead and not consumers and name not in consumed
            waiting = "dead_lettered" if graveyard else "waiting"
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
        import pika
        from pika import exceptions

        parameters = _amqp.parameters(self.address.broker)
        try:
            # pika leaks its own sockets when nobody answers; ask with one of ours first
            socket.create_connection((parameters.host, parameters.port), timeout=10).close()
            connection = pika.BlockingConnection(parameters)
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


class _Api:
    """The management API of one vhost."""

    def __init__(self, url: str, address: Address, variable: str) -> None:
        parts, broker = urlsplit(url), urlsplit(address.broker)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{variable} is no URL. Write http://user:password@host:15672.")
        whose = parts if parts.username else broker
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        self._place, self._variable = f"{parts.scheme}://{host}{port}", variable
        self._base = f"{self._place}{parts.path.rstrip('/')}"
        self._vhost = quote(_amqp.vhost(address.broker), safe="")
        self._auth = (unquote(whose.username or "guest"), unquote(whose.password or "guest"))

    def queues(self) -> tuple[list[dict[str, Any]], set[str]]:
        """What is known of every queue, and the names of those that others dead-letter into."""
        queues = self._get(f"/api/queues/{self._vhost}")
        bindings = self._get(f"/api/bindings/{self._vhost}")
        exchanges, dead = set(), set()
        for told in queues:
            policy = told.get("effective_policy_definition") or {}
            settings = {**policy, **(told.get("arguments") or {})}
            exchange = settings.get("x-dead-letter-exchange", settings.get("dead-letter-exchange"))
            route = settings.get(
                "x-dead-letter-routing-key", settings.get("dead-letter-routing-key")
            )
            if exchange == "":
                dead.add(str(route or told.get("name")))
            elif exchange is not None:
                exchanges.add(str(exchange))
        dead |= {str(one.get("destination")) for one in bindings if one.get("source") in exchanges}
        return queues, dead

    def alarms(self) -> Iterator[str]:
        """Which nodes are out of memory or disk."""
        for node in self._get("/api/nodes"):
            for what, key in (("memory", "mem_alarm"), ("disk space", "disk_free_alarm")):
                if node.get(key):
                    yield f"{node.get('name')} is out of {what}"

    def _get(self, path: str) -> list[dict[str, Any]]:
        import httpx

        try:
            answer = httpx.get(f"{self._base}{path}", auth=self._auth, timeout=10)
            if answer.status_code < 400:
                found = answer.json()
                return [one for one in found if isinstance(one, dict)]
            said = f"answered {answer.status_code}"
        except (httpx.HTTPError, ValueError, TypeError) as error:
            said = f"does not answer ({type(error).__name__})"
        raise ConnectError(
            f"The management API at {self._place} {said}. Check {self._variable} and that its user has the tag"
            " 'monitoring', or unset it."
        )
