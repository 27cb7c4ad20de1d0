"""The bytes of a job, whole and in order, so that it can be made again: RESP, as Redis itself sends them.

A hash is `*2n` of bulk strings, field and value in turn, fields sorted: `decode` gives the dict back for
HSET. A key that is no hash is `*3`: "dump", its type, and what DUMP gives, for RESTORE.
"""

from collections.abc import Iterable, Mapping

DUMP = b"dump"


def encode(fields: Mapping[bytes, bytes]) -> bytes:
    """The raw bytes of a hash."""
    return bulks(part for name in sorted(fields) for part in (name, fields[name]))


def dumped(kind: bytes, dump: bytes) -> bytes:
    """The raw bytes of a key that is no hash."""
    return bulks((DUMP, kind, dump))


def bulks(parts: Iterable[bytes]) -> bytes:
    """A RESP array of bulk strings."""
    import hiredis

    packed: bytes = hiredis.pack_command(tuple(parts))
    return packed


def decode(raw: bytes) -> dict[bytes, bytes]:
    """The hash behind raw bytes; ValueError when they are none."""
    import hiredis

    reader = hiredis.Reader()
    reader.feed(raw)
    parts = reader.gets()
    if not isinstance(parts, list) or len(parts) % 2:
        raise ValueError("these bytes are no hash")
    return dict(zip(parts[::2], parts[1::2], strict=True))
