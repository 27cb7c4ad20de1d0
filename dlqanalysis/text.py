"""Text as Arrow, databases and files can hold it."""

import json
import os
import re
from pathlib import Path
from typing import Any

#: Where a name may break: behind what joins its parts, and before a part that begins with a capital.
JOINTS = re.compile(r"(?<=[._/:,=-])(?=\w)|(?<=[a-z])(?=[A-Z])")

_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


def storable(text: str) -> str:
    r"""The text itself; lone surrogates, which UTF-8 has no bytes for, are written as escapes.

    >>> storable("caf\u00e9 \ud800")
    'café \\ud800'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def written(value: Any) -> str:
    """A text as it is, any other value as JSON; both so that they can be stored.

    >>> written("a"), written([1, None])
    ('a', '[1, null]')
    """
    return storable(value if isinstance(value, str) else _as_json(value))


def keep_whole(path: Path, text: str | bytes, mode: int = 0o666) -> None:
    """Write a file as a whole or not at all: what a full disk cuts off neither stands under its name nor stays."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.touch(mode=mode)
        fresh.write_bytes(
            text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        )
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def some(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun, whose plural has an s where none is given.

    >>> some(1, "failure"), some(1_200, "failure"), some(1, "task lies", "tasks lie")
    ('1 failure', '1,200 failures', '1 task lies')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def decoded(raw: bytes) -> str:
    r"""Bytes as text; what is no UTF-8 is written as escapes.

    >>> decoded(b"a\xff")
    'a\\xff'
    """
    return raw.decode("utf-8", "backslashreplace")
