"""Messages of one dead-letter queue, taken unacknowledged and given back: how a queue is looked at without loss.

What each kind of queue does with what is given back was measured on RabbitMQ 3.10: a classic queue keeps the
order; a quorum queue counts it as a delivery and drops what exceeds its limit. So nothing is taken from a queue
that may drop it unless we may also publish, and what comes at its limit is published anew at once, in one step
with its acknowledgement.
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
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources.rabbitmq.link import LOST, Link

_WINDOW = 1000  #: messages asked for at a time, at least; few windows keep a quorum queue's order
_WIDEST = 65_535  #: a prefetch count has two bytes
_BYTES = 512 * 1024 * 1024  #: held at most
_PATIENCE = 1.0  #: seconds without a delivery, after which messages are fetched one by one
#: what the broker adds on delivery: no part of the message
VOLATILE = ("x-delivery-count", "x-acquired-count")
#: what setting aside adds, and what any move must change or drop: an id must outlive both
ASIDE_FROM = "dlqanalysis_quarantined_from"
ASIDE_RUN = "dlqanalysis_quarantined_run"
ASIDE_ID = "dlqanalysis_failure_id"
_MOVED = {*VOLATILE, ASIDE_FROM, ASIDE_RUN, ASIDE_ID, "CC", "BCC"}
_MOVED_FIELDS = {"delivery_mode": None, "expiration": None, "user_id": None}


@dataclass(frozen=True, slots=True)
class Limit:
    """The delivery limit of a queue. An unknown one is taken for the smallest there is."""

    value: int | None  #: None: none, or unknown
    known: bool

    @property
    def drops(self) -> bool:
        """Whether the queue may drop what is given back to it."""
        return self.value is not None or not self.known

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
    stable = message.properties.changed(_MOVED_FIELDS, drop=_MOVED)
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


def _key(message: Message) -> str:
    """Its id but for the number of its copy; one that was set aside keeps the id that it had."""
    aside = message.properties.header(ASIDE_ID)
    return aside if isinstance(aside, str) and aside else occurrence(message)


def queue_of(failure_id: str) -> str:
    """The dead-letter queue that an id names."""
    return unquote(failure_id.partition("/")[0])


def first_copy(failure_id: str) -> str:
    """The id of the first of messages that are the same."""
    return "/".join(failure_id.split("/")[:6])


def own_id_of(failure_id: str) -> str:
    """The message's own id within an id."""
    parts = failure_id.split("/")
    return unquote(parts[4]) if len(parts) > 4 else ""


