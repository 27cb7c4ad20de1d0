"""Mends payloads: a function changes what a JSON payload says, and only those bytes change that have to.

Everything outside of a changed value stays as it is, byte for byte: white space, the order of keys, numbers
that no float can hold, escapes, repeated keys. What cannot be read or written is not repaired, and says why.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import SchemaError, did_you_mean, need
from dlqanalysis.redact import redact

_OF = ("raw", "kwargs", "args")
_READ = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")  #: JSON's white space; Python's \s is more
_HIDDEN = "<hidden>"
_WIDTH, _LINES = 80, 20  #: of what a difference shows: letters a value, changes


_Path = tuple[str | int, ...]  #: names and places on the way to a value


class _Refused(Exception):
    """Why a payload is not repaired, for the reader."""


class _Edit(NamedTuple):
    """A part of a text that another takes the place of, and what that means."""

    begin: int
    end: int
    text: str
    says: tuple[_Path, Any, Any]  #: value before, value after; _NOTHING where there is none


_NOTHING = object()


def repair(
    failures: pd.DataFrame,
    change: Callable[[Any], Any],
    of: str = "raw",
    redacted: bool = True,
) -> pd.DataFrame:
    """The failures with three columns more: `repaired` (bytes, missing where nothing was repaired),
    `difference` (what changed, in a line) and `because` (why not, empty for repaired ones).

    `change` gets what each payload says and gives what it is to say: `lambda m: {**m, "retryCount": 0}`. The
    payload is the message itself, `raw` (load or fetch it: `dlq.details(source, rows)`); for BullMQ, whose
    raw is the whole job, it is `of="kwargs"`. `dlq.plan` takes the frame, and a hand that can repair sends
    those bytes. `difference` hides secrets and personal data unless `redacted` is False.
    """
    if of not in _OF:
        raise SchemaError(f"A payload is one of raw, kwargs, args. {did_you_mean(of, _OF)}")
    need(failures, of)
    rows = [_repaired(payload, change, of, redacted) for payload in failures[of]]
    binary = pa.array([row[0] for row in rows], pa.binary())
    columns = {
        "repaired": pd.Series(binary, failures.index, dtype=pd.ArrowDtype(pa.binary())),
        "difference": pd.Series([row[1] for row in rows], failures.index, dtype="str"),
        "because": pd.Series([row[2] for row in rows], failures.index, dtype="str"),
    }
    return failures.assign(**columns)


def _repaired(
    payload: Any, change: Callable[[Any], Any], of: str, redacted: bool
) -> tuple[bytes | None, str, str]:
    """The bytes, the difference, and why there are none."""
    try:
        text = _text(payload, of)
        try:
            before, handed = json.loads(text), json.loads(text)
        except (ValueError, RecursionError):
            raise _Refused("it cannot be read as JSON: quarantine it") from None
        try:
            after = change(handed)
        except Exception as error:
            raise _Refused(f"change raised {type(error).__name__}: mend the function") from None
        if after is None and before is not None:
            raise _Refused("change gave nothing: let it return the payload")
        new, edits = spliced(text, before, after)
        if not edits:
            raise _Refused("change left it as it is")
        return new.encode(), _difference(edits, before, after, redacted), ""
    except _Refused as refused:
        return None, "", str(refused)


def _text(payload: Any, of: str) -> str:
    if isinstance(payload, str):
        return payload
    if not isinstance(payload, bytes):
        how = "dlq.details(source, rows) fetches it" if of == "raw" else 'try of="raw"'
        raise _Refused(f"its {of} is not here: {how}")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _Refused("its bytes are no UTF-8: quarantine it") from None


def spliced(text: str, before: Any, after: Any) -> tuple[str, list[_Edit]]:
    """A JSON text that says `after`, made of one that says `before`, and the edits that it took."""
    try:
        write = _writer(text)
        edits = sorted(_edits(text, _skip(text, 0), before, after, (), write), key=lambda e: e[:2])
        parts, place = [], 0
        for edit in edits:
            parts += [text[place : edit.begin], edit.text]
            place = edit.end
        new = "".join([*parts, text[place:]])
        new.encode()
        if not _same(json.loads(new), after):
            raise _Refused("what change gives cannot be written as JSON: use text for names")
    except (ValueError, TypeError, RecursionError) as error:
        raise _Refused(
            f"what change gives cannot be written as JSON ({type(error).__name__}): use text for names, and"
            " text, finite numbers, true, false, None, lists and dicts"
        ) from None
    return new, edits


def _edits(
    text: str, place: int, old: Any, new: Any, path: _Path, write: Callable[[Any], str]
) -> Iterator[_Edit]:
    """What has to change in the value at a place."""
    if _same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _of_object(text, place, old, new, path, write)
    elif isinstance(old, list) and isinstance(new, list | tuple):
        yield from _of_list(text, place, old, new, path, write)
    else:
        yield _Edit(place, _READ(text, place)[1], write(new), (path, old, new))


class _Part(NamedTuple):
    """A member or an element: where it begins (with its name), where its value begins and ends."""

    name: str
    begin: int
    value: int
    end: int


def _of_object(
    text: str,
    place: int,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    path: _Path,
    write: Callable[[Any], str],
) -> Iterator[_Edit]:
    parts = _parts(text, place)
    last = {part.name: n for n, part in enumerate(parts)}  # of a repeated name the last one counts
    gone = [n for n, part in enumerate(parts) if part.name not in new]
    for name, n in last.items():
        if name in new:
            yield from _edits(text, parts[n].value, old[name], new[name], (*path, name), write)
    said = {last[parts[n].name]: parts[n].name for n in gone}
    for edit, n in _cut(parts, gone):
        was = old[parts[n].name] if n in said else _NOTHING
        yield edit._replace(says=((*path, parts[n].name), was, _NOTHING))
    colon = text[parts[0].begin : parts[0].value].rpartition('"')[2] if parts else ":"
    added = [name for name in new if name not in old]
    texts = [f"{write(name)}{colon}{write(new[name])}" for name in added]
    kept = [n for n in range(len(parts)) if n not in set(gone)]
    for edit, name in zip(_inserted(text, place, parts, kept, False, texts), added, strict=True):
        yield edit._replace(says=((*path, name), _NOTHING, new[name]))


def _of_list(
    text: str,
    place: int,
    old: Sequence[Any],
    new: Sequence[Any],
    path: _Path,
    write: Callable[[Any], str],
) -> Iterator[_Edit]:
    parts = _parts(text, place)
    short = min(len(old), len(new))
    head = next((n for n in range(short) if not _same(old[n], new[n])), short)
    tail = next(
        (n for n in range(short - head) if not _same(old[-1 - n], new[-1 - n])), short - head
    )
    both = short - tail  # up to here they are told apart one by one
    for n in range(head, both):
        yield from _edits(text, parts[n].value, old[n], new[n], (*path, n), write)
    gone = list(range(both, len(old) - tail))
    for edit, n in _cut(parts, gone):
        yield edit._replace(says=((*path, n), old[n], _NOTHING))
    numbers = range(both, len(new) - tail)
    texts = [write(new[n]) for n in numbers]
    put = _inserted(text, place, parts, range(both), tail > 0, texts)
    for edit, n in zip(put, numbers, strict=True):
        yield edit._replace(says=((*path, n), _NOTHING, new[n]))


def _cut(parts: Sequence[_Part], gone: Sequence[int]) -> Iterator[tuple[_Edit, int]]:
    """Takes out members or elements, each with one comma."""
    left = set(range(len(parts))) - set(gone)
    for n in gone:
        if left and min(left) < n:
            begin, end = parts[n - 1].end, parts[n].end
        else:
            begin = parts[n].begin
            end = parts[n + 1].begin if n + 1 < len(parts) else parts[n].end
        yield _Edit(begin, end, "", ((), None, None)), n


def _inserted(
    text: str,
    place: int,
    parts: Sequence[_Part],
    kept: Sequence[int],
    follows: bool,
    texts: Sequence[str],
) -> Iterator[_Edit]:
    """Puts texts behind the last part that is kept, with commas as they stand there; `follows`: others do."""
    if len(parts) > 1:
        comma = text[parts[0].end : parts[1].begin]
    else:
        comma = "," + (text[place + 1 : parts[0].begin] if parts else "")
    behind = bool(kept)
    where = parts[kept[-1]].end if behind else parts[0].begin if parts else place + 1
    for n, one in enumerate(texts):
        before = comma if behind or n else ""
        after = comma if follows and not behind and n == len(texts) - 1 else ""
        yield _Edit(where, where, f"{before}{one}{after}", ((), None, None))


def _parts(text: str, place: int) -> list[_Part]:
    """The members or elements of the object or list at a place of a text that is known to be JSON."""
    found = []
    named, place = text[place] == "{", _skip(text, place + 1)
    while text[place] not in "]}":
        begin, name = place, ""
        if named:
            name, place = _READ(text, place)
            place = _skip(text, _skip(text, place) + 1)  # the colon
        end = _READ(text, place)[1]
        found.append(_Part(name, begin, place, end))
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return found


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _writer(text: str) -> Callable[[Any], str]:
    """Writes JSON in the manner of a text: with spaces or without, letters as they are or escaped."""
    separators = (", ", ": ") if '": ' in text else (",", ":")
    return json.JSONEncoder(
        separators=separators, ensure_ascii=text.isascii(), allow_nan=False
    ).encode


def _same(one: Any, other: Any) -> bool:
    """Whether two values would be the same JSON: 1, 1.0 and true are three; NaN is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)


