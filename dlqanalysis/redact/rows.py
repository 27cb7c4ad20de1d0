"""Personal data and secrets in the rows that databases print: a value goes by the name of its column."""

import re
from collections.abc import Iterator

from dlqanalysis.redact.fields import kind_of_field
from dlqanalysis.redact.shapes import MASKED, Span, compiled

# Only the openings; what follows is looked at a bounded way on, and a text is scanned past what was read.
_OPEN = compiled(
    rb"(?P<insert>(?i:\binsert[ \t]{1,3}into[ \t]{1,3})[\w.\"`\[\]]{1,120}[ \t]{0,3}\()"
    rb"|(?P<failing>\bFailing row contains \()"
    rb"|(?P<entry>\bDuplicate entry ')"
)
_REACH = 8_000
_ITEM = re.compile(
    rb"""\s*(?P<value>[A-Za-z]{0,2}'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^'"(),]*(?:\([^()]{0,200}\))?[^'"(),]*)\s*(?P<end>[,)]|$)"""
)
_VALUES = re.compile(rb"(?i)\bvalues\s*\(|\[parameters: \[?\(|\[args: \(|params: \[")
_KEY = re.compile(rb"[^'\n]{0,300}' for key '(?:[\w-]+\.)?([\w-]{1,100})'")
_PLAIN = re.compile(
    rb"null|NULL|None|true|false|True|False|[tf]|default|[+-]?\d{1,9}(?:\.\d+)?|[+-]?\d{1,12}\.\d+|\d{4}-\d\d-\d\d.*"
    rb"|[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9a-f]{16,64}|[a-z][a-z_.-]{1,40}"
    rb"|[A-Za-z]{1,10}[-_][\w-]*\d[\w-]*|[A-Z][A-Z_]{1,30}|\{\}|\[\]|https?://\S*|%\(?\w*\)?s|\$\d+|\?|:\w+|"
)
_PERSON = ("email", "mail", "phone", "mobile", "birth", "password", "address", "surname", "gender")


def by_row(text: bytes) -> Iterator[Span]:
    """Spans of values whose column says what they are, and of what is no code in a row without names."""
    done = 0
    for match in _OPEN.finditer(text):
        if match.start() < done:
            continue
        kind = match.lastgroup.decode()
        if kind == "entry":
            found = _KEY.match(text, match.end())
            of = _of_column(found[1], False) if found else None
            end = text.find(b"' for key", match.end(), match.end() + 400)
            if of and end > match.end():
                yield match.end(), end, of, text[match.end() : end], b""
            continue
        items, done = _items(text, match.end())
        if kind == "failing":
            for start, end in items:
                value = text[start:end]
                if not _PLAIN.fullmatch(value) and not MASKED.fullmatch(value):
                    yield start, end, "personal", value, b""
            continue
        names = [text[start:end].strip(b"\"`[]'") for start, end in items]
        yield from _under(text, names, done)


def _under(text: bytes, names: list[bytes], at: int) -> Iterator[Span]:
    """The values of an INSERT, in its VALUES or in the parameters printed after it, under the names of its columns."""
    person = any(word in name.lower().decode("latin-1") for name in names for word in _PERSON)
    kinds = [_of_column(name, person) for name in names]
    if not any(kinds):
        return
    stop = min(len(text), at + _REACH)
    while opened := _VALUES.search(text, at, stop):
        at = opened.end()
        while True:
            items, at = _items(text, at)
            for kind, (start, end) in zip(kinds, items, strict=False):
                value = text[start:end]
                quoted = _QUOTED.fullmatch(value)
                if quoted:
                    start, end = start + quoted.start(1), start + quoted.end(1)
                    value = text[start:end]
                if kind and not MASKED.fullmatch(value) and not _EMPTY.fullmatch(value):
                    yield start, end, kind, value, b"'" if value.isdigit() and not quoted else b""
            more = re.compile(rb"\s*,\s*\(").match(text, at, stop)
            if not more:
                break
            at = more.end()


_QUOTED = re.compile(rb"""(?s)[A-Za-z]{0,2}(?:'|")(.*)(?:'|")""")
_EMPTY = re.compile(rb"%\(?\w*\)?s|\$\d+|\?|:\w+|(?i:null|none|true|false|default)|\w+\(.*\)|")


def _of_column(name: bytes, person: bool) -> str | None:
    plain = name.decode("latin-1")
    if person and plain.lower() in ("name", "nome", "nom", "display_name", "username"):
        return "personal"
    return kind_of_field(plain)


def _items(text: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """Where the items of a list in parentheses stand, and where it ends."""
    items, stop = [], min(len(text), at + _REACH)
    while at < stop and (match := _ITEM.match(text, at, stop)):
        start, end = match.span("value")
        while end > start and text[end - 1 : end].isspace():
            end -= 1
        items.append((start, end))
        if match.end() == at:
            break
        at = match.end()
        if match["end"] != b",":
            break
    return items, at
