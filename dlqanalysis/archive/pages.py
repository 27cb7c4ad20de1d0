"""How much the texts of a Parquet file decode to at most, by what its pages say of themselves: none is decoded.

A page's own header counts, not the file's footer: the header is what a reader goes by.
"""

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  #: types of pages
_BODY = {_DATA: 5, _DATA_V2: 8}  #: the field of a page's header that describes its values
_ENCODING = {_DATA: 2, _DATA_V2: 4}
_PLAIN, _BY_DICTIONARY = 0, (2, 8)
_DEEPEST = 8  #: structures in each other; headers have two


def texts_at_most(path: Path, meta: "pq.FileMetaData") -> int | None:
    """Bytes that all text columns decode to at most; None where a header is none that is known."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        try:
            return sum(
                _chunk(held, meta.row_group(group).column(column))
                for group in range(meta.num_row_groups)
                for column in range(meta.num_columns)
            )
        except (
            IndexError,
            KeyError,
            TypeError,
            ValueError,
        ):  # whatever a hostile header makes of it
            return None


def _chunk(held: Any, chunk: "pq.ColumnChunkMetaData") -> int:
    if chunk.physical_type != "BYTE_ARRAY":
        return 0
    at, seen, most, longest = begins(chunk), 0, 0, 0
    while seen < chunk.num_values:
        header, at = _structure(held, at, 0)
        kind, size = header[1], header[2]
        if size < 0 or header[3] < 0:  # or a page could lead back to itself, for ever
            raise ValueError
        at += header[3]
        if kind == _DICTIONARY:
            longest = size
            continue
        values, encoding = header[_BODY[kind]][1], header[_BODY[kind]][_ENCODING[kind]]
        if values < 0:
            raise ValueError
        if encoding == _PLAIN:
            most += size
        elif encoding in _BY_DICTIONARY:
            most += values * longest
        else:  # texts that repeat the beginning of the one before
            most += values * size
        seen += values
    return most


def begins(chunk: "pq.ColumnChunkMetaData") -> int:
    """Where a column's pages begin in the file: with its dictionary, where there is one."""
    places = [chunk.data_page_offset]  # 0 where there are no values
    if chunk.has_dictionary_page:
        places.append(chunk.dictionary_page_offset)
    return min(filter(None, places), default=0)


def _structure(held: Any, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure in Thrift's compact protocol, and where it ends."""
    if depth > _DEEPEST:
        raise ValueError
    fields: dict[int, Any] = {}
    number = 0
    while kind := held[at] & 15:
        step = held[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _integer(held, at)
        fields[number], at = _value(held, at, kind, depth)
    return fields, at + 1


def _value(held: Any, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind in (4, 5, 6):
        return _integer(held, at)
    if kind == 8:
        size, at = _unsigned(held, at)
        return None, at + size
    if kind == 12:
        return _structure(held, at, depth + 1)
    raise ValueError


def _integer(held: Any, at: int) -> tuple[int, int]:
    value, at = _unsigned(held, at)
    return value >> 1 ^ -(value & 1), at


def _unsigned(held: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = held[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError
