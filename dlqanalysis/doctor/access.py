"""What a server says of itself and of the user that we come as: version, rights, clock. Asks; changes nothing.

`ask(url)` gives version, user, now (UTC, or None), writes (what the user could change, by name; None when it
cannot be told, with `unknown` saying why), or nothing for a system that has no users of its own.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from dlqanalysis.sources import _redis
from dlqanalysis.sources._management import Management
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery_broker.address import Address as Broker
from dlqanalysis.sources.rabbitmq.address import Address as Queues
from dlqanalysis.sources.rabbitmq.link import Link


def ask(url: str, management: str | None = None) -> dict[str, Any]:
    """What the server behind a URL says; a ConnectError where it does not answer or refuses us."""
    scheme = url.partition("://")[0].lower()
    kind = scheme.rpartition("+")[2] if not scheme.startswith("postgresql") else "postgresql"
    if kind in ("postgresql", "postgres"):
        return _postgres(url)
    if kind in ("redis", "rediss"):
        return _server(url, scheme)
    if kind in ("amqp", "amqps"):
        return _broker(url, management)
    return {}


# A right on one column is one to write, too.
_RIGHTS = """
    select c.oid::regclass::text, p.privilege
    from pg_class c, unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p (privilege)
    where c.relkind in ('r', 'p', 'v', 'f') and c.relnamespace = any (current_schemas(false)::regnamespace[])
      and case when p.privilege in ('INSERT', 'UPDATE') then has_any_column_privilege(c.oid, p.privilege)
          else has_table_privilege(c.oid, p.privilege) end
    order by 1, 2
"""


def _postgres(url: str) -> dict[str, Any]:
    address = Address.parse(url.replace("celery+", "", 1).replace("results+", "", 1))
    try:
        with address.reader.connect() as db:
            row = db.exec_driver_sql(
                "select current_setting('server_version'), current_user, now(), s.rolsuper"
                " from pg_roles s where rolname = current_user"
            ).one()
            rights = db.exec_driver_sql(_RIGHTS).all()
    except Exception as error:
        raise address.trouble(error) from None
    version, user, now, above = row
    writes = [f"{right} on {table}" for table, right in rights]
    more = [f"and {len(writes) - 3:,} more"] if len(writes) > 3 else []
    return {
        "version": f"PostgreSQL {str(version).split()[0]}",
        "user": user,
        "now": now,
        "writes": ["all: it is a superuser"] if above else writes[:3] + more,
    }


#: Commands that every hand needs one of, with a key as a stand-in: DRYRUN runs nothing.
_WRITES = (
    ("SET", "x", "1"),
    ("DEL", "x"),
    ("LPUSH", "x", "1"),
    ("ZADD", "x", "1", "1"),
    ("EVAL", "1", "0"),
)


def _server(url: str, scheme: str) -> dict[str, Any]:
    options = [pair.partition("=")[0] for pair in urlsplit(url).query.split("&") if pair]
    known = {scheme: scheme.endswith("rediss")}
    server, _ = _redis.parse(url, known, options, f"{scheme}://user@host:6379/0")
    client = server.connect(writes=False)
    try:
        told = _redis.answer(client, "INFO", "server")
        version = told.get("redis_version", "?") if isinstance(told, dict) else "?"
        user = _redis.answer(client, "ACL", "WHOAMI")
        user = user.decode() if isinstance(user, bytes) else server.username or "default"
        now = client.time() if _redis.answer(client, "TIME") is not None else None
        return {
            "version": f"Redis {version}",
            "user": user,
            "now": datetime.fromtimestamp(now[0] + now[1] / 1e6, UTC) if now else None,
            **_allowed(client, user),
        }
    except Exception as error:
        raise server.trouble(error) from None
    finally:
        client.close()


def _allowed(client: Any, user: str) -> dict[str, Any]:
    """Which writing commands the user may give, by ACL DRYRUN; that itself needs a right that readers lack."""
    writes = []
    for command in _WRITES:
        said = _redis.answer(client, "ACL", "DRYRUN", user, *command)
        if said is None:
            return {"writes": None, "unknown": "it may not ask (ACL DRYRUN); ask an administrator"}
        if said in (b"OK", "OK", True):
            writes.append(command[0])
    return {"writes": writes}


def _broker(url: str, management: str | None) -> dict[str, Any]:
    if url.startswith("celery+"):  # its options are not those of dead-letter queues
        celery = Broker.parse(url)
        url = celery.broker + (f"?{urlencode({'ca': celery.ca})}" if celery.ca else "")
    separator = "&" if "?" in url else "?"
    url += "" if "queue=" in url else f"{separator}queue=none"  # a broker's URL names no queue
    address = Queues.parse(url, management)
    link = Link(address)
    try:
        version = ".".join(map(str, link.version))
    finally:
        link.drop()
    user = urlsplit(url).username or "guest"
    told = {"version": f"RabbitMQ {version}", "user": user, "now": None}
    if not management:
        why = "DLQ_<NAME>_MANAGEMENT_URL is not set, and only the management API tells"
        return told | {"writes": None, "unknown": why}
    variable = "DLQ_<NAME>_MANAGEMENT_URL"
    rights = Management(management, address.url, variable, address.ca).permissions(user)
    if rights is None:
        return told | {
            "writes": None,
            "unknown": "the management API tells permissions to administrators only",
        }
    return told | {"writes": [name for name in ("write", "configure") if rights.get(name)]}
