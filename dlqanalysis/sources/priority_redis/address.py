"""Where the priority queue's Redis is: `priority+redis://user:password@host:6379/0?tz=Europe/Berlin`.

| option | means |
|---|---|
| tz | the zone of the times that the system writes without one; default: measured by what expires |
| ttl | how long `dlq:task:*` lives, default 7d |
| reset_attempts | yes: a replayed task gets all its attempts again; default: one run and no more |
| prefix | how all keys of the system begin, default nothing |
| ca | the file with the certificate authority, for rediss |
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from dlqanalysis.errors import ConnectError, DLQError, SettingsError
from dlqanalysis.sources._priority import Options, options

if TYPE_CHECKING:
    import redis

SCHEMES = ("priority+redis", "priority+rediss")


@dataclass(frozen=True, kw_only=True)
class Address:
    """One Redis database with the lists. Its text and repr hold no secret."""

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    prefix: str = ""
    options: Options = field(default_factory=Options)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address behind a URL."""
        scheme = url.partition("://")[0].lower()
        unreadable = SettingsError(
            "This URL of a priority queue cannot be read. Write priority+redis://user:password@host:6379/0,"
            " with @ : / ? # % in user and password percent-encoded (@ is %40)."
        )
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
        except ValueError:
            raise unreadable from None
        number = parts.path.strip("/")
        if scheme not in SCHEMES or not parts.hostname or parts.fragment:
            raise unreadable
        if number and not number.isdecimal():
            raise unreadable
        known, others = options(parts.query, ("prefix", "ca"))
        return cls(
            host=parts.hostname,
            port=port,
            database=int(number or 0),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=scheme == "priority+rediss",
            ca=others.get("ca") or None,
            prefix=others.get("prefix", ""),
            options=known,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    @property
    def name(self) -> str:
        """`priority:host:6379/0`, with the prefix where there is one; the same for source and hand."""
        return f"priority:{self}" + (f"/{self.prefix}" if self.prefix else "")

    def connect(self, *, writes: bool) -> "redis.Redis":
        """A connection that gives bytes. One that writes never sends a command twice by itself."""
        import redis
        from redis.backoff import ExponentialBackoff, NoBackoff
        from redis.retry import Retry

        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": self.ca} if self.tls else {}
        client = redis.Redis(
            host=self.host,
            port=self.port,
            db=self.database,
            username=self.username,
            password=self.password,
            protocol=2,
            socket_connect_timeout=5,
            socket_timeout=30,
            retry=Retry(NoBackoff(), 0) if writes else Retry(ExponentialBackoff(cap=1), 2),
            **tls,
        )
        try:
            if _clustered(client):
                raise ConnectError(_CLUSTER.format(here=self))
        except (redis.RedisError, OSError) as error:
            client.close()
            raise self.trouble(error) from None
        except DLQError:
            client.close()
            raise
        return client

    def trouble(self, error: Exception) -> DLQError:
        """What an error of Redis means here and what to do next, without secrets."""
        if isinstance(error, DLQError):
            return error
        said = " ".join(str(error).split())
        for marks, sentence in _TROUBLES:
            if any(mark in said or mark == type(error).__name__ for mark in marks):
                return ConnectError(sentence.format(here=self))
        for secret in (self.password, self.username):
            said = said.replace(secret, "***") if secret else said
        return ConnectError(f"Redis at {self}: {said[:200]}")


def _clustered(client: "redis.Redis") -> bool:
    import redis

    try:
        said = client.execute_command("INFO", "cluster")
    except redis.exceptions.NoPermissionError:
        client.ping()
        return False  # a reader need not have INFO; a cluster says MOVED soon enough
    if isinstance(said, dict):
        return bool(int(said.get("cluster_enabled", 0)))
    return b"enabled:1" in said


_CLUSTER = (
    "Redis at {here} is a cluster. An entry and its task are moved by one script, which needs them on one"
    " server: give the URL of a Redis or Valkey without cluster mode."
)
_TROUBLES = (
    (("MOVED ", "CROSSSLOT", "CLUSTERDOWN"), _CLUSTER),
    (
        ("WRONGPASS", "NOAUTH", "invalid username-password", "AuthenticationError",
         "without any password configured", "Authentication required"),
        "Redis at {here} does not let us in. Check user and password in the URL.",
    ),
    (
        ("NOPERM", "NoPermissionError", "no permissions"),
        "Redis at {here}: this user may not do that. docs/operations.md lists what a reader and a hand need.",
    ),
    (
        ("WRONGTYPE",),
        "Redis at {here} has another type of key where the lists dlq:high, dlq:normal, dlq:low should be."
        " Check the database's number and ?prefix=.",
    ),
    (
        ("READONLY", "ReadOnlyError"),
        "Redis at {here} is a replica, which takes no writes. Give the hand the URL of the primary.",
    ),
    (
        ("LOADING", "BusyLoadingError", "MASTERDOWN", "MISCONF", "OutOfMemoryError", "OOM "),
        "Redis at {here} is not able to serve now (loading, out of memory, or without its disk). Look at its"
        " log, then try again.",
    ),
    (("DB index is out of range", "invalid DB index"), "Redis at {here} has no database of this number."),
    (
        ("CERTIFICATE_VERIFY_FAILED", "SSL", "WRONG_VERSION_NUMBER"),
        "Redis at {here} and TLS do not get on. Check rediss or redis, and ?ca=FILE for a private authority.",
    ),
    (
        ("ConnectionError", "TimeoutError", "ConnectionRefusedError", "refused", "timed out",
         "Name or service", "Connection closed"),
        "Redis at {here} does not answer. Check host and port in the URL, and that it can be reached from here.",
    ),
)  # fmt: skip
