"""Where a `failed_tasks` table lives: a Postgres URL with a few options of our own, and sessions opened from it.

`postgresql://user:password@host/database?table=failed_tasks&schema=ops&map=task_name:task&status=failed:dead`

| option | means |
|---|---|
| table, schema | the table; default: failed_tasks, found on the search path |
| map | frame column:table column, with commas, where our guess is wrong or missing |
| status | our word:the table's word, with commas, such as failed:dead |
| statement_timeout | how long one statement may run, such as 60s; default 120s |

Every other option is libpq's (sslmode, options, connect_timeout, service, ...) and is passed on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dlqanalysis.errors import (
    PERCENT,
    ConnectError,
    DLQError,
    QueryError,
    SchemaError,
    SettingsError,
    did_you_mean,
)
from dlqanalysis.model import duration
from dlqanalysis.profile import url_of

if TYPE_CHECKING:
    import sqlalchemy as sa

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "celery+postgresql")
_OURS = ("table", "schema", "map", "status", "statement_timeout")


@dataclass(frozen=True, kw_only=True)
class Address:
    """One table in one database. Its text and repr hold no secret."""

    conninfo: Mapping[str, str] = field(repr=False)  #: libpq's parameters, with the password
    table: str = "failed_tasks"
    schema: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  #: frame column -> table column
    statuses: Mapping[str, str] = field(default_factory=dict)  #: our word -> the table's word
    statement_timeout: str = "120s"

    @classmethod
    def parse(cls, name_or_url: str) -> "Address":
        """The address behind a URL, or behind a name whose variable DLQ_<NAME>_URL holds the URL."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        url = url_of(name_or_url)
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            raise SettingsError(
                f"'{scheme}' is no scheme of a failed_tasks table. Write postgresql://user@host/database."
            )
        place, _, query = rest.partition("?")
        options: dict[str, str] = {}
        for pair in filter(None, query.split("&")):
            key, _, value = pair.partition("=")
            options[unquote(key)] = unquote(value)
        ours = {key: options.pop(key) for key in _OURS if key in options}
        unreadable = SettingsError(  # in our words: libpq's may quote a part of the password
            f"This Postgres URL cannot be read. Write postgresql://user:password@host:5432/database, {PERCENT}"
        )
        try:
            conninfo = {
                key: str(value)
                for key, value in conninfo_to_dict(f"postgresql://{place}").items()
                if value is not None
            }
        except ProgrammingError:
            raise unreadable from None
        # a bare @ : / or ? in a password slides into the parts that messages show
        shown = [conninfo.get(key, "") for key in ("host", "dbname", "user")] + list(options)
        ports = conninfo.get("port", "").replace(",", "")
        if any("@" in text for text in shown) or not (ports.isdigit() or not ports):
            raise unreadable
        for key in options:
            if key not in (known := _libpq_options()):
                hint = did_you_mean(key, [*_OURS, *known])
                raise SettingsError(f"'{key}' is no option of a Postgres URL. {hint}")
        conninfo |= options
        try:
            make_conninfo("", **conninfo)
        except ProgrammingError:
            raise unreadable from None
        timeout = ours.get("statement_timeout") or "120s"
        duration(timeout)
        schema, table = ours.get("schema") or None, ours.get("table") or "failed_tasks"
        return cls(
            conninfo=conninfo,
            table=table,
            schema=schema,
            columns=_pairs("map", ours.get("map", "")),
            statuses=_pairs("status", ours.get("status", "")),
            statement_timeout=timeout,
        )

    def __str__(self) -> str:
        host = self.conninfo.get("host", "")
        port = f":{self.conninfo['port']}" if "port" in self.conninfo else ""
        return f"{host or 'the local server'}{port}/{self.conninfo.get('dbname', '')}"

    @property
    def name(self) -> str:
        """System and place, for frames and plans; the same for source and hand."""
        return f"celery:{self.schema}.{self.table}" if self.schema else f"celery:{self.table}"

    @property
    def encoding(self) -> str:
        """UTF8 whatever the database's or PGCLIENTENCODING; another only where the URL says so."""
        return self.conninfo.get("client_encoding", "UTF8")

    def session(self, read_only: bool = True) -> str:
        """libpq's connection string for one session, with the password: never show it."""
        from psycopg.conninfo import make_conninfo

        milliseconds = int(duration(self.statement_timeout).total_seconds() * 1000)
        settings = f"-c statement_timeout={milliseconds} -c TimeZone=UTC"  # naive times are UTC
        if read_only:
            settings += (
                " -c default_transaction_read_only=on -c idle_in_transaction_session_timeout=60s"
            )
        given = self.conninfo.get("options", "")
        defaults = {"connect_timeout": "10", "application_name": "dlqanalysis"}
        fixed = {"options": f"{given} {settings}".strip(), "client_encoding": self.encoding}
        return make_conninfo("", **{**defaults, **self.conninfo, **fixed})

    @cached_property
    def reader(self) -> "sa.Engine":
        """An engine whose sessions cannot write."""
        return self.engine(read_only=True)

    def engine(self, read_only: bool = True) -> "sa.Engine":
        """A SQLAlchemy engine that keeps no idle sessions."""
        import psycopg
        import sqlalchemy as sa

        return sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: _readable(psycopg.connect(self.session(read_only)), read_only),
            poolclass=sa.pool.NullPool,
            hide_parameters=True,
        )

    def trouble(self, error: Exception) -> DLQError:
        """What a driver's error means here and what to do next, in one sentence without secrets."""
        if isinstance(error, DLQError):
            return error
        original = getattr(error, "orig", None) or error
        text = " ".join(str(original).split())
        state = getattr(original, "sqlstate", None) or ""
        user = self.conninfo.get("user", "this user")
        for marks, kind, sentence in _TROUBLES:
            if state in marks or any(mark in text for mark in marks if " " in mark):
                return kind(
                    sentence.format(here=self, user=user, timeout=self.statement_timeout, me=self)
                )
        secret = self.conninfo.get("password")
        text = text.partition(" Query was: ")[0]
        text = text.replace(secret, "***") if secret else text
        return ConnectError(f"Postgres at {self} refused: {text[:300]}")


