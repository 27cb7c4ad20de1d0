"""Dead letters in lists, read from their oldest end in small pages; nothing is taken out."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import arrow_type, plain_type
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.columns import Columns
from dlqanalysis.sources.redis_list.keys import Token, parsed, shown
from dlqanalysis.sources.redis_list.ledger import Numbers
from dlqanalysis.sources.redis_list.rows import Reader
from dlqanalysis.text import some

_TOGETHER, _BYTES = 4_000, 64 * 2**20  # messages, and bytes of them, mapped in one go


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
        said = Columns(reader)
        tables = [self._table(said, b"", None, [], [], columns)]
        with self.link.clear():
            for key in self.address.find(self.link.client, notes):
                main = shown(self.address.main_of(key) or key)
                if not selection.queue or main in selection.queue:
                    tables += self._tables(said, key, columns, notes)
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
        said = Columns(reader)
        tables = [self._table(said, b"", None, [], [], columns)]
        with self.link.clear():
            for key, tokens in asked.items():
                tables += self._tables(said, key, columns, [], tokens)
        table = pa.concat_tables(tables).unify_dictionaries()
        return table.select(["failure_id", *(n for n in table.column_names if n in wanted)])

    def _tables(
        self,
        said: Columns,
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
        expires, naive = self._expiry(key), said.reader.naive
        tables: list[pa.Table] = []
        raws: list[bytes] = []
        tokens: list[Token] = []
        size = 0
        numbers = Numbers(self.link.client, key, notes)
        for page in walk.whole(self.link.client, key, self.address.head_is_oldest, ahead=True):
            if page is None:  # it begins anew
                tables, raws, tokens, size = [], [], [], 0
                numbers, said.reader.naive = Numbers(self.link.client, key), naive
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
                tables.append(self._table(said, key, expires, raws, tokens, columns))
                raws, tokens, size = [], [], 0
        return [*tables, self._table(said, key, expires, raws, tokens, columns)]

    def _table(
        self,
        said: Columns,
        key: bytes,
        expires: datetime | None,
        raws: Sequence[bytes],
        tokens: Sequence[Token],
        columns: Sequence[str],
    ) -> pa.Table:
        rows, place = len(raws), shown(key)
        arrays = said.of(raws)
        arrays["failure_id"] = pa.array([f"{place}:{token}" for token in tokens], pa.string())
        for name, value in (
            ("source", self.name),
            ("queue", shown(self.address.main_of(key) or key)),
            ("status", "failed"),
            ("expires_at", expires),
        ):
            arrays[name] = pa.repeat(pa.scalar(value, plain_type(name)), rows)
        if "raw" in columns:
            arrays["raw"] = pa.array(raws, pa.binary())
        table = {}
        for name, array in arrays.items():
            chunks = pa.chunked_array([array])
            encoded = pa.types.is_dictionary(arrow_type(name))
            table[name] = chunks.dictionary_encode() if encoded else chunks
        return pa.table(table)

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
            f"{some(bad, 'message is', 'messages are')} no JSON that a consumer could read: each stays a row, payload_state says"
            " which. Repair or quarantine them."
        )
    if reader.naive:
        notes.append(
            f"{reader.naive:,} times have no zone and were left out. Say which it is in the URL: ?tz=UTC."
        )
