"""One Redis or Valkey server behind a URL: connects with care, and says in a sentence what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from dlqanalysis.errors import PERCENT, ConnectError, DLQError, SettingsError, did_you_mean
from dlqanalysis.sources import _url

if TYPE_CHECKING:
    import redis

#: seconds that a server may be silent: the answer of a busy one takes its time
_SILENCE = 30


@dataclass(frozen=True, kw_only=True)
class Server:
    """One database of one server. Its text and repr hold no secret."""

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    def connect(self, *, writes: bool) -> "redis.Redis":
        """A connection that gives bytes. One that writes never sends a command twice by itself."""
        import redis
        from redis.backoff import ExponentialBackoff, NoBackoff
        from redis.retry import Retry

        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": self.ca} if self.tls else {}
        client = redis.Redis(
            host=self.host,
            port=self.port,
            db=self.database,
            username=self.username,
            password=self.password,
            protocol=2,
            socket_connect_timeout=5,
            socket_timeout=_SILENCE,
            socket_read_size=2**18,
            # what was silent for so long is not asked again
            retry=Retry(NoBackoff(), 0)
            if writes
            else Retry(ExponentialBackoff(cap=1), 2, (redis.ConnectionError,)),
            **options,
        )
        try:
            self._refuse_cluster(client)
        except (redis.RedisError, OSError) as error:
            client.close()
            raise self.trouble(error) from None
        except DLQError:
            client.close()
            raise
        return client

    def _refuse_cluster(self, client: "redis.Redis") -> None:
        import redis

        try:
            said = client.execute_command("INFO", "cluster")
        except redis.exceptions.NoPermissionError:
            client.ping()
            return  # a reader need not have INFO; a cluster says MOVED soon enough
        mode = said.get("cluster_enabled", 0) if isinstance(said, dict) else b"enabled:1" in said
        if int(mode):
            raise ConnectError(_CLUSTER.format(here=self))

    def trouble(self, error: Exception) -> DLQError:
        """What an error of Redis means here and what to do next, without secrets."""
        if isinstance(error, DLQError):
            return error
        text = " ".join(str(error).split())
        for marks, sentence in _TROUBLES:
            if any(mark in text or mark == type(error).__name__ for mark in marks):
                return ConnectError(sentence.format(here=self))
        for secret in (self.password, self.username):
            text = text.replace(secret, "***") if secret else text
        return ConnectError(f"Redis at {self}: {text[:200]}. Look at its log, then try again.")


def parse(
    url: str, schemes: Mapping[str, bool], options: Sequence[str], example: str
) -> tuple[Server, dict[str, str]]:
    """The server behind a URL, and its options as they stand there, still percent-encoded.

    `schemes` maps the schemes that are understood to whether they mean TLS; `ca` is an option of all.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in schemes:
        raise SettingsError(f"'{scheme[:40]}' is no scheme that is read here. Write {example}.")
    unreadable = SettingsError(f"This URL cannot be read. Write {example}, {PERCENT}")
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise unreadable from None
    number = parts.path.strip("/")
    if not parts.hostname or not (number.isdecimal() or not number) or parts.fragment:
        raise unreadable
    found = {}
    for pair in filter(None, parts.query.split("&")):
        key, _, value = pair.partition("=")
        if key not in (*options, "ca"):
            raise SettingsError(
                f"'{unquote(key)[:40]}' is no option of this URL. {did_you_mean(key, (*options, 'ca'))}"
            )
        found[key] = value
    server = Server(
        host=parts.hostname,
        port=port,
        database=int(number or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=schemes[scheme],
        ca=unquote(found.pop("ca", "")) or None,
    )
    return server, found


#: what a broker's URL may say to Celery or to a monitor of it, and not to Redis; TLS is always checked
_NOT_REDIS = (
    "ca",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "queues",
    "timeout",
    "visibility_timeout",
    "prefix",
)


def as_celery_has_it(url: str, **options: Any) -> "redis.Redis":
    """A client by the URL of a Celery broker or result backend; the authority is its ?ca= or ssl_ca_certs.

    Nothing is asked yet.
    """
    import redis

    parts = _url.parts_of(url)
    number = parts.path.strip("/")
    if number and not number.isdecimal():  # redis-py would take database 0
        raise SettingsError(
            f"'{number[:40]}' is no number of a Redis database. Write redis://host:6379/0."
        )
    asked = dict(parse_qsl(parts.query))
    ca = asked.get("ca") or asked.get("ssl_ca_certs")
    kept = {key: value for key, value in asked.items() if key not in _NOT_REDIS}
    if parts.scheme == "rediss" and ca:
        options["ssl_ca_certs"] = ca
    bare = urlunsplit(parts._replace(query=urlencode(kept)))
    options = {"socket_timeout": 10, "socket_connect_timeout": 5, **options}
    try:
        client: redis.Redis = redis.Redis.from_url(bare, **options)
        client.connection_pool.make_connection()  # only made: it connects when it is first used
    except (ValueError, TypeError):
        raise SettingsError(
            f"Redis knows no option like one of {', '.join(kept)[:100]} in its URL. Leave it out."
        ) from None
    return client


def answer(client: "redis.Redis", *command: str) -> Any:
    """What a server says, or None where it does not know the command or this user may not give it."""
    from redis.exceptions import ResponseError

    try:
        return client.execute_command(*command)
    except ResponseError:
        return None


def answers(client: "redis.Redis", commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What a server says to each command, all sent in one go; a refusal is its exception.

    redis-py's own pipeline does the same, and costs three times as much a command.
    """
    import hiredis
    import redis

    if not commands:
        return []
    connection = client.connection_pool.get_connection()
    packed = b"".join(map(hiredis.pack_command, commands))

    def answer() -> Any:
        try:
            return connection.read_response()
        except redis.ResponseError as error:
            return error

    def ask() -> list[Any]:
        connection.send_packed_command([packed])
        return [answer() for _ in commands]

    try:
        found: list[Any] = connection.retry.call_with_retry(ask, lambda _: connection.disconnect())
        return found
    except BaseException:  # what was not read must not be taken for the next answer
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)


_CLUSTER = (
    "Redis at {here} is a cluster. What moves goes from key to key in one script, which needs them on one"
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
        ("READONLY", "ReadOnlyError"),
        "Redis at {here} is a replica, which takes no writes. Give the hand the URL of the primary.",
    ),
    (
        ("LOADING", "BusyLoadingError", "MASTERDOWN", "MISCONF", "OutOfMemoryError", "OOM ",
         "used memory >"),
        "Redis at {here} is not able to serve now (loading, out of memory, or without its disk). Look at its"
        " log, then try again.",
    ),
    (("DB index is out of range", "invalid DB index"), "Redis at {here} has no database of this number: correct the URL."),
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
