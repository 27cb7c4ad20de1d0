"""One connection to RabbitMQ: raw properties, depths, and the lock that keeps two runs off one queue."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from pika import exceptions, frame
from pika.adapters.blocking_connection import BlockingConnection
from pika.adapters.select_connection import SelectConnection

from dlqanalysis.errors import ConnectError, DLQError
from dlqanalysis.sources import _amqp
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources.rabbitmq.address import Address

_HEADER = 2  # the type of a frame that holds properties
LOST = (exceptions.AMQPError, OSError)


class _Raw(SelectConnection):
    """pika's connection, but for the properties of messages: ours keep their bytes."""

    def _read_frame(self) -> Any:
        buffer = self._frame_buffer
        if len(buffer) < 7 or buffer[0] != _HEADER:
            return super()._read_frame()
        _, channel, size = struct.unpack_from(">BHL", buffer)
        end = 7 + size + 1
        if len(buffer) < end:
            return 0, None
        (body_size,) = struct.unpack_from(">Q", buffer, 11)
        properties = Properties.parse(bytes(buffer[19 : end - 1]))
        return end, frame.Header(channel, body_size, properties)


class Link:
    """A connection that is opened when it is first used, and anew when it was lost."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connection: BlockingConnection | None = None
        self._locks: set[str] = set()

    @property
    def connection(self) -> BlockingConnection:
        """The connection; a ConnectError where nobody answers or we are not let in."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        self._locks.clear()
        self.__dict__.pop("version", None)
        parameters = _amqp.parameters(self.address.url)
        try:
            # pika leaks its own sockets when nobody answers; ask with one of ours first
            socket.create_connection((parameters.host, parameters.port), timeout=10).close()
            self._connection = _amqp.connect(parameters, _Raw)
        except LOST as error:
            raise ConnectError(
                f"RabbitMQ at {self.address} does not let us in ({type(error).__name__}). Check host, user,"
                f" password and the vhost '{self.address.vhost}' of the URL."
            ) from None
        return self._connection

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The broker's version, such as (3, 10, 8)."""
        told = self.connection._impl.server_properties or {}
        parts = str(told.get("version", "")).split("-")[0].split(".")
        return tuple(int(part) for part in parts if part.isdecimal())

    def channel(self) -> Any:
        """A new channel."""
        try:
            return self.connection.channel()
        except LOST:
            self.drop()
            return self.connection.channel()

    @cached_property
    def may_publish(self) -> bool:
        """Whether this user may publish to a queue: asked by a message that is rolled back."""
        with self.aside() as channel:
            try:
                channel.tx_select()
                channel.basic_publish("", "dlqanalysis.nobody", b"")
                channel.tx_rollback()
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code == 403:
                    return False
                raise
        return True

    def depth(self, queue: str) -> tuple[int, int] | None:
        """How many messages are ready and how many consumers there are, or None: there is no such queue.

        Asked on a channel of its own: a missing queue closes the channel that asks.
        """
        with self.aside() as channel:
            try:
                told = channel.queue_declare(queue, passive=True).method
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code == 404:
                    return None
                if error.reply_code == 405:  # somebody's own, exclusive queue
                    return 0, 1
                raise ConnectError(
                    f"RabbitMQ at {self.address} says of queue '{queue}': {error.reply_text}. Ask for read"
                    " and write permission on it."
                ) from None
        return told.message_count, told.consumer_count

    @contextmanager
    def aside(self) -> Iterator[Any]:
        """A channel for one question."""
        channel = self.channel()
        try:
            yield channel
        finally:
            with suppress(*LOST):
                if channel.is_open:
                    channel.close()

    def lock(self, queue: str, patience: float = 0.0) -> bool:
        """Take the queue's lock, an exclusive queue that goes with this connection; False: somebody has it.

        A user who may not declare queues works without the lock.
        """
        if self._connection is not None and self._connection.is_open and queue in self._locks:
            return True
        until = time.monotonic() + patience
        while True:
            with self.aside() as channel:
                try:
                    channel.queue_declare(f"dlqanalysis.lock.{queue}", exclusive=True)
                except exceptions.ChannelClosedByBroker as error:
                    if error.reply_code == 405:
                        if time.monotonic() >= until:
                            return False
                        time.sleep(0.2)
                        continue
                    if error.reply_code != 403:
                        raise ConnectError(
                            f"RabbitMQ at {self.address} refused the lock of '{queue}': {error.reply_text}."
                        ) from None
            self._locks.add(queue)
            return True

    def drop(self) -> None:
        """Give the connection back, and the locks with it."""
        connection, self._connection = self._connection, None
        self._locks.clear()
        if connection is not None and connection.is_open:
            with suppress(*LOST, DLQError):
                connection.close()
