"""Lines of a file with their places in it, in bounded memory, whatever the bytes are."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from dlqanalysis.errors import SettingsError

LONGEST = 1 << 20  #: bytes of one line; what is longer is cut
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)  #: a packed file that ends early or is none


def opened(path: Path) -> BinaryIO:
    """The file's bytes, unpacked where it is gzip; SettingsError when it may not be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}. Give yourself the right to read it, or take a copy."
        ) from None


def lines(file: BinaryIO, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, line) from `offset` on, the line with its end; a very long one is cut at LONGEST."""
    file.seek(offset)
    read = file.readline
    while line := read(LONGEST):
        start = offset
        offset += len(line)
        if len(line) >= LONGEST and line[-1:] != b"\n":
            while (rest := read(LONGEST)) and rest[-1:] != b"\n":
                offset += len(rest)
            offset += len(rest)
        yield start, line
