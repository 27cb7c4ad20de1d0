"""Messages of one dead-letter queue, taken unacknowledged and given back: how a queue is looked at without loss.

What each kind of queue does with what is given back was measured on RabbitMQ 3.10: a classic queue keeps the
order; a quorum queue counts it as a delivery and drops what exceeds its limit, so what is at its limit is
published anew, in one step with its acknowledgement.
"""

import hashlib
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from pika import exceptions

from dlqanalysis.errors import ConnectError
from dlqanalysis.sources.rabbitmq.link import LOST, Link
from dlqanalysis.sources.rabbitmq.properties import Properties

_WINDOW = 1000  #: messages asked for at a time, at least; few windows keep a quorum queue's order
_BYTES = 512 * 1024 * 1024  #: held at most
_PATIENCE = 1.0  #: seconds without a delivery, after which messages are fetched one by one
#: what the broker adds on delivery: no part of the message
VOLATILE = ("x-delivery-count", "x-acquired-count")


@dataclass(frozen=True, slots=True)
class Limit:
    """The delivery limit of a queue. An unknown one is taken for the smallest there is."""

    value: int | None  #: None: none, or unknown
    known: bool

    def near(self, count: int) -> bool:
        """Whether a message delivered so often says that reading should stop."""
        if not self.known:
            return count >= 1
        return self.value is not None and count >= self.value - 2

    def reached(self, count: int) -> bool:
        """Whether a message would be dropped when it is given back once more."""
        if not self.known:
            return count >= 1
        return self.value is not None and count >= self.value


@dataclass(slots=True)
class Message:
    """One message as it is held."""

    dlq: str
    tag: int
    exchange: str
    routing_key: str
    redelivered: bool
    properties: Properties
    body: bytes
    failure_id: str = ""

    @property
    def deliveries(self) -> int | None:
        """How often it was given back before; None: no quorum queue, which counts none."""
        count = self.properties.header("x-delivery-count")
        return count if isinstance(count, int) else None

    @property
    def deaths(self) -> list[dict[str, Any]]:
        """The entries of x-death, newest first."""
        entries = self.properties.header("x-death")
        return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []

    @property
    def own_id(self) -> str:
        """The id that its producer gave it."""
        for found in (
            self.properties.header("id"),
            self.properties.field("message_id"),
            self.properties.field("correlation_id"),
        ):
            if isinstance(found, str) and found:
                return found
        return ""


def occurrence(message: Message) -> str:
    """queue / x-death queue / time / count / the message's id / a digest of all that stays the same in it."""
    digest = hashlib.sha256(message.body)
    stable = message.properties.changed(drop=set(VOLATILE))
    assert stable.headers is not None
    for name, raw in sorted({**stable.fields, **stable.headers}.items()):
        if name != "headers" or message.properties.headers is None:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\x1f" + raw + b"\x1e")
    newest = message.deaths[0] if message.deaths else {}
    own = message.own_id
    if len(own) > 80:
        own = hashlib.sha256(own.encode("utf-8", "replace")).hexdigest()[:16]
    told = (newest.get(name) for name in ("queue", "time", "count"))
    death = ["-" if part is None else str(part)[:255] for part in told]
    parts = [message.dlq, *death, own or "-", digest.hexdigest()[:10]]
    return "/".join(quote(part, safe="", errors="replace") for part in parts)


def queue_of(failure_id: str) -> str:
    """The dead-letter queue that an id names."""
    return unquote(failure_id.partition("/")[0])


def own_id_of(failure_id: str) -> str:
    """The message's own id within an id."""
    parts = failure_id.split("/")
    return unquote(parts[4]) if len(parts) > 4 else ""


