"""One failure as the chain of its causes: which exceptions, outermost first, and what they say.

The text of a chain is what people and libraries wrote about the error; source lines, frames, SQL statements,
their parameters and addresses are left out of it, because a word in them is no statement about the error.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

_HEAD, _TAIL = 6_000, 3_000  #: how much of a message is looked at
_TRACE_HEAD, _TRACE_TAIL = 12_000, 24_000  #: Python writes the root first, Java last
_LINES = 8_000  #: how much of the exceptions' own lines in a traceback

_DIRECT = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"
_FRAME = re2.compile(
    r'^\s*(?:at |\.\.\. \d+ |from |#\d+ |\[\d+\] |File "|--- End |Suppressed:|goroutine \d|created by '
    r"|\S+\.(?:rb|go|php|m?js|ts|py|java|kt|ex|exs|erb|rake)[:(]\d+|Traceback \(|Stack trace:|\[stacktrace\]"
    r"|[\w.*/()]+\((?:0x|\.\.\.)|[^:]*\.(?:rb|erb|rake|exs?):\d+)"
)

# What a library appends to its sentence: the statement, its parameters, a link for the reader.
_APPENDIX = re2.compile(
    r"(?s)\s*(?:\[SQL: |\[parameters: |\[SQL \(|\(Background on this error|\(SQL: |, SQL: |\nLINE \d+: "
    r"|; SQL \[|\[insert into |\[select |\[update |\[delete from |\n?Failing row contains|\n  PL/pgSQL function "
    r"|\nCONTEXT: |\nWITH |\nINSERT INTO |\nSELECT |\nUPDATE ).*?"
    r"(?:\]\n|\]; nested|\)$|\](?:; )|\n\n|\nDETAIL: |\nHINT: |$)"
)
_ADDRESS = re2.compile(
    r"(?i)\b((?:https?|wss?|ftp|redis|rediss|amqps?|postgres(?:ql)?|mysql|mongodb(?:\+srv)?)://)[^\s'\"<>)\]}`]*"
)

_NAME = r"(?:[A-Za-z_][\w]*(?:\.|::|\\+|\$|/))*"
_SUFFIX = (
    r"(?:Error|Exception|Timeout|TimedOut|Failure|Fault|Violation|NotFound|DoesNotExist|Exhausted|Unavailable"
    r"|Refused|Disconnected|Exceeded|Limited|Invalid|Failed|Lost|Denied|Detected|Expired|Shutdown|Canceled|Cancelled)"
)
_IDENTIFIER = re2.compile(r"^[A-Za-z]+(?:[_.-][A-Za-z]+)+$|^[A-Z][a-z]+(?:[A-Z][a-z]+)+$")

# A class that a text names: by its suffix, or because the text says that what follows is a cause.
_TYPED = re2.compile(
    rf"\b({_NAME}[A-Z]\w*{_SUFFIX})\b"
    rf"|(?:[Cc]aused by|nested exception is|---> ?|\[cause\]|\braised|\bNext|\bCause|\bcause)[ :(]+({_NAME}[A-Z]\w+)\b"
    r"|An error occurred \(([A-Z]\w+(?:\.\w+)*)\) when calling"  # clouds: the class is the code
    rf"|(?m:^({_NAME[:-1]}+[A-Z]\w+)(?::|$))"
    rf"|(?m:^([A-Za-z_]\w*\.[\w.]*(?:error|timeout|herror|gaierror))(?::|$))"
)


@dataclass(frozen=True, slots=True)
class Chain:
    """Causes of one failure that belong together."""

    types: tuple[str, ...]  #: class names, outermost first, the root last; dots between their parts
    text: str  #: their messages


def chains(exception_type: str, message: str, traceback: str) -> tuple[Chain, Chain | None]:
    """The failure's own chain, and what was being handled when it came up ("During handling of"), if any."""
    said = clean(cap(message, _HEAD, _TAIL))
    if " [" in exception_type:  # Node: TypeError [ERR_INVALID_URL]
        exception_type, _, code = exception_type.partition(" [")
        said += f"\n{code[:100].rstrip(']')}"
    own, context = _exceptions(cap(traceback, _TRACE_HEAD, _TRACE_TAIL)) if traceback else ("", "")
    own, context = clean(own), clean(context)
    own = _unsaid(own, said)
    text = said if not own or own in said else f"{said}\n{own}"
    if found_in(_IDENTIFIER, said):  # a code instead of a sentence: its words are what it says
        text += f"\n{re.sub('[_.-]+|(?<=[a-z])(?=[A-Z])', ' ', said)}"
    types = [dotted(exception_type)] if exception_type else []
    types += [name for name in named(text) if name not in types]
    chain = Chain(tuple(types), text)
    return chain, Chain(tuple(named(context)), context) if context else None


