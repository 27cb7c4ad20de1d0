"""Where dead-letter lists are: `list+redis://user:password@host:6379/0?keys=tokpulse:dlq:*`.

| option | means |
|---|---|
| keys | names and patterns of the dead-letter lists, with commas |
| main | the list that consumers take from: `tokpulse:{name}`. Default: the key without its `dlq:` |
| quarantine | where what is set aside lies. Default: `{prefix}:quarantine` |
| oldest | tail or head: which end of a dead-letter list is the oldest. Default: tail, as producers LPUSH |
| push | left or right: how producers put into the main list. Default: left, or right with oldest=head |
| type, id, error, time, payload | where a message says it, as a path: `meta.kind`. Default: the usual names |
| tz | the zone of times that have none: UTC, Europe/Berlin. Without it such times are left out |
| ca | the file with the certificate authority, for rediss |
"""

from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from dlqanalysis.errors import DLQError, SettingsError
from dlqanalysis.sources._redis import Server, parse
from dlqanalysis.sources.redis_list.keys import Names, named, shown, template

if TYPE_CHECKING:
    import redis

SCHEMES = {"list+redis": False, "list+rediss": True}
PATHS = ("type", "id", "error", "time", "payload")
_OPTIONS = ("keys", "main", "quarantine", "oldest", "push", "tz", *PATHS)
_GLOB = frozenset("*?[")
_STEPS = 20_000  # of SCAN, a thousand keys each


@dataclass(frozen=True, kw_only=True)
class Address:
    """The dead-letter lists of one Redis database. Its text and repr hold no secret."""

    server: Server
    keys: tuple[str, ...]
    main: str = ""
    quarantine: str = ""
    head_is_oldest: bool = False
    push_right: bool = False
    zone: tzinfo | None = None
    paths: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address behind a URL."""
        server, options = parse(url, SCHEMES, _OPTIONS, "list+redis://host:6379/0?keys=app:dlq:*")
        keys = tuple(dict.fromkeys(unquote(k) for k in options.get("keys", "").split(",") if k))
        if not keys:
            raise SettingsError(
                "Which lists are dead-letter queues? Name them, or a pattern, in the URL: ?keys=app:dlq:*."
            )
        head = _either("oldest", options, ("tail", "head"))
        right = _either("push", options, ("left", "right"))
        return cls(
            server=server,
            keys=keys,
            main=template("main", unquote(options.get("main", ""))),
            quarantine=template("quarantine", unquote(options.get("quarantine", ""))),
            head_is_oldest=head == "head",
            push_right=(right or ("right" if head == "head" else "left")) == "right",
            zone=_zone(unquote(options.get("tz", ""))),
            paths={name: unquote(options[name]) for name in PATHS if options.get(name)},
        )

    @property
    def name(self) -> str:
        """`list:host:6379/0`; the same for source and hand."""
        return f"list:{self.server}"

    def connect(self, *, writes: bool) -> "redis.Redis":
        """A connection that gives bytes."""
        return self.server.connect(writes=writes)

    def trouble(self, error: Exception) -> DLQError:
        """What an error of Redis means here."""
        return self.server.trouble(error)

    def main_of(self, key: bytes) -> bytes | None:
        """The list that consumers of a dead-letter list take from; None where nothing tells."""
        names = Names.of(shown(key))
        found = names.filled(self.main) if self.main else names.main
        return named(found) if found and named(found) != key else None

    def quarantine_of(self, key: bytes) -> bytes:
        """The list where what is set aside lies."""
        names = Names.of(shown(key))
        return named(names.filled(self.quarantine) if self.quarantine else names.quarantine)

    def find(self, client: "redis.Redis", notes: list[str]) -> list[bytes]:
        """The dead-letter lists that are there, in order; by SCAN where a pattern is given.

        A list that is the main or quarantine list of another one found is none.
        """
        found = {key.encode() for key in self.keys if not _GLOB & set(key)}
        for pattern in (key for key in self.keys if _GLOB & set(key)):
            cursor, before = 0, len(found)
            for _ in range(_STEPS):
                cursor, some = client.scan(cursor, match=pattern, count=1000, _type="list")
                found.update(some)
                if not int(cursor):
                    if len(found) == before:  # a typo would read as if nothing had failed
                        notes.append(
                            f"No list is named like {pattern}: all of them are empty, or ?keys= has a typo."
                        )
                    break
            else:
                notes.append(
                    "The search for lists was stopped: this Redis has too many keys. Name them:"
                    " ?keys=a,b in the URL."
                )
        pairs = [(key, self.quarantine_of(key)) for key in found]
        pairs += [(key, main) for key in found if (main := self.main_of(key))]
        others = {other for key, other in pairs if other != key}
        if mixed := sorted(shown(key) for key in found & others):
            notes.append(
                f"{', '.join(mixed[:3])}: taken for the main or quarantine list of others that ?keys= names,"
                " so not read. Name it alone to read it."
            )
        return sorted(found - others)


def _either(option: str, options: dict[str, str], words: tuple[str, str]) -> str:
    value = options.get(option, "").lower()
    if value and value not in words:
        raise SettingsError(f"{option}={value[:20]} is unknown. Write {words[0]} or {words[1]}.")
    return value


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, KeyError):
        raise SettingsError(
            f"tz={name[:40]} is no time zone. Write UTC, or a name such as Europe/Berlin."
        ) from None
