"""The words that a verdict quotes: whole, closed, in one line."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any


def quote(reasons: Sequence[Any], text: str) -> str:
    """The words a rule matched on, in one line."""
    words: list[str] = []
    for reason in reasons:
        if isinstance(reason, str):
            reason = _closed(reason)
        else:
            match = reason.search(text)
            reason = _in_one_line(_whole_words(match, text)) if match else ""
        if reason and not any(reason in word for word in words):
            words.append(reason if len(reason) <= 70 else f"{reason[:67]}...")
    return ", ".join(words[:2])


def _whole_words(match: Any, text: str) -> str:
    """What a pattern matched, out to the ends of its first and last word."""
    start, end = match.span()
    if start == end:
        return ""
    if text[start].isalnum():
        limit = max(0, start - 20)
        while start > limit and text[start - 1].isalnum():
            start -= 1
    if text[end - 1].isalnum():
        limit = min(len(text), end + 20)
        while end < limit and text[end].isalnum():
            end += 1
    return text[start:end]


@lru_cache(maxsize=4_096)  # the same few are quoted again and again
def _in_one_line(words: str) -> str:
    """The words, closed."""
    return _closed(" ".join(words.split()))


@lru_cache(maxsize=4_096)
def _closed(words: str) -> str:
    """Words without a quote that is cut off, and with their brackets closed."""
    words = (
        re.sub(r"(?:[\s,=:(\[]+[bu]?[\"'`]?|[\"'`])$", "", words)
        if words.count("'") % 2 or words[-1:] in ",=:(["
        else words
    )
    return words + "".join(
        close for open_, close in ("[]", "()") if words.count(open_) > words.count(close)
    )