@dataclass
class Hold:
    """The messages of one queue that are held now, oldest first, by their ids."""

    link: Link
    queue: str
    limit: Limit
    most: int
    messages: dict[str, Message] = field(default_factory=dict)
    returned: list[Any] = field(default_factory=list)  #: what the broker could not route
    cut: bool = False  #: whether `most` ended it
    counts: bool = False  #: whether the queue counts deliveries
    worn: int | None = None  #: how often the most worn message near the limit was given back
    _channel: Any = None
    _copies: dict[str, int] = field(default_factory=dict)
    _free: dict[str, list[str]] = field(default_factory=dict)  # ids of what left the queue
    _size: int = 0

    @property
    def channel(self) -> Any:
        """The channel that holds them; everything on it happens at its commit."""
        if self._channel is None or not self._channel.is_open:
            self.messages, self._copies, self._free, self._size = {}, {}, {}, 0
            self._channel = self.link.channel()
            self._channel.add_on_return_callback(lambda *args: self.returned.append(args))
            self._channel.tx_select()
        return self._channel

    def pull(self, enough: "Callable[[Hold], bool] | None" = None) -> None:
        """Hold what the queue has, until it is enough, or all that was there at the beginning is held."""
        channel, waiting = self.channel, self.ready()
        wanted = len(self.messages) + waiting
        while waiting and not (enough and enough(self)):
            if len(self.messages) >= self.most or self._size >= _BYTES:
                self.cut = True
                return
            took = self._window(
                channel,
                min(
                    max(_WINDOW, self.most // 25), _WIDEST, waiting, self.most - len(self.messages)
                ),
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

    def first(self) -> None:
        """Hold the oldest message, before any other is touched: `worn` tells whether to go on."""
        if not self.messages and self.ready():
            self._window(self.channel, 1)

    def _window(self, channel: Any, size: int) -> int:
        """Hold up to `size` more; how many came."""
        if self.limit.drops and not self.link.may_publish:
            raise ConnectError(
                f"'{self.queue}' was not touched: it may have a delivery limit, and this user could not save a"
                " message that is at it. Ask for write permission on amq.default, or say"
                " ?delivery_limit=none in the URL if the queue has no limit (classic queues have none)."
            )
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
        came = len(self.messages) - start
        self._renew([m for m in list(self.messages.values())[start:] if self._doomed(m)])
        return came

    def _doomed(self, message: Message) -> bool:
        count = message.deliveries
        return count is not None and self.limit.reached(count)

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
        key = _key(message)
        if self._free.get(key):
            message.failure_id = self._free[key].pop()
        else:
            copy = self._copies[key] = self._copies.get(key, 0) + 1
            message.failure_id = key if copy == 1 else f"{key}/{copy}"
        self.messages[message.failure_id] = message
        self._size += len(message.body)
        if (count := message.deliveries) is not None:
            self.counts = True
            if self.limit.near(count):
                self.worn = max(count, self.worn or 0)

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

    def move(
        self,
        message: Message,
        queue: str | None,
        properties: Properties | None,
        body: bytes | None = None,
    ) -> bool:
        """Publish to a queue (or nothing) and acknowledge, in one commit; False where nobody took it.

        What nobody took is published to its dead-letter queue again.
        """
        if not self._channel_open or message.failure_id not in self.messages:
            raise Refused("the connection was lost meanwhile")  # its tag means nothing any more
        channel = self._channel
        self.returned.clear()
        if queue is not None:
            body = message.body if body is None else body
            channel.basic_publish("", queue, body, properties, mandatory=True)
        channel.basic_ack(message.tag)
        try:
            channel.tx_commit()
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code == 406 and "partial" in error.reply_text:
                self._save([message])  # a full queue rejects, and the acknowledgement counts
                raise Refused(f"'{queue}' is full; it is at the end of '{self.queue}'") from None
            if error.reply_code in (403, 404, 406):
                raise Refused(error.reply_text) from None  # the broker rolled it back
            raise
        self.link.connection.process_data_events(0)
        self._forget(message)
        if self.returned:
            self._save([message])
            return False
        return True

    def _forget(self, message: Message) -> None:
        """It is in the queue no more; its id is free for it when it comes back."""
        self.messages.pop(message.failure_id, None)
        self._free.setdefault(_key(message), []).append(message.failure_id)

    def _publish_back(self, channel: Any, messages: list[Message]) -> None:
        """Publish to this queue again, to stand at its end; counts as never delivered."""
        for message in messages:
            kept = message.properties
            if kept.headers is not None:
                kept = kept.changed({"user_id": None}, drop={*VOLATILE, "CC", "BCC"})
            channel.basic_publish("", self.queue, message.body, kept, mandatory=True)

    def _save(self, messages: list[Message]) -> None:
        """Publish what is in no queue any more, with a confirm."""
        try:
            with self.link.aside() as channel:
                channel.confirm_delivery()
                self._publish_back(channel, messages)
        except (ConnectError, *LOST) as error:
            raise Lost(
                f"'{self.queue}' did not take it back ({type(error).__name__}): only the snapshot of the run"
                " has it now. Publish its body and properties from there"
            ) from None

    def _renew(self, messages: list[Message]) -> None:
        """Publish at the end of the queue, in one step with their acknowledgement, what it would drop if it
        were given back."""
        for start in range(0, len(messages), 200):
            part = messages[start : start + 200]
            self.returned.clear()
            try:
                self._publish_back(self._channel, part)
                for message in part:
                    self._channel.basic_ack(message.tag)
                self._channel.tx_commit()
                self.link.connection.process_data_events(0)
            except LOST as error:
                partial = "partial" in str(getattr(error, "reply_text", ""))
                if partial:
                    self._save(part)
                    return
                raise ConnectError(
                    f"{len(messages):,} messages of '{self.queue}' are at its delivery limit and could not be"
                    f" published anew ({type(error).__name__}): the broker may drop them. Raise the limit, or"
                    " give this user write permission."
                ) from None
            if self.returned:
                self._save(part)
            for message in part:
                self._forget(message)

    def release(self) -> None:
        """Give everything back, to stand where it stood."""
        if self._channel_open:
            with suppress(*LOST):  # a lost connection has given it back already
                if self.link.version >= (4, 3):  # there a nack does not count, a closed channel may
                    self._channel.basic_nack(0, multiple=True, requeue=True)
                    self._channel.tx_commit()
                self._channel.close()
        self._channel, self.messages, self._copies, self._free = None, {}, {}, {}


class Lost(Exception):
    """A message is in no queue; the run's snapshot has it."""


class Refused(Exception):
    """The broker said no, and rolled back."""
