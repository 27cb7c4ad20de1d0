"""Text as Arrow, databases and files can hold it; counts in words."""

import json
import re
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


def decoded(raw: bytes) -> str:
    r"""Bytes as text; what is no UTF-8 is written as escapes.

    >>> decoded(b"a\xff")
    'a\\xff'
    """
    return raw.decode("utf-8", "backslashreplace")


def many(count: int, words: str) -> str:
    """A count with what is counted, in the singular where it is one. The words are given in the plural.

    >>> many(1, "chosen failures were"), many(2_000, "entries have"), many(1, "jobs wait")
    ('1 chosen failure was', '2,000 entries have', '1 job waits')
    """
    if count != 1:
        return f"{count:,} {words}"
    return " ".join(["1", *map(_one, words.split(" "))])


_VERBS = {"are": "is", "were": "was", "have": "has", "do": "does", "lie": "lies", "go": "goes", "say": "says",
          "wait": "waits", "stay": "stays", "stand": "stands", "ask": "asks", "run": "runs", "name": "names"}  # fmt: skip


def _one(word: str) -> str:
    if word in _VERBS:
        return _VERBS[word]
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") else word
