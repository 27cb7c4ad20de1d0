"""Where an archive is: a folder, or what fsspec knows (file, memory, s3, gcs, abfs); files come whole or not at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dlqanalysis.errors import ConnectError, SettingsError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_USER = re.compile(r"//[^/@]*@")


def shown(place: str) -> str:
    """The place without user and password, for messages."""
    return _USER.sub("//", place)


def opened(place: str) -> "tuple[AbstractFileSystem, str]":
    """The file system and the path of an archive."""
    try:
        from fsspec.core import filesystem, url_to_fs
    except ImportError:
        raise SettingsError(
            "Archives need fsspec: pip install 'dlqanalysis[scale]'. A snapshot (dlq.snapshot) needs nothing."
        ) from None
    with answering(place):
        if "://" in place:
            files, root = url_to_fs(place)
            return files, root.rstrip("/")
        # a path is one whatever is in it: fsspec takes `a::b` for a within b
        return filesystem("file"), str(Path(place).expanduser().absolute()).rstrip("/")


@contextmanager
def answering(place: str) -> Iterator[None]:
    """What goes wrong with a place comes out as one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise SettingsError(
            f"{shown(place)}: {shown(str(error))[:120]} is not there. Check the path, or list it again: somebody moved it."
        ) from None
    # an unknown protocol, its library is missing, or ~ of nobody
    except (ImportError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"{shown(place)} cannot be opened: {shown(str(error))[:160].rstrip('.')}. Name a folder or install that"
            " library."
        ) from None
    except OSError as error:
        raise ConnectError(
            f"{shown(place)} does not answer: {shown(error.strerror or str(error))[:160]}. Check rights and space."
        ) from None


def local(files: Any) -> bool:
    """Whether these are files of this machine."""
    return "file" in files.protocol


def folder(files: Any, path: str) -> None:
    """Makes a folder; a new one on this machine is its owner's alone, since dead letters are private."""
    if local(files):
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        files.makedirs(path, exist_ok=True)


def put(files: Any, path: str, table: pa.Table | None = None, text: bytes = b"") -> None:
    """A Parquet file, or a text, under its name when it is whole: readers never see half of one."""
    import pyarrow.parquet as pq

    where, _, name = path.rpartition("/")
    half = f"{where}/.{name}.{os.getpid()}.part"
    try:
        with files.open(half, "wb") as file:
            if table is not None:
                pq.write_table(table, file, compression="zstd", write_page_checksum=True)
            else:
                file.write(text)
            if local(files):
                file.flush()
                os.fsync(file.fileno())
        files.mv(half, path)
    except BaseException:
        with suppress(OSError):
            files.rm_file(half)
        raise