@dataclass
class Held:
    """The messages of one queue that are held now, oldest first, by their ids."""

    link: Link
    queue: str
    limit: Limit
    most: int
    messages: dict[str, Message] = field(default_factory=dict)
    returned: list[Any] = field(default_factory=list)  #: what the broker could not route
    cut: bool = False  #: whether `most` ended it
    _channel: Any = None
    _copies: dict[str, int] = field(default_factory=dict)
    _size: int = 0

    @property
    def channel(self) -> Any:
        """The channel that holds them; everything on it happens at its commit."""
        if self._channel is None or not self._channel.is_open:
            self.messages, self._copies, self._size = {}, {}, 0
            self._channel = self.link.channel()
            self._channel.add_on_return_callback(lambda *args: self.returned.append(args))
            self._channel.tx_select()
        return self._channel

    def pull(self, enough: "Callable[[Held], bool] | None" = None) -> None:
        """Hold what the queue has, until it is enough, or all that was there at the beginning is held."""
        channel, waiting = self.channel, self.ready()
        wanted = len(self.messages) + waiting
        while waiting and not (enough and enough(self)):
            if len(self.messages) >= self.most or self._size >= _BYTES:
                self.cut = True
                return
            took = self._window(
                channel, min(max(_WINDOW, self.most // 25), waiting, self.most - len(self.messages))
            )
            waiting = wanted - len(self.messages)
            if not took:
                return

    def ready(self) -> int:
        """How many messages wait in the queue."""
        depth = self.link.depth(self.queue)
        if depth is None:
            raise ConnectError(
                f"There is no queue '{self.queue}' in vhost '{self.link.address.vhost}' of"
                f" {self.link.address}. Check ?queue= and the vhost of the URL."
            )
        return depth[0]

    def first(self) -> Message | None:
        """The oldest message, before any other is touched."""
        if not self.messages and self.ready():
            self._window(self.channel, 1)
        return next(iter(self.messages.values()), None)

    def _window(self, channel: Any, size: int) -> int:
        """Hold up to `size` more; how many came."""
        start = len(self.messages)
        try:
            channel.basic_qos(prefetch_count=size)
            # names in order: a quorum queue takes back what its consumers had in the order of their names
            tag = f"dlqanalysis.{len(self.messages):09}"
            channel.basic_consume(self.queue, self._take, consumer_tag=tag)
        except exceptions.ChannelClosedByBroker as error:
            raise ConnectError(
                f"Queue '{self.queue}' cannot be read: {error.reply_text}. Stop what consumes it"
                " exclusively, or ask for read permission."
            ) from None
        quiet = time.monotonic() + _PATIENCE
        while (have := len(self.messages) - start) < size:
            self.link.connection.process_data_events(0.05)
            if len(self.messages) - start > have:
                quiet = time.monotonic() + _PATIENCE
            elif time.monotonic() > quiet:
                break  # somebody else took them
        channel.basic_cancel(tag)
        while len(self.messages) - start < size:  # such as where only one consumer is served
            method, properties, body = channel.basic_get(self.queue)
            if method is None:
                break
            self._take(channel, method, properties, body)
        return len(self.messages) - start

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        message = Message(
            self.queue,
            method.delivery_tag,
            method.exchange,
            method.routing_key,
            method.redelivered,
            properties,
            bytes(body),
        )
        key = occurrence(message)
        copy = self._copies[key] = self._copies.get(key, 0) + 1
        message.failure_id = key if copy == 1 else f"{key}/{copy}"
        self.messages[message.failure_id] = message
        self._size += len(message.body)

    def find(self, failure_ids: Collection[str]) -> dict[str, Message]:
        """Those of these ids that are in the queue, held."""
        wanted = set(failure_ids)
        missing = wanted - set(self.messages) if self._channel_open else wanted
        if missing:
            self.pull(enough=lambda held: wanted <= held.messages.keys())
        return {i: self.messages[i] for i in failure_ids if i in self.messages}

    @property
    def _channel_open(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def move(self, message: Message, queue: str | None, properties: Properties | None) -> bool:
        """Publish to a queue (or nothing) and acknowledge, in one commit; False where nobody took it.

        What nobody took is published to its dead-letter queue again.
        """
        channel = self.channel
        self.returned.clear()
        if queue is not None:
            channel.basic_publish("", queue, message.body, properties, mandatory=True)
        channel.basic_ack(message.tag)
        try:
            channel.tx_commit()
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code in (403, 404, 406):
                raise Refused(error.reply_text) from None  # the broker rolled it back
            raise
        self.link.connection.process_data_events(0)
        self.messages.pop(message.failure_id, None)
        if self.returned:
            self._publish_back([message])
            channel.tx_commit()
            return False
        return True

    def _publish_back(self, messages: list[Message]) -> None:
        """Publish to the dead-letter queue again, to stand at its end; counts as never delivered."""
        for message in messages:
            kept = message.properties
            if kept.headers is not None:
                kept = kept.changed({"user_id": None}, drop={*VOLATILE, "CC", "BCC"})
            self.channel.basic_publish("", self.queue, message.body, kept, mandatory=True)

    def release(self) -> None:
        """Give everything back. What the queue would drop for it is published anew instead."""
        if not self._channel_open:
            self.messages = {}
            return
        counts = {i: m.deliveries for i, m in self.messages.items()}
        doomed = [
            self.messages[i]
            for i, count in counts.items()
            if count is not None and self.limit.reached(count)
        ]
        channel = self._channel
        try:
            for start in range(0, len(doomed), 200):
                part = doomed[start : start + 200]
                self._publish_back(part)
                for message in part:
                    channel.basic_ack(message.tag)
                channel.tx_commit()
            if self.link.version >= (4, 3):  # there a nack does not count, a closed channel may
                channel.basic_nack(0, multiple=True, requeue=True)
                channel.tx_commit()
            channel.close()
        except LOST as error:
            if doomed:
                raise ConnectError(
                    f"{len(doomed):,} messages of '{self.queue}' are at its delivery limit and could not be"
                    f" published anew ({type(error).__name__}): the broker may drop them. Raise the limit, or"
                    " give this user write permission."
                ) from None
        finally:
            self._channel, self.messages, self._copies = None, {}, {}
            with suppress(*LOST):
                if channel.is_open:
                    channel.close()


class Refused(Exception):
    """The broker said no, and rolled back."""