def _difference(edits: Sequence[_Edit], before: Any, after: Any, redacted: bool) -> str:
    """`retryCount: 3 -> 0; +note: "x"; -debug: true`, in one line."""
    if redacted:  # as wholes: what stands around a value may tell that it is a secret
        before, after = _redacted(before), _redacted(after)
    lines = []
    for path, old, new in (edit.says for edit in edits):
        where = redact(_named(path)) if redacted else _named(path)
        if old is _NOTHING and new is _NOTHING:
            continue
        if old is _NOTHING:
            lines.append(f"+{where}: {_shown(after, path)}")
        elif new is _NOTHING:
            lines.append(f"-{where}: {_shown(before, path)}")
        else:
            lines.append(f"{where}: {_shown(before, path)} -> {_shown(after, path)}")
    more = f"; and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return "; ".join(lines[:_LINES]) + more


def _redacted(payload: Any) -> Any:
    """What a payload says without its secrets; all of it hidden where that is no JSON any more."""
    try:
        return json.loads(redact(json.dumps(payload)))
    except ValueError:
        return _HIDDEN


def _shown(whole: Any, path: _Path) -> str:
    """The value at a path, or what stands in the place of something around it."""
    for step in path:
        if isinstance(whole, str):
            break
        try:
            whole = whole[step]
        except (LookupError, TypeError):  # its name is hidden, too
            whole = _HIDDEN
    text = json.dumps(whole)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _named(path: _Path) -> str:
    """`user.cards[0]`"""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")
