"""Whole numbers out of what a system tells: None for what can be none."""

from typing import Any

#: Nothing that is counted comes near, and every reader of JSON reads it exactly.
_MOST = 10**15
_MOST_TRIES = 2**31 - 1  # what the frame's columns hold


def depth_of(value: Any) -> int | None:
    """How many there are of something, also where a text or a float says it.

    >>> depth_of("12"), depth_of(3.0), depth_of(-1), depth_of(True), depth_of(10**400)
    (12, 3, None, None, None)
    """
    count = whole_of(value)
    return count if count is not None and count >= 0 else None


def tries_of(value: Any) -> int | None:
    """How often something was tried, or may be.

    >>> tries_of("3"), tries_of(2**31), tries_of("many")
    (3, None, None)
    """
    count = whole_of(value)
    return count if count is not None and abs(count) <= _MOST_TRIES else None


def whole_of(value: Any) -> int | None:
    """A whole number, which may be below 0, as a limit is that is switched off.

    >>> whole_of(-1), whole_of("-1"), whole_of(float("nan"))
    (-1, None, None)
    """
    if isinstance(value, str):
        digits = value.strip()
        value = (
            int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 17 else None
        )
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if type(value) is int and abs(value) <= _MOST else None
