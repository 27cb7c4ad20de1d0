"""What a worker's line says of a task: Celery's own words, 4 and 5."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dlqanalysis.text import decoded

_TASK = rb"(?P<name>[^\[\]\r\n]{1,300}?)\[(?P<id>[^\]\r\n]{1,300})\]"
_SAYS = (
    rb"Task " + _TASK + rb" (?:"
    rb"(?P<succeeded>succeeded (?:in |before the worker was lost))"
    rb"|retry: (?P<retry>[^\r\n]*)"
    rb"|(?:raised (?:unexpected|expected|exception)|INTERNAL ERROR): (?P<raised>[^\r\n]*)"
    rb"|reject requeue=False: (?P<rejected>[^\r\n]*))"
)
_OTHERS = (
    rb"Hard time limit \((?P<limit>[^)\r\n]{1,40}?)s?\) exceeded for " + _TASK,
    rb"Discarding (?P<revoked>revoked) task: " + _TASK,
    rb"Task handler raised error: (?P<handler>[^\r\n]*)",
    rb"Received unregistered task of type (?P<unregistered>[^\r\n]*)",
)
#: how the others begin
_BEGINS = (
    b"Hard time limit",
    b"Discarding revoked task",
    b"Task handler raised",
    b"Received unregistered task",
)
_BEGINNING = re.compile(rb"Task |" + b"|".join(_BEGINS))
_HEAD = 300
_ABOUT_TASK, *_ABOUT_OTHERS = (re.compile(pattern) for pattern in (_SAYS, *_OTHERS))

_REPR = re.compile(r"<?([A-Za-z_][\w.]{0,200})(?:\((.*)\)|[: ] ?(.*)>|>)", re.DOTALL)
_QUOTED = re.compile(r"""(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"),?""", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|.)", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}
_RETRY = re.compile(r"Retry (?:in|at) [^:]{0,40}(?::\d\d[^:]{0,20}){0,2}: (.*)", re.DOTALL)
_FRAME = re.compile(r"(?m)^ +File \"")
_LAST = re.compile(r"(?m)^([A-Za-z_][\w.]{0,200})(?:: ?(.*)|$)", re.DOTALL)
_HEADER_ID = re.compile(rb"'id': '([^'\r\n]{1,300})'")


@dataclass(slots=True)
class Event:
    """One line about a task; `kind` is succeeded, retry, failed, rejected, revoked."""

    kind: str
    task_name: str | None = None
    task_id: str | None = None
    exception: str = ""  #: as the line has it, a repr
    handler: bool = False  #: told by the pool, which does not say of which task


def event(line: bytes, start: int, anchored: bool) -> Event | None:
    """What the text of a line, from `start` on, says of a task; None for everything else.

    `anchored`: the message begins there, so that words quoted inside of one mean nothing.
    """
    found = _found(line, start, anchored)
    if found is None:
        return None
    if found.lastgroup == "succeeded":  # half of a log's lines are these
        return Event("succeeded", decoded(found["name"]), decoded(found["id"]))
    groups = {
        name: decoded(value) for name, value in found.groupdict().items() if value is not None
    }
    name, task_id = groups.get("name"), groups.get("id")
    if "revoked" in groups:
        return Event("revoked", name, task_id)
    if "retry" in groups:
        why = _RETRY.fullmatch(groups["retry"])
        bare = groups["retry"].startswith("Retry ")
        return Event("retry", name, task_id, why[1] if why else "" if bare else groups["retry"])
    if "rejected" in groups:
        return Event("rejected", name, task_id, f"Reject({groups['rejected']!r})")
    if "limit" in groups:
        told = f"TimeLimitExceeded({groups['limit']},)"  # its own text, too
        return Event("failed", name, task_id, f"TimeLimitExceeded({told!r})")
    if "unregistered" in groups:
        name = groups["unregistered"].strip().removesuffix(".").strip("'\"")
        return Event("failed", name, None, f"NotRegistered({name!r})")
    handler = "handler" in groups
    return Event("failed", name, task_id, groups["handler" if handler else "raised"], handler)


def _found(line: bytes, start: int, anchored: bool) -> re.Match[bytes] | None:
    """The first expression that fits where a message begins; words at its beginning are cheaper to look for."""
    for at in (start,) if anchored else _places(line, start):
        if line.startswith(b"Task ", at) and (found := _ABOUT_TASK.match(line, at)):
            return found
        if line.startswith(_BEGINS, at):
            for other in _ABOUT_OTHERS:
                if found := other.match(line, at):
                    return found
    return None


def _places(line: bytes, start: int) -> Iterator[int]:
    """Where a message may begin behind a head of unknown form, which is not longer than _HEAD."""
    for found in _BEGINNING.finditer(line, start, start + _HEAD):
        yield found.start()


def exception(told: str, trace: str) -> tuple[str | None, str]:
    """Type and message of an exception: as the traceback ends, where it ends with this one; else from its repr."""
    found = _REPR.fullmatch(told.strip())
    kind = found[1] if found else None
    frames = list(_FRAME.finditer(trace))
    last = _LAST.search(trace, frames[-1].end()) if kind and frames else None
    if kind and last and last[1].rpartition(".")[2] == kind.rpartition(".")[2]:
        # a traceback from another process stands in triple quotes
        return kind, (last[2] or "").strip().removesuffix('"""').rstrip()
    if not found:
        return None, told
    inside = found[2] if found[2] is not None else found[3] or ""
    quoted = _QUOTED.fullmatch(inside)
    if not quoted or kind == "KeyError":  # whose text is a repr
        return kind, inside
    return kind, _ESCAPE.sub(_unescaped, quoted[1] if quoted[1] is not None else quoted[2])


def id_in_headers(body: bytes) -> str | None:
    """The task's id in the headers that a worker prints of a message it does not know."""
    found = _HEADER_ID.search(body)
    return decoded(found[1]) if found else None


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) == 1:
        return _PLAIN.get(code, code)
    letter = chr(int(code[1:], 16))
    return found[0] if "\ud800" <= letter <= "\udfff" else letter
