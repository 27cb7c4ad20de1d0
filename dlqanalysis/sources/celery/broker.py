"""Puts messages on the broker of a Celery system, with a confirmed answer: Redis or RabbitMQ.

`publish` returns when the broker has the message, raises Refused (it said no: nothing happened),
Unreached (it was never asked), AlreadySent, or Doubt (no answer).
"""

import base64
import bisect
import json
import socket
import struct
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.model import Finding
from dlqanalysis.sources import _amqp, _redis, _url
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources.celery.message import Message

_LEDGER_DAYS = 30
#: one step: note the token, push the message; asked twice, it does it once
_PUSH = """
local done = redis.call('HGET', KEYS[1], ARGV[1])
if done then return {0, done} end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'list' then return {-1, kind} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('LPUSH', KEYS[2], ARGV[3])
return {1, ''}
"""
_PRIORITY_STEPS = (0, 3, 6, 9)  # kombu's default for Redis; each but 0 is a list of its own


class Refused(Exception):
    """The broker said no. The message is nowhere."""


class Unreached(Exception):
    """The broker could not be asked. The message is nowhere."""


class AlreadySent(Exception):
    """The ledger knows this very id from another run. Nothing happened now."""


class Doubt(Exception):
    """The broker did not answer. The message may be there."""


class Broker(Protocol):
    """What the hand needs of a broker."""

    #: whether it keeps a ledger that tells afterwards what was sent
    remembers: bool

    def publish(self, message: Message, run_id: str) -> None: ...

    def was_sent(self, queue: str, sent_id: str) -> bool | None:
        """True or False where the broker can tell, else None."""
        ...

    def findings(self, queues: Iterable[str], named: Iterable[str] = ()) -> list[Finding]:
        """The state of each queue; `named` are those that the user vouches for."""
        ...

    def close(self) -> None: ...


def connect(url: str) -> Broker:
    """The broker at a Celery broker URL: redis, rediss, amqp or amqps."""
    scheme = _url.parts_of(url).scheme
    if scheme in ("redis", "rediss"):
        return RedisBroker(url)
    if scheme in ("amqp", "amqps"):
        return AmqpBroker(url)
    raise SettingsError(
        f"No broker speaks '{scheme}'. Give DLQ_CELERY_BROKER_URL as redis://, rediss://, amqp:// or amqps://."
    )


class RedisBroker:
    """Celery's lists on Redis. The push and its token in the ledger are one script, so a lost answer
    is asked for again and never sends twice."""

    remembers = True

    def __init__(self, url: str) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._errors = redis.RedisError
        self._lost = (redis.ConnectionError, redis.TimeoutError)
        self.place = _url.place(url)
        # redis-py would resend a push whose answer was lost, and so execute it twice.
        self._redis = _redis.as_celery_has_it(url, retry=Retry(NoBackoff(), 0))
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise ConnectError(
                f"The broker at {self.place} does not answer ({type(error).__name__}). Check the broker URL"
                " and its password."
            ) from None
        self._push = self._redis.register_script(_PUSH)

    def publish(self, message: Message, run_id: str) -> None:
        key = self._list(message.queue, message.priority)
        stamp = f"{run_id}|{int(time.time() * 1000)}"
        args = [message.id, stamp, _envelope(message), _LEDGER_DAYS * 86400]
        for again in (True, False):
            try:
                code, told = self._push(keys=[_ledger(message.queue), key], args=args)
                break
            except self._lost as error:
                if not again:
                    raise Doubt(f"{self.place} did not answer: {type(error).__name__}") from None
            except self._errors as error:  # an error reply: the script checks before it writes
                raise Refused(f"{self.place}: {error}") from None
        if code == -1:
            raise Refused(f"the key of queue {message.queue} is a {told.decode()}, not a list")
        if code == 0 and not told.decode().startswith(f"{run_id}|"):
            raise AlreadySent(f"was already sent by run {told.decode().partition('|')[0]}")

    def was_sent(self, queue: str, sent_id: str) -> bool | None:
        try:
            return bool(self._redis.hexists(_ledger(queue), sent_id))
        except self._errors:
            return None

    def findings(self, queues: Iterable[str], named: Iterable[str] = ()) -> list[Finding]:
        """Depth of each queue; a queue that no worker ever declared here blocks: nobody would take it.

        kombu notes a queue only when it is bound to an exchange with a name, so a user may vouch for others.
        """
        with self._asking():
            return self._findings(queues, set(named))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """For questions: whatever Redis says instead of an answer is a sentence, so that a run can wait for it."""
        try:
            yield
        except self._errors as error:
            raise ConnectError(
                f"The broker at {self.place} does not tell its queues ({type(error).__name__}). Check that it is well,"
                " and that this user may SCAN, SMEMBERS and LLEN."
            ) from None

    def _findings(self, queues: Iterable[str], named: set[str]) -> list[Finding]:
        bound = set()
        for key in self._redis.scan_iter(match="_kombu.binding.*", count=1000):
            for member in self._redis.smembers(key):
                bound.add(member.split(b"\x06\x16")[-1].decode("utf-8", "replace"))
        found = []
        for queue in sorted(queues):
            depth = sum(self._redis.llen(self._list(queue, step)) for step in _PRIORITY_STEPS)
            known = queue in bound or depth > 0
            vouched = queue in named
            text = (
                f"Queue {queue} has {depth:,} waiting."
                if known
                else f"No worker ever declared queue '{queue}' on {self.place}: check the broker URL. If the queue is right, name it under [routes] in the profile."
            )
            severity = "ok" if known else "warning" if vouched else "critical"
            name = f"queue {queue}"
            found.append(
                Finding(
                    name=name,
                    severity=severity,
                    text=text,
                    blocks=not (known or vouched),
                    facts={"waiting": depth},
                )
            )
        return found

    def close(self) -> None:
        self._redis.close()

    @staticmethod
    def _list(queue: str, priority: int) -> str:
        step = _PRIORITY_STEPS[bisect.bisect(_PRIORITY_STEPS, max(0, priority)) - 1]
        return f"{queue}\x06\x16{step}" if step else queue


