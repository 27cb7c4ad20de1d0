"""How lists and failures in them are called here.

A failure is an occurrence: the n-th element with these bytes in one list. Its id is `list:sha1:n`. Numbers
go from the oldest end and leave out those that the ledger says were taken: an id keeps meaning the same
element while others come and go, and a message that comes back with the same bytes is another failure.
"""

import re
from string import Formatter
from typing import NamedTuple

from dlqanalysis.errors import QueryError, SettingsError, did_you_mean

_PART = re.compile(r"(?:^|(?<=[:._/-]))(?:dlq|dead[-_]?letters?|dead)(?=$|[:._/-])", re.IGNORECASE)
_SEPARATORS = ":._/-"
_UNSHOWN = re.compile("[\\x00-\\x20\\x7f-\\xa0\u2028\u2029\ufeff%]|[\ud800-\udfff]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_ID = re.compile(r"(?s)(.+):([0-9a-f]{40}):([1-9][0-9]{0,17})")
FIELDS = ("key", "name", "prefix")  #: what a template for a list's name may hold


class Token(NamedTuple):
    """One occurrence in a list: the sha1 of its bytes, and its number among those with the same."""

    sha1: str
    number: int

    def __str__(self) -> str:
        return f"{self.sha1}:{self.number}"


class Names(NamedTuple):
    """What a dead-letter list's key says: `tokpulse:dlq:webhooks` has prefix tokpulse, name webhooks."""

    key: str
    prefix: str
    name: str
    separator: str
    main: str | None  #: the key without its `dlq`; None when it has none, or nothing is left

    @classmethod
    def of(cls, key: str) -> "Names":
        """The names in a key."""
        found = _PART.search(key)
        if not found:
            head, separator, name = _parted(key)
            return cls(key, head, name, separator or ":", None)
        before, after = key[: found.start()], key[found.end() :]
        separator = before[-1:] or after[:1] or ":"
        prefix, name = before[:-1], after[1:]
        main = before + name if name else prefix
        return cls(key, prefix, name or prefix, separator, main or None)

    def filled(self, template: str) -> str:
        """A template with {key}, {name} and {prefix} filled in."""
        return template.format(key=self.key, name=self.name, prefix=self.prefix)

    @property
    def quarantine(self) -> str:
        """Where what is set aside lies, unless a template says otherwise: `<prefix>:quarantine`."""
        return f"{self.prefix}{self.separator}quarantine" if self.prefix else "quarantine"


def template(option: str, text: str) -> str:
    """The template itself, if it can be filled in."""
    try:
        fields = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError:
        raise SettingsError(
            f"{option}={text[:60]} cannot be read. Write a key with {{name}}, {{prefix}} or {{key}} in it."
        ) from None
    for name in fields:
        if name not in FIELDS:
            raise SettingsError(
                f"{option}= knows no '{{{name[:40]}}}'. {did_you_mean(name, FIELDS)}"
            )
    return text


def parsed(text: str) -> tuple[bytes, Token]:
    """The list and the occurrence behind a failure_id."""
    found = _ID.fullmatch(text)
    if not found:
        raise QueryError(
            f"'{text[:80]}' is no failure of a list: those are list:sha1:number. Take failure_id from a"
            " loaded frame."
        )
    return named(found[1]), Token(found[2], int(found[3]))


def shown(key: bytes) -> str:
    """A key as text that can be turned back: printable characters as they are, others %XX."""
    text = key.decode("utf-8", "surrogateescape")
    return _UNSHOWN.sub(
        lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode("utf-8", "surrogateescape")), text
    )


def named(text: str) -> bytes:
    """The key behind `shown` text."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode())


def _parted(key: str) -> tuple[str, str, str]:
    place = max(key.rfind(mark) for mark in _SEPARATORS)
    return (key[:place], key[place], key[place + 1 :]) if place > 0 else ("", "", key)
