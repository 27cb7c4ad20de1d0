"""What is known of the dead-letter queues of an address, from the management API where it is given."""

from dataclasses import dataclass
from datetime import timedelta

from dlqanalysis.errors import SettingsError
from dlqanalysis.sources._management import Management, setting
from dlqanalysis.sources.rabbitmq.address import Address
from dlqanalysis.sources.rabbitmq.held import Hold, Limit
from dlqanalysis.sources.rabbitmq.link import Link

_DEFAULT_LIMIT = 20  #: of quorum queues since RabbitMQ 4.0, by its documentation


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What is known of one queue."""

    kind: str | None  #: classic, quorum, stream; None: not known
    limit: Limit
    ttl: timedelta | None  #: after which it forgets a message
    forgets: bool | None  #: whether it drops messages by itself (TTL, length); None: not known
    others: int | None  #: messages that somebody holds unacknowledged


class Queues:
    """The queues of one address, over one connection."""

    def __init__(self, address: Address, variable: str = "DLQ_RABBITMQ_MANAGEMENT_URL") -> None:
        self.address, self.variable = address, variable
        self.link = Link(address)
        self.management = (
            Management(address.management, address.url, variable, address.ca)
            if address.management
            else None
        )
        self._lengths: dict[str, tuple[int | None, int | None]] = {}

    def facts(self, queue: str) -> QueueFacts:
        """What can be known of a queue."""
        told = self.management.queue(queue) if self.management else None
        if told is None:
            return QueueFacts(None, self._limit(None, None), None, None, None)
        kind = str(told.get("type") or "classic").removeprefix("rabbit_").removesuffix("_queue")
        if kind == "stream":
            raise SettingsError(
                f"'{queue}' is a stream: it keeps its messages, and nothing can be taken from it. Name a"
                " classic or quorum queue."
            )
        ttl = setting(told, "message-ttl")
        forgets = any(
            setting(told, name) is not None
            for name in ("message-ttl", "max-length", "max-length-bytes", "expires")
        )
        return QueueFacts(
            kind,
            self._limit(kind, setting(told, "delivery-limit")),
            timedelta(milliseconds=ttl) if isinstance(ttl, int) else None,
            forgets,
            told.get("messages_unacknowledged"),
        )

    def _limit(self, kind: str | None, told: object) -> Limit:
        if kind == "classic" or self.address.unlimited:
            return Limit(None, True)
        if isinstance(told, int):
            return Limit(told if told >= 0 else None, True)
        if self.address.delivery_limit is not None:
            return Limit(self.address.delivery_limit, True)
        if kind == "quorum":
            return Limit(_DEFAULT_LIMIT if self.link.version >= (4,) else None, True)
        return Limit(None, False)

    def full(self, queue: str, waiting: int, size: int) -> str:
        """Why one more message of so many bytes would be rejected or push another out, or nothing.

        A full queue that rejects loses what a transaction brings: the acknowledgement counts all the same.
        Only the management API knows lengths.
        """
        if self.management is None:
            return ""
        if queue not in self._lengths:
            told = self.management.queue(queue)
            most = setting(told, "max-length"), setting(told, "max-length-bytes")
            self._lengths[queue] = most
        length, most_bytes = self._lengths[queue]
        full = length is not None and waiting >= length
        if not full and most_bytes is not None:
            told = self.management.queue(queue) or {}
            full = waiting > 0 and told.get("message_bytes_ready", 0) + size > most_bytes
        return (
            f"'{queue}' is full ({waiting:,} wait): let its workers catch up, then resume"
            if full
            else ""
        )

    def held(self, queue: str, limit: Limit) -> Hold:
        """A way to hold a queue's messages."""
        return Hold(self.link, queue, limit, self.address.most)

    def advice(self, queue: str) -> str:
        """How to say what the delivery limit is."""
        return f"Set {self.variable}, or say ?delivery_limit=N (or none) in the URL, to read '{queue}'."

    def close(self) -> None:
        """Give connections back."""
        self.link.drop()
