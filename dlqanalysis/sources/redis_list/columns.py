"""Many messages as columns, with the same answers as `rows` gives one by one.

Messages of one list are mostly built alike. Those whose names are known are read by a decoder made for these names,
which leaves payloads as the text they are and reads nothing else twice; all others, and whatever it refuses, are
read one by one. It accepts nothing that `rows` refuses but bad UTF-8, which is looked for before.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import plain_type
from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources.redis_list.rows import (
    COLUMNS,
    NAMES,
    Reader,
    exception,
    parsed,
    scalar,
    traced,
)

_MOST = 200  #: names that a decoder knows
_NULL = msgspec.Raw(b"null")
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_TEXTS_OF = {"task_id": "id", "task_name": "type", "priority": "priority", "worker": "worker",
             "idempotency_key": "idempotency"}  # fmt: skip
_COUNTS_OF = {"retries": "retries", "max_retries": "most"}
_TIMES_OF = {"enqueued_at": "enqueued", "first_failed_at": "first", "failed_at": "time"}
Arrays = dict[str, pa.Array]


class _Kind(NamedTuple):
    """Messages that have no names but these."""

    names: dict[str, str]  #: name -> attribute
    read: Callable[[bytes], Any]


class Columns:
    """Reads the messages of one selection, batch by batch."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        # a path of one step is a name; for others each message is looked at
        self._parts = {**NAMES, **{part: (path,) for part, path in reader.paths.items()}}
        self._payload = set(self._parts["payload"])
        if "payload" not in reader.paths:
            self._payload |= {"args", "kwargs"}
        self._asked = {
            name for part, names in self._parts.items() if part != "payload" for name in names
        }
        paths = any("." in path for path in reader.paths.values())
        self._plain = not paths and not self._payload & self._asked
        self._kind = _Kind({}, msgspec.json.Decoder().decode)

    def of(self, raws: Sequence[bytes]) -> Arrays:
        """An array for each of COLUMNS, a value for each message."""
        parts: list[tuple[Arrays, list[int]]] = []
        odd: list[int] = []
        found: list[Any] = []
        places: list[int] = []
        kind = self._kind
        for place, raw in enumerate(raws):
            try:
                if not raw.isascii():
                    raw.decode()
                message = kind.read(raw) if kind.names else None
            except (ValueError, RecursionError):
                message = None
            if message is None and self._learned(raw):
                parts.append((self._columns(kind, found, [raws[n] for n in places]), places))
                found, places, kind = [], [], self._kind
                message = kind.read(raw)
            if message is None:
                odd.append(place)
            else:
                found.append(message)
                places.append(place)
        parts.append((self._columns(kind, found, [raws[n] for n in places]), places))
        parts.append((_one_by_one(self.reader, [raws[n] for n in odd]), odd))
        return _together(parts)

    def _learned(self, raw: bytes) -> bool:
        """Makes a decoder that reads this message too, if it has names that are not known and can be read."""
        if not self._plain or raw.lstrip()[:1] != b"{":
            return False
        message = parsed(raw)[1]
        if not isinstance(message, dict) or not message:
            return False
        names = list(dict.fromkeys([*self._kind.names, *message]))
        if len(names) > _MOST or len(names) == len(self._kind.names):
            return False
        known = {name: f"f{n}" for n, name in enumerate(names)}
        fields = [
            (attribute, Any, None) if name in self._asked else (attribute, msgspec.Raw, _NULL)
            for name, attribute in known.items()
        ]
        renamed = {attribute: name for name, attribute in known.items()}
        made = msgspec.defstruct(
            "Message", fields, rename=renamed, forbid_unknown_fields=True, gc=False
        )
        read = msgspec.json.Decoder(made).decode
        try:
            read(raw)
        except (ValueError, RecursionError):
            return False
        self._kind = _Kind(known, read)
        return True

    def _columns(self, kind: _Kind, messages: Sequence[Any], raws: Sequence[bytes]) -> Arrays:
        """The columns of messages of one kind."""
        said = _Said(messages, kind.names, self._parts)
        rows = len(messages)
        found: Arrays = {"payload_state": pa.repeat(pa.scalar("complete"), rows)}
        for column, part in _TEXTS_OF.items():
            found[column] = _texts(said(part), rows)
        for column, part in _COUNTS_OF.items():
            found[column] = _counts(said(part), rows)
        for column, part in _TIMES_OF.items():
            found[column] = self._times(said(part), rows)
        tracing = said("tracing")
        found["trace_id"] = _array("trace_id", map(traced, tracing) if tracing else [None] * rows)
        errors, kinds, traces = (said(part) or [None] * rows for part in ("error", "kind", "trace"))
        if {*map(type, errors), *map(type, kinds), *map(type, traces)} <= {str, type(None)}:
            triples = zip(errors, kinds, traces, strict=True)
            kinds = [k or exception(e, k, t)[0] for e, k, t in triples]
        else:
            triples = zip(errors, kinds, traces, strict=True)
            each = [exception(*one) for one in triples]
            kinds, errors, traces = ([one[n] for one in each] for n in range(3))
        found["exception_type"] = _texts(kinds, rows)
        found["exception_message"] = _texts(errors, rows)
        found["traceback"] = _texts(traces, rows)
        found["args"], found["kwargs"] = self._payloads(said, raws)
        return found

    def _payloads(self, said: "_Said", raws: Sequence[bytes]) -> tuple[pa.Array, pa.Array]:
        """args and kwargs as they stand in the text."""
        args: list[bytes | None] = []
        kwargs: list[bytes | None] = []
        both = zip(said.raw("args"), said.raw("kwargs"), strict=True)
        if "payload" in self.reader.paths:
            both = zip([b""] * len(raws), [b""] * len(raws), strict=True)
        ways = [said.raw(name) for name in self._parts["payload"] if name in said.names]
        choices = zip(*ways, strict=True) if ways else [()] * len(raws)
        for (first, second), texts, raw in zip(both, choices, raws, strict=True):
            if first[:1] == b"[" and second[:1] == b"{":
                args.append(first)
                kwargs.append(second)
                continue
            inner = next((one for one in texts if one[:1] in (b"{", b"[")), raw)
            listed = inner is not raw and inner[:1] == b"["
            args.append(inner if listed else None)
            kwargs.append(None if listed else inner)
        return pa.array(args, pa.string()), pa.array(kwargs, pa.string())

    def _times(self, values: list[Any] | None, rows: int) -> pa.Array:
        if values is None:
            return pa.nulls(rows, _MICROSECONDS)
        if set(map(type, values)) <= {str, type(None)}:
            try:
                found = pa.array(values, pa.string()).cast(_MICROSECONDS)
            except pa.ArrowInvalid:  # no zone, or written in another way
                found = None
            if found is not None and not _strange(found):
                return found
        return pa.array([self.reader.moment(value) for value in values], _MICROSECONDS)