def _unsaid(own: str, said: str) -> str:
    """The lines of a traceback without the one that repeats the message behind its class."""
    place = own.rfind(f": {said}") if said else -1
    if place < 0:
        return own
    start = own.rfind("\n", 0, place) + 1
    before, after = own[start:place], own[place + 2 + len(said) :]
    return own if " " in before or after[:1].strip() else (own[:start] + after).strip("\n")


def found_in(pattern: Any, text: str) -> bool:
    """Whether a pattern is found; letters of one byte each need not be counted for it."""
    return bool(pattern.search(text.encode() if text.isascii() else text))


def cap(text: str, head: int, tail: int) -> str:
    """The two ends of a text that is longer than both."""
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def clean(text: str) -> str:
    """A message without statements, parameters and addresses."""
    if "[" in text or "(" in text or "\n" in text:
        text = _APPENDIX.sub("\n", text)
    if "://" in text:
        text = _ADDRESS.sub(r"\1...", text)
    return text.strip()


@lru_cache(maxsize=4_096)
def dotted(name: str) -> str:
    """A class name with dots, whatever its language writes between the parts.

    >>> dotted("Net::OpenTimeout"), dotted("GuzzleHttp\\\\Exception\\\\ConnectException")
    ('Net.OpenTimeout', 'GuzzleHttp.Exception.ConnectException')
    """
    name = name.strip()[:300]
    if name.startswith("<class '") and name.endswith("'>"):
        name = name[8:-2]
    return re.sub(r"::|\\+|\$|/", ".", name).strip(".:( ").lstrip("*&")


def named(text: str) -> list[str]:
    """The classes that a text names, in order, each once."""
    found: dict[str, None] = {}
    if not found_in(_TYPED, text):
        return []
    for match in _TYPED.finditer(text):
        name = next(group for group in match.groups() if group)
        found[dotted(name)] = None
        if len(found) == 20:
            break
    return list(found)


def _exceptions(traceback: str) -> tuple[str, str]:
    """The lines of a traceback that are about exceptions: of the chain itself, and of its context."""
    if 'File "' not in traceback:
        return _without_frames(traceback), ""
    own: list[str] = []
    context: list[str] = []
    target, marker = own, ""
    blocks = re.split(f"({re.escape(_DIRECT)}|{re.escape(_DURING)})", traceback)
    for block in reversed(blocks):
        if block in (_DIRECT, _DURING):
            marker = block
            if marker == _DURING:
                target = context
            continue
        target.append(_last_lines(block))
    return "\n".join(own)[:_LINES], "\n".join(context)[:_LINES]


def _last_lines(block: str) -> str:
    """A Python traceback without its frames: the lines after the last one, and that frame's source."""
    lines = block.strip("\n").split("\n")
    last = max(
        (n for n, line in enumerate(lines) if line.lstrip(" |+").startswith('File "')), default=-1
    )
    rest = lines[last + 1 :]
    while rest and (rest[0].startswith("    ") or rest[0].startswith("  | ")):
        rest = rest[1:]
    return "\n".join(line for line in rest if not line.startswith("Traceback ("))


def _without_frames(traceback: str) -> str:
    kept, size = [], 0
    for line in traceback.split("\n"):
        if line and not _FRAME.search(line[:200]):
            kept.append(line)
            size += len(line) + 1
    return cap("\n".join(kept), _LINES // 2, _LINES // 2)
