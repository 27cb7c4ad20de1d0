"""Dead letters in lists, read from their oldest end in small pages; nothing is taken out."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import arrow_type
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import Token, failure_id, parsed, shown
from dlqanalysis.sources.redis_list.ledger import Numbers
from dlqanalysis.sources.redis_list.rows import Reader

_TOGETHER, _BYTES = 20_000, 64 * 2**20  # messages, and bytes of them, mapped in one go


class ListSource:
    """The dead-letter lists of one Redis database."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address)

    def __repr__(self) -> str:
        return f"ListSource({self.name})"

    @property
    def name(self) -> str:
        """`list:host:6379/0`."""
        return self.address.name

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for, tracebacks included; raw where it is named. All lists are read whole:
        a list cannot be asked for less."""
        notes: list[str] = []
        reader = Reader(self.address.zone, self.address.paths)
        tables = [self._table(reader, b"", None, [], [], columns)]
        with self.link.clear():
            for key in self.address.find(self.link.client, notes):
                main = shown(self.address.main_of(key) or key)
                if not selection.queue or main in selection.queue:
                    tables += self._tables(reader, key, columns, notes)
        whole = pa.concat_tables(tables).unify_dictionaries()
        _note(whole, reader, notes)
        table, truncated, more = narrowed(whole, selection)
        return Read(table, truncated, (*notes, *more))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of the failures that are still there."""
        wanted = {name for name in columns if name != "failure_id"}
        asked: dict[bytes, set[Token]] = {}
        for key, token in map(parsed, failure_ids):
            asked.setdefault(key, set()).add(token)
        reader = Reader(self.address.zone, self.address.paths)
        tables = [self._table(reader, b"", None, [], [], columns)]
        with self.link.clear():
            for key, tokens in asked.items():
                tables += self._tables(reader, key, columns, [], tokens)
        table = pa.concat_tables(tables).unify_dictionaries()
        return table.select(["failure_id", *(n for n in table.column_names if n in wanted)])

    def _tables(
        self,
        reader: Reader,
        key: bytes,
        columns: Sequence[str],
        notes: list[str],
        only: "set[Token] | None" = None,
    ) -> list[pa.Table]:
        """The rows of a list; with `only`, of these occurrences."""
        kind = self.link.client.type(key)
        if kind != b"list":
            if kind != b"none":
                notes.append(f"{shown(key)} is a {kind.decode()}, not a list: not read.")
            return []
        expires, naive = self._expiry(key), reader.naive
        tables: list[pa.Table] = []
        raws: list[bytes] = []
        tokens: list[Token] = []
        size = 0
        numbers = Numbers(self.link.client, key, notes)
        for page in walk.whole(self.link.client, key, self.address.head_is_oldest):
            if page is None:  # it begins anew
                tables, raws, tokens, size = [], [], [], 0
                numbers, reader.naive = Numbers(self.link.client, key), naive
                continue
            place, elements = page
            if place < 0:
                notes.append(walk.MOVING.format(key=shown(key)))
            found = numbers.of(hashlib.sha1(one).hexdigest() for one in elements)
            for raw, token in zip(elements, found, strict=True):
                if only is None or token in only:
                    raws.append(raw)
                    tokens.append(token)
                    size += len(raw)
            if len(raws) >= _TOGETHER or size > _BYTES:
                tables.append(self._table(reader, key, expires, raws, tokens, columns))
                raws, tokens, size = [], [], 0
        return [*tables, self._table(reader, key, expires, raws, tokens, columns)]

    def _table(
        self,
        reader: Reader,
        key: bytes,
        expires: datetime | None,
        raws: Sequence[bytes],
        tokens: Sequence[Token],
        columns: Sequence[str],
    ) -> pa.Table:
        said: dict[str, Any] = reader.columns(raws)
        rows = len(raws)
        said["failure_id"] = [failure_id(key, token) for token in tokens]
        for name, value in (
            ("source", self.name),
            ("queue", shown(self.address.main_of(key) or key)),
            ("status", "failed"),
            ("expires_at", expires),
        ):
            said[name] = [value] * rows
        if "raw" in columns:
            said["raw"] = raws
        arrays = {}
        for name, values in said.items():
            kind = arrow_type(name)
            plain = kind.value_type if pa.types.is_dictionary(kind) else kind
            array = pa.chunked_array([pa.array(values, plain)])
            arrays[name] = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
        return pa.table(arrays)

    def _expiry(self, key: bytes) -> datetime | None:
        """When Redis forgets the list."""
        import redis

        try:
            when = self.link.client.execute_command("PEXPIRETIME", key)
        except redis.ResponseError:  # Redis before 7, or a reader who may not
            return None
        return datetime.fromtimestamp(when / 1000, UTC) if when > 0 else None


def _note(table: pa.Table, reader: Reader, notes: list[str]) -> None:
    """What one should know of these messages."""
    state = table["payload_state"].cast(pa.string())
    bad = pc.sum(pc.is_in(state, pa.array(["unreadable", "truncated"]))).as_py()
    if bad:
        notes.append(
            f"{bad:,} messages are no JSON that a consumer could read: they stay rows, payload_state says"
            " which. Repair or quarantine them."
        )
    if reader.naive:
        notes.append(
            f"{reader.naive:,} times have no zone and were left out. Say which it is in the URL: ?tz=UTC."
        )
