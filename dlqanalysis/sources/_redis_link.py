"""One connection to Redis, opened when it is first used; what goes wrong comes out as one clear sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import redis


class Address(Protocol):
    """What is behind a system's URL."""

    def connect(self, *, writes: bool) -> "redis.Redis":
        """A connection; one that writes never sends a command again by itself."""
        ...

    def trouble(self, error: Exception) -> Exception:
        """What an error means here, in a sentence without secrets."""
        ...


class Link:
    """The way to one address, for reading or for writing."""

    def __init__(self, address: Address, *, writes: bool = False) -> None:
        self.address, self.writes = address, writes

    @cached_property
    def client(self) -> "redis.Redis":
        """The connection; one that writes never sends a command again by itself."""
        return self.address.connect(writes=self.writes)

    @contextmanager
    def clear(self) -> Iterator["redis.Redis"]:
        """The connection, for a block whose errors are told in this house's words."""
        import redis

        try:
            yield self.client
        except (redis.RedisError, OSError) as error:
            raise self.address.trouble(error) from None

    def close(self) -> None:
        """Give the connection back; it is opened again when it is asked for."""
        if client := self.__dict__.pop("client", None):
            client.close()