class _Said:
    """What messages of one kind say."""

    def __init__(
        self, messages: Sequence[Any], names: dict[str, str], parts: dict[str, Sequence[str]]
    ) -> None:
        self.messages, self.names, self._parts = messages, names, parts

    def __call__(self, part: str) -> list[Any] | None:
        """For each message what the first of the part's names that is there and not null says; None where none of
        the names is known."""
        found: list[Any] | None = None
        for name in self._parts[part]:
            if name in self.names:
                values = map(attrgetter(self.names[name]), self.messages)
                found = (
                    list(values)
                    if found is None
                    else [b if a is None else a for a, b in zip(found, values, strict=True)]
                )
        return found

    def raw(self, name: str) -> list[bytes]:
        """The text of a member that nothing else is made of; empty where it is not known."""
        if name not in self.names:
            return [b""] * len(self.messages)
        return list(map(bytes, map(attrgetter(self.names[name]), self.messages)))


def _one_by_one(reader: Reader, raws: Iterable[bytes]) -> Arrays:
    rows = [reader.row(raw) for raw in raws]
    return {name: _array(name, [row.get(name) for row in rows]) for name in COLUMNS}


def _together(parts: Sequence[tuple[Arrays, list[int]]]) -> Arrays:
    parts = [part for part in parts if part[1]] or [parts[0]]
    places = np.concatenate([np.asarray(where, np.int64) for _, where in parts])
    order = None if (places[1:] > places[:-1]).all() else pa.array(np.argsort(places))
    found = {}
    for name in COLUMNS:
        arrays = [one[name] for one, _ in parts]
        whole = arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
        found[name] = whole if order is None else whole.take(order)
    return found


def _array(name: str, values: Iterable[Any]) -> pa.Array:
    return pa.array(values, plain_type(name))


def _texts(values: list[Any] | None, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, pa.string())
    if not set(map(type, values)) <= {str, type(None)}:
        return pa.array(map(scalar, values), pa.string())
    found = pa.array(values, pa.string())
    empty = pc.equal(found, "")
    return pc.if_else(empty, None, found) if pc.any(empty).as_py() else found


def _counts(values: list[Any] | None, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, pa.int32())
    return pa.array(map(tries_of, values), pa.int32())


def _strange(times: pa.Array) -> bool:
    """Whether a time is so near to the ends of the calendar that Python may refuse it."""
    ends = pc.min_max(times.cast(pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return low is not None and (low < -62_000_000_000_000_000 or high > 253_000_000_000_000_000)
