"""The parts of a JSON text as the texts they are: no round trip, so that numbers, order and escapes stay."""

import json
import re
from typing import Any

#: where a value ends; a number may have more digits than Python reads
_READ = json.JSONDecoder(parse_int=str).raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")  #: JSON's white space; Python's \s is more


def elements(text: str) -> list[str]:
    """The texts of a JSON list's elements; ValueError for anything else.

    >>> elements('[[1e400], {"a": 12345678901234567890.0}]')
    ['[1e400]', '{"a": 12345678901234567890.0}']
    """
    found: list[str] = []
    place = _opening(text, "[")
    while text[place : place + 1] != "]":
        value, place = _value(text, place)
        found.append(value)
        place = _next(text, place, "]")
    _ends(text, place + 1)
    return found


def members(text: str) -> dict[str, str]:
    """Name -> text of a JSON object's members, the last of a repeated name; ValueError for anything else.

    >>> members('{"id": 1.50, "x": [1,2]}')
    {'id': '1.50', 'x': '[1,2]'}
    """
    found: dict[str, str] = {}
    place = _opening(text, "{")
    while text[place : place + 1] != "}":
        name, place = _value(text, place)
        if not name.startswith('"'):
            raise ValueError("a name is no text")
        place = _skip(text, place)
        if text[place : place + 1] != ":":
            raise ValueError("a colon is missing")
        found[json.loads(name)], place = _value(text, _skip(text, place + 1))
        place = _next(text, place, "}")
    _ends(text, place + 1)
    return found


def arguments(text: str) -> dict[str, str]:
    """What a repair of a task says, name -> text: an object of `args` and `kwargs` says both, any other object is
    the kwargs, a list the args; ValueError for anything else.

    >>> arguments('{"to": "x"}'), arguments('{"args": [1]}')
    ({'kwargs': '{"to": "x"}'}, {'args': '[1]'})
    """
    if text.lstrip()[:1] == "[":
        elements(text)
        return {"args": text}
    found = members(text)
    return found if found and found.keys() <= {"args", "kwargs"} else {"kwargs": text}


def value(text: str | None) -> Any:
    """What a part says, or None for no part; a number of more digits than Python reads is their text."""
    return None if text is None else json.loads(text, parse_int=number)


def number(digits: str) -> int | str:
    """A number, or its digits where they are more than Python reads."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _opening(text: str, mark: str) -> int:
    place = _skip(text, 0)
    if text[place : place + 1] != mark:
        raise ValueError(f"it does not begin with {mark}")
    return _skip(text, place + 1)


def _value(text: str, place: int) -> tuple[str, int]:
    try:
        _, end = _READ(text, place)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return text[place:end], end


def _next(text: str, place: int, closing: str) -> int:
    """Where the next value begins, or the closing mark stands."""
    place = _skip(text, place)
    if text[place : place + 1] == closing:
        return place
    if text[place : place + 1] != ",":
        raise ValueError("a comma is missing")
    place = _skip(text, place + 1)
    if text[place : place + 1] == closing:
        raise ValueError("a value is missing")
    return place


def _ends(text: str, place: int) -> None:
    if text[place:].strip(" \t\n\r"):
        raise ValueError("something follows it")