_TROUBLES: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (
        ("22021", "invalid byte sequence for encoding"),
        SchemaError,
        "Postgres at {here} holds text that is no UTF-8, as databases of encoding SQL_ASCII may. Say what it"
        " is: ?client_encoding=LATIN1 in the URL.",
    ),
    (
        ("57014", "statement timeout"),
        QueryError,
        "Postgres at {here} stopped a statement after {timeout}. Ask for less (since=, queue=, limit=),"
        " or allow more with ?statement_timeout=10m in the URL.",
    ),
    (
        ("28P01", "28000", "password authentication failed", "no password supplied", "no pg_hba.conf",
         'FATAL: role "'),
        ConnectError,
        "Postgres at {here} does not let {user} in. Check user and password in the URL, and that"
        " pg_hba.conf lets this host in.",
    ),
    (
        ("3D000", 'FATAL: database "'),
        ConnectError,
        "Postgres at {here} answers, but has no such database. Check the name after the last / of the URL.",
    ),
    (
        ("unsupported startup parameter",),
        ConnectError,
        "PgBouncer at {here} refuses our session settings. Add 'options' to its ignore_startup_parameters,"
        " or give the URL of the server itself.",
    ),
    (
        ("Connection refused", "connection timeout", "timeout expired", "could not translate host name",
         "failed to resolve host", "No route to", "Network is unreachable", "No such file or directory",
         "Name or service", "Connection timed out"),
        ConnectError,
        "Postgres at {here} does not answer. Check host and port in the URL, and that the server runs and"
        " can be reached from here.",
    ),
    (
        ("42501", "permission denied"),
        ConnectError,
        "Postgres at {here}: {user} may not read this. Ask for GRANT USAGE on the schema and GRANT SELECT"
        " on the table.",
    ),
    (
        ("57P01", "57P02", "57P03", "08006", "server closed the connection", "connection is lost"),
        ConnectError,
        "Postgres at {here} closed the connection. Try again when it is back.",
    ),
)  # fmt: skip


def _readable(connection: Any, read_only: bool) -> Any:
    """A reader's connection gives JSON as its text, and no time for one that Python cannot hold (infinity)."""
    from psycopg import DataError
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
    from psycopg.types.string import TextLoader

    if read_only:
        for kind, loader in (
            ("timestamptz", TimestamptzLoader), ("timestamp", TimestampLoader), ("date", DateLoader)
        ):  # fmt: skip

            class Finite(loader):  # type: ignore[valid-type, misc]
                def load(self, data: Any) -> Any:
                    try:
                        return super().load(data)
                    except DataError:
                        return None

            connection.adapters.register_loader(kind, Finite)
        for kind in ("json", "jsonb"):
            connection.adapters.register_loader(kind, TextLoader)
    return connection


def _pairs(option: str, text: str) -> dict[str, str]:
    pairs = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        left, colon, right = pair.partition(":")
        if not (colon and left and right):
            example = "task_name:task" if option == "map" else "failed:dead"
            raise SettingsError(f"'{option}={pair}' says nothing. Write ?{option}={example}.")
        pairs[left.strip()] = right.strip()
    return pairs


def _libpq_options() -> list[str]:
    from psycopg import pq

    return [item.keyword.decode() for item in pq.Conninfo.get_defaults()]
