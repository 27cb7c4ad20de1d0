"""Where the priority queue's Redis is: `priority+redis://user:password@host:6379/0?tz=Europe/Berlin`.

| option | means |
|---|---|
| tz | the zone of the times that the system writes without one; default: measured by what expires |
| ttl | how long `dlq:task:*` lives, default 7d |
| reset_attempts | yes: a replayed task gets all its attempts again; default: one run and no more |
| prefix | how all keys of the system begin, default nothing |
| ca | the file with the certificate authority, for rediss |
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dlqanalysis.errors import ConnectError, DLQError
from dlqanalysis.sources._priority import OPTIONS, Options, options
from dlqanalysis.sources._redis import Server, parse

if TYPE_CHECKING:
    import redis

_SCHEMES = {"priority+redis": False, "priority+rediss": True}
_EXAMPLE = "priority+redis://user:password@host:6379/0?tz=Europe/Berlin"


@dataclass(frozen=True, kw_only=True)
class Address:
    """One Redis database with the lists. Its text and repr hold no secret."""

    server: Server
    options: Options
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address behind a URL."""
        server, said = parse(url, _SCHEMES, ("prefix", *OPTIONS), _EXAMPLE)
        prefix = unquote(said.pop("prefix", ""))
        return cls(server=server, options=options(said), prefix=prefix)

    def __str__(self) -> str:
        return str(self.server)

    @property
    def name(self) -> str:
        """`priority:host:6379/0`, with the prefix where there is one; the same for source and hand."""
        return f"priority:{self}" + (f"/{self.prefix}" if self.prefix else "")

    def connect(self, *, writes: bool) -> "redis.Redis":
        """A connection that gives bytes. One that writes never sends a command twice by itself."""
        return self.server.connect(writes=writes)

    def trouble(self, error: Exception) -> DLQError:
        """What an error of Redis means here and what to do next, without secrets."""
        if "WRONGTYPE" in str(error):
            return ConnectError(
                f"Redis at {self} has another type of key where the lists dlq:high, dlq:normal, dlq:low"
                " should be. Check the database's number and ?prefix=."
            )
        return self.server.trouble(error)
