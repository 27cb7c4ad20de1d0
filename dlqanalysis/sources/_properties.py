"""A message's properties and headers as the bytes they came in, so that a replay changes only what it means to.

pika's own decoding rounds floats down, cannot write them, and gives up a whole connection over one odd header.
Layout: AMQP 0-9-1 specification 4.2.5 and RabbitMQ's errata for field types.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from dlqanalysis.text import decoded

_SHORT = "short"
#: name -> (flag, kind), in the order of the wire
_FIELDS: dict[str, tuple[int, Any]] = {
    "content_type": (1 << 15, _SHORT),
    "content_encoding": (1 << 14, _SHORT),
    "headers": (1 << 13, "table"),
    "delivery_mode": (1 << 12, ">B"),
    "priority": (1 << 11, ">B"),
    "correlation_id": (1 << 10, _SHORT),
    "reply_to": (1 << 9, _SHORT),
    "expiration": (1 << 8, _SHORT),
    "message_id": (1 << 7, _SHORT),
    "timestamp": (1 << 6, ">Q"),
    "type": (1 << 5, _SHORT),
    "user_id": (1 << 4, _SHORT),
    "app_id": (1 << 3, _SHORT),
    "cluster_id": (1 << 2, _SHORT),
}
#: kinds of fixed size
_FIXED = {
    b"t": ">?", b"b": ">b", b"B": ">B", b"U": ">h", b"u": ">H", b"s": ">h", b"I": ">i", b"i": ">I",
    b"L": ">q", b"l": ">q", b"f": ">f", b"d": ">d", b"T": ">Q",
}  # fmt: skip
_DEPTH = 30


class Properties:
    """The properties of one message: `fields` name -> bytes, `headers` name -> typed bytes.

    `headers` is None where a table cannot be read; its bytes are kept in `fields` all the same.
    """

    INDEX = 60  #: the class Basic, for pika

    def __init__(self, fields: Mapping[str, bytes], headers: Mapping[str, bytes] | None) -> None:
        self.fields, self.headers = dict(fields), None if headers is None else dict(headers)

    @classmethod
    def parse(cls, raw: bytes) -> "Properties":
        """From what follows the size in a content header."""
        (flags,) = struct.unpack_from(">H", raw)
        place = 2
        if flags & 1:
            raise ValueError("more than the properties that AMQP has")
        fields: dict[str, bytes] = {}
        for name, (flag, kind) in _FIELDS.items():
            if not flags & flag:
                continue
            if kind == _SHORT:
                size = 1 + raw[place]
            elif kind == "table":
                size = 4 + struct.unpack_from(">I", raw, place)[0]
            else:
                size = struct.calcsize(kind)
            fields[name] = raw[place : place + size]
            place += size
        try:
            headers = dict(_entries(fields["headers"][4:])) if "headers" in fields else {}
        except (ValueError, struct.error, IndexError, RecursionError):
            headers = None
        return cls(fields, headers)

    def encode(self) -> list[bytes]:
        """The bytes for the wire, as pika's frames take them; what was not changed is as it came."""
        fields = dict(self.fields)
        if self.headers is not None:
            fields.pop("headers", None)
            if self.headers or "headers" in self.fields:
                table = b"".join(_name(k) + v for k, v in self.headers.items())
                fields["headers"] = struct.pack(">I", len(table)) + table
        flags = sum(flag for name, (flag, _) in _FIELDS.items() if name in fields)
        return [struct.pack(">H", flags), *(fields[name] for name in _FIELDS if name in fields)]

    def field(self, name: str) -> Any:
        """A property as text or number, None where it is not set."""
        raw = self.fields.get(name)
        if raw is None:
            return None
        kind = _FIELDS[name][1]
        return decoded(raw[1:]) if kind == _SHORT else struct.unpack(kind, raw)[0]

    def header(self, name: str) -> Any:
        """A header as a Python value, None where it is not there or cannot be read."""
        raw = (self.headers or {}).get(name)
        return None if raw is None else value(raw)

    def changed(
        self,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        drop: "frozenset[str] | set[str]" = frozenset(),
    ) -> "Properties":
        """A copy with other properties (None drops one) and headers (what JSON can say)."""
        new = Properties(self.fields, self.headers or {})
        for name, content in (fields or {}).items():
            new.fields.pop(name, None)
            if content is not None:
                kind = _FIELDS[name][1]
                new.fields[name] = _name(content) if kind == _SHORT else struct.pack(kind, content)
        assert new.headers is not None
        for name in drop:
            new.headers.pop(name, None)
        new.headers.update({name: _typed(content) for name, content in (headers or {}).items()})
        return new


def value(typed: bytes) -> Any:
    """A typed value as a Python value: times in seconds since 1970, bytes as text."""
    try:
        return _read(typed, 0, 0)[0]
    except (ValueError, struct.error, IndexError):
        return None


def _entries(table: bytes) -> Iterator[tuple[str, bytes]]:
    place = 0
    while place < len(table):
        size = table[place]
        name = table[place + 1 : place + 1 + size]
        start = place + 1 + size
        _, place = _read(table, start, 0)
        if place > len(table):
            raise ValueError("a table ends before its last value")
        yield name.decode("utf-8", "surrogateescape"), table[start:place]


def _read(raw: bytes, place: int, depth: int) -> tuple[Any, int]:
    """The value at a place, and where it ends."""
    if depth > _DEPTH:
        raise ValueError("nested too deep")
    kind = raw[place : place + 1]
    place += 1
    if fixed := _FIXED.get(kind):
        return struct.unpack_from(fixed, raw, place)[0], place + struct.calcsize(fixed)
    if kind == b"V":
        return None, place
    if kind == b"D":
        scale, number = struct.unpack_from(">Bi", raw, place)
        return number / 10**scale, place + 5
    if kind not in (b"S", b"x", b"A", b"F"):
        raise ValueError(f"a kind of value that AMQP does not have: {kind!r}")
    (size,) = struct.unpack_from(">I", raw, place)
    place, end = place + 4, place + 4 + size
    if end > len(raw):
        raise ValueError("a value ends after its table")
    if kind in (b"S", b"x"):
        return decoded(raw[place:end]), end
    inner: Any = [] if kind == b"A" else {}
    while place < end:
        name = ""
        if kind == b"F":
            name = decoded(raw[place + 1 : place + 1 + raw[place]])
            place += 1 + raw[place]
        item, place = _read(raw, place, depth + 1)
        if kind == b"F":
            inner[name] = item
        else:
            inner.append(item)
    return inner, end


def _name(content: str) -> bytes:
    raw = content.encode("utf-8", "surrogateescape")
    if len(raw) > 255:
        raise ValueError("a short text has at most 255 bytes")
    return bytes([len(raw)]) + raw


def _typed(content: Any) -> bytes:
    if content is None:
        return b"V"
    if isinstance(content, bool):
        return b"t" + struct.pack(">?", content)
    if isinstance(content, int):
        return b"l" + struct.pack(">q", content)
    if isinstance(content, float):
        return b"d" + struct.pack(">d", content)
    if isinstance(content, list | tuple):
        raw = b"".join(map(_typed, content))
        return b"A" + struct.pack(">I", len(raw)) + raw
    if isinstance(content, Mapping):
        raw = b"".join(_name(str(name)) + _typed(one) for name, one in content.items())
        return b"F" + struct.pack(">I", len(raw)) + raw
    raw = str(content).encode("utf-8", "backslashreplace")
    return b"S" + struct.pack(">I", len(raw)) + raw