def _ledger(queue: str) -> str:
    """The hash of a queue's tokens: id -> run and time. Apart from every key of Celery's own."""
    return f"dlqanalysis:celery:{queue}:ledger"


def _envelope(message: Message) -> str:
    """The JSON that kombu's Redis transport puts into a list."""
    return json.dumps(
        {
            "body": base64.b64encode(message.body).decode(),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": dict(message.headers),
            "properties": {
                "correlation_id": message.id,
                "reply_to": str(uuid.uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": message.priority,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


@dataclass
class AmqpBroker:
    """RabbitMQ, with publisher confirms and `mandatory`: an unroutable message is refused, not lost."""

    url: str = field(repr=False)

    remembers = False

    def __post_init__(self) -> None:
        self.place = _url.place(self.url)
        self._connection: Any = None
        self._channel: Any = None
        self._declared: set[str] = set()
        with self._open():
            pass

    def publish(self, message: Message, run_id: str) -> None:
        from pika import exceptions

        fields = {
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "delivery_mode": 2,
            "priority": message.priority,
            "correlation_id": message.id,
        }
        try:  # pika's own cannot write a float, such as a time limit of half a second
            properties: Any = Properties({}, {}).changed(fields, message.headers)
        except (ValueError, struct.error):
            raise Refused("its headers hold what no message can carry") from None
        asked = False
        try:
            with self._open() as channel:
                if message.queue not in self._declared:
                    channel.queue_declare(message.queue, passive=True)
                    self._declared.add(message.queue)
                asked = True
                channel.basic_publish("", message.queue, message.body, properties, mandatory=True)
        except exceptions.UnroutableError:
            raise Refused(f"no queue '{message.queue}' took it") from None
        except exceptions.NackError:
            raise Refused(f"the broker refused it for queue '{message.queue}'") from None
        except exceptions.ChannelClosedByBroker as error:
            if asked:
                raise Doubt(f"the channel closed: {error.reply_text}") from None
            raise Refused(f"queue '{message.queue}': {error.reply_text}") from None
        except (exceptions.AMQPError, ConnectError, OSError) as error:
            if asked:
                raise Doubt(f"{self.place} did not confirm: {type(error).__name__}") from None
            raise Unreached(f"{self.place} is not reachable: {type(error).__name__}") from None

    def was_sent(self, queue: str, sent_id: str) -> bool | None:
        return None  # a queue cannot be asked for one message without taking it

    def findings(self, queues: Iterable[str], named: Iterable[str] = ()) -> list[Finding]:
        """Depth and consumers of each queue; a queue that does not exist blocks."""
        from pika import exceptions

        found = []
        for queue in sorted(queues):
            name = f"queue {queue}"
            try:
                with self._open() as channel:
                    answer = channel.queue_declare(queue, passive=True).method
            except exceptions.AMQPError as error:
                text = f"Queue '{queue}' is not there on {self.place} ({getattr(error, 'reply_text', error)}): check the broker URL and [routes] in the profile."
                found.append(Finding(name=name, severity="critical", text=text, blocks=True))
                continue
            facts = {"waiting": answer.message_count, "consumers": answer.consumer_count}
            text = f"Queue {queue} has {facts['waiting']:,} waiting and {facts['consumers']} consumers."
            severity = "ok" if facts["consumers"] else "warning"
            found.append(Finding(name=name, severity=severity, text=text, facts=facts))
        return found

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """A channel in confirm mode; a connection that idled past its heartbeat is made anew."""
        from pika import exceptions

        try:
            if self._connection is not None and self._connection.is_open:
                self._connection.process_data_events(0)  # notices one that died meanwhile
        except exceptions.AMQPError:
            self._connection = None
        try:
            if self._connection is None or not self._connection.is_open:
                parameters = _amqp.parameters(self.url)
                # pika leaks its own sockets when nobody answers; ask with one of ours first.
                socket.create_connection((parameters.host, parameters.port), timeout=10).close()
                self._connection, self._channel = _amqp.connect(parameters), None
            if self._channel is None or not self._channel.is_open:
                self._channel = self._connection.channel()
                self._channel.confirm_delivery()
        except (exceptions.AMQPError, OSError) as error:
            raise ConnectError(
                f"The broker at {self.place} does not answer ({type(error).__name__}). Check the broker"
                " URL, its vhost and its password."
            ) from None
        yield self._channel

    def close(self) -> None:
        from pika import exceptions

        if self._connection is not None and self._connection.is_open:
            with suppress(exceptions.AMQPError):
                self._connection.close()
