"""What only RabbitMQ's management API tells: type, arguments and policy of a queue, alarms. Reads with GET.

DLQ_<NAME>_MANAGEMENT_URL, such as https://user:password@host:15671; without user it is the AMQP URL's.
"""

import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.sources import _amqp
from dlqanalysis.sources._counts import depth_of, whole_of

_PATIENCE = 10  #: seconds
_NUMBERS = (
    "messages_ready", "messages_unacknowledged", "message_bytes_ready", "consumers", "head_message_timestamp",
    "connections", "mem_used", "mem_limit", "disk_free", "disk_free_limit",
)  # fmt: skip
_TABLES = ("arguments", "effective_policy_definition")
_LIMITS = (
    "message-ttl",
    "delivery-limit",
    "max-length",
    "max-length-bytes",
)  #: arguments that count


class Management:
    """The management API beside one AMQP URL, of its vhost. `ca` is the authority's file, for https."""

    def __init__(self, url: str, amqp: str, variable: str, ca: str | None = None) -> None:
        parts, broker = urlsplit(url), urlsplit(amqp)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{variable} is no URL. Write http://user:password@host:15672.")
        whose = parts if parts.username else broker
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._place, self._variable = f"{parts.scheme}://{host}{port}", variable
        self._vhost = quote(_amqp.vhost(amqp), safe="")
        self._base = f"{self._place}{parts.path.rstrip('/')}"
        self._auth = (unquote(whose.username or "guest"), unquote(whose.password or "guest"))
        self._trust = _amqp.trust(ca) if parts.scheme == "https" else True

    def queue(self, name: str) -> dict[str, Any] | None:
        """What is known of a queue, or None where there is none."""
        found = self._get(f"/api/queues/{self._vhost}/{quote(name, safe='')}")
        return _known(found) if isinstance(found, dict) else None

    def queues(self) -> list[dict[str, Any]]:
        """Every queue of the vhost."""
        return self._list(f"/api/queues/{self._vhost}")

    def graveyards(self) -> set[str]:
        """The names of queues that others dead-letter into."""
        exchanges, dead = set(), set()
        for told in self.queues():
            exchange = setting(told, "dead-letter-exchange")
            if exchange == "":
                dead.add(str(setting(told, "dead-letter-routing-key") or told.get("name")))
            elif exchange is not None:
                exchanges.add(str(exchange))
        bindings = self._list(f"/api/bindings/{self._vhost}")
        return dead | {
            str(b.get("destination")) for b in bindings if str(b.get("source")) in exchanges
        }

    def nodes(self) -> list[dict[str, Any]]:
        """Every node: memory, disk, alarms."""
        return self._list("/api/nodes")

    def totals(self) -> dict[str, Any]:
        """How many connections, channels, consumers, queues the broker has."""
        found = self._get("/api/overview")
        totals = found.get("object_totals") if isinstance(found, dict) else None
        return _known(totals) if isinstance(totals, dict) else {}

    def permissions(self, user: str) -> dict[str, str] | None:
        """What a user may configure, write and read in the vhost, as patterns; None when it is not told."""
        try:
            found = self._get(f"/api/permissions/{self._vhost}/{quote(user, safe='')}")
        except ConnectError as error:
            if "answered 401" in str(error) or "answered 403" in str(error):
                return None
            raise
        if not isinstance(found, dict):
            return None
        return {name: pattern for name, pattern in found.items() if isinstance(pattern, str)}

    def alarms(self) -> list[str]:
        """Which nodes are out of memory or disk: they take no messages."""
        return [
            f"{node.get('name')} is out of {what}"
            for node in self.nodes()
            for what, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm"))
            if node.get(key)
        ]

    def _list(self, path: str) -> list[dict[str, Any]]:
        found = self._get(path)
        entries = found if isinstance(found, list) else []
        return [_known(one) for one in entries if isinstance(one, dict)]

    def _get(self, path: str) -> Any:
        import httpx

        from dlqanalysis.sources._http import answered

        asked: dict[str, Any] = {"auth": self._auth, "timeout": _PATIENCE, "verify": self._trust}
        asked["headers"] = {"Accept-Encoding": "gzip"}
        try:
            with httpx.stream("GET", f"{self._base}{path}", **asked) as response:
                answer = answered(response, time.monotonic() + 2 * _PATIENCE)
            if answer.status == 404:
                return None
            if answer.status < 400:
                return answer.json()
            said = f"answered {answer.status}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            said = f"does not answer ({type(error).__name__})"
        raise ConnectError(
            f"The management API at {self._place} {said}. Check {self._variable} and that its user has the tag"
            " 'monitoring', or unset it."
        )


def _known(told: dict[str, Any]) -> dict[str, Any]:
    """An object without what is misshapen in it: a number that is none, a table that is none. Nobody knows it then."""
    known = {name: depth_of(value) if name in _NUMBERS else value for name, value in told.items()}
    return {
        name: value
        for name, value in known.items()
        if not (name in _NUMBERS and value is None)
        and not (name in _TABLES and not isinstance(value, dict))
    }


def setting(told: dict[str, Any] | None, argument: str) -> Any:
    """An argument of a queue or of its policy (x-message-ttl and message-ttl); the smaller of both."""
    if not told:
        return None
    found = [
        (told.get("arguments") or {}).get(f"x-{argument}"),
        (told.get("effective_policy_definition") or {}).get(argument),
    ]
    numbers = [number for number in map(whole_of, found) if number is not None]
    texts = [value for value in found if isinstance(value, str) and argument not in _LIMITS]
    return min(numbers) if numbers else (texts[0] if texts else None)
