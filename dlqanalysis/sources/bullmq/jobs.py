"""Jobs of BullMQ as columns of the frame: shared by the source that loads them and the hand that compares.

| column | from |
|---|---|
| task_id | queue:id; a queue's own numbers say nothing without it |
| args, kwargs | `data` as it is: kwargs when it is an object, else args with it as the only one |
| retries, max_retries | `atm` (BullMQ 4: `attemptsMade`), `attempts` of `opts` |
| failed_at | the score in `failed`, else `finishedOn` |
| exception_type, traceback | the last entry of `stacktrace` and its first line |
| expires_at | failed_at plus `removeOnFail.age` of `opts` |
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.sources.bullmq.keys import UNSHOWN, shown
from dlqanalysis.text import decoded

FIELDS = (
    "name", "data", "opts", "failedReason", "timestamp", "finishedOn", "atm", "attemptsMade",
    "priority", "pb", "deid",
)  # fmt: skip
Values = Sequence[bytes | None]

_STATES = pa.array(["complete", "truncated", "unreadable", "missing"])
_COMPLETE, _UNREADABLE, _MISSING = 0, 2, 3
_LAST_MILLISECOND = 253_402_300_799_999  # 9999-12-31
#: V8 writes `Name: message` or `Name [CODE]: message`; a class of JavaScript or Python begins with a capital
_TYPE = (
    r"^(?:Uncaught )?([A-Z_$][A-Za-z0-9_$.]*|[a-z][A-Za-z0-9_$.]*(?:Error|Exception))"
    r"(?: \[[^\]]+\])?(?::|$)"
)
#: what calls itself an error, and what may; nothing after the colon makes it another type
_ERROR = re.compile(rb"\w*(?:Error|Exception)(?: \[\w+\])?:")
_WORD = re.compile(rb"[\w$.]+(?: \[\w+\])?:")
_NEAR = 400  #: bytes of an entry in which its type is looked for
_TEXT = msgspec.json.Decoder(str)


def columns(
    queue: bytes,
    jobs: Sequence[bytes],
    scores: Sequence[bytes],
    fields: Mapping[str, Values],
    stacks: "Stacks | None" = None,
) -> pa.Table:
    """The frame's columns (but `source`) of some jobs of one queue, given their ids, scores and FIELDS as bytes.

    `stacks` is what is needed of their stacktraces; the traceback comes where it has the entries. Adds
    `traceback_bytes`, `keeps` (how many failures the queue keeps, as its job says) and `gone` (whether it
    had no field at all). Nothing here raises, whatever the bytes are.
    """
    column = {name: _binary(fields[name]) for name in FIELDS}
    text = {name: _text(values) for name, values in column.items()}
    rows = len(jobs)
    data, opts = text["data"], text["opts"]
    reads = _is_json(data)
    object_ = pc.fill_null(pc.starts_with(pc.utf8_trim_whitespace(data), "{"), False)
    nothing = pa.nulls(rows, pa.string())
    array = pc.binary_join_element_wise(pa.scalar("["), data, pa.scalar("]"), pa.scalar(""))
    options = _Options(opts)
    stacks = stacks or Stacks.of([None] * rows)
    # BullMQ writes null where what was thrown had no message, a bare text say: nobody's words, and no verdict's
    unsaid = pc.and_(pc.equal(text["failedReason"], "null"), pc.equal(pa.array(stacks.lengths), 0))
    score = _text(_binary(scores))
    failed = pc.coalesce(_time(score), _time(text["finishedOn"]))
    place = pa.scalar(shown(queue).replace(":", "%3A"))
    task = pc.binary_join_element_wise(place, _shown(_binary(jobs)), ":")
    table = {
        "failure_id": pc.binary_join_element_wise(task, score, "@"),
        "task_id": task,
        "task_name": text["name"].dictionary_encode(),
        "queue": _same(shown(queue), rows),
        "status": _same("failed", rows),
        "priority": text["priority"].dictionary_encode(),
        "args": pc.if_else(object_, nothing, array),
        "kwargs": pc.if_else(object_, data, nothing),
        "payload_state": _state(column, text, reads, options),
        "exception_type": _types(stacks, text["failedReason"]),
        "exception_message": pc.if_else(unsaid, nothing, text["failedReason"]),
        "retries": pc.coalesce(_count(text["atm"]), _count(text["attemptsMade"])),
        "max_retries": _count(options.at("$.attempts")),
        "enqueued_at": _moment(_time(text["timestamp"])),
        "failed_at": _moment(failed),
        "expires_at": _moment(options.expiry(failed)),
        "worker": text["pb"],
        "idempotency_key": text["deid"],
        "trace_id": options.trace(),
        "traceback_bytes": pa.array(stacks.lengths, pa.int32()),
    }
    if stacks.entries is not None:
        table["traceback"] = stacks.traces()
    return (
        pa.table(table)
        .append_column("keeps", options.keeps())
        .append_column("gone", _all_null(column))
    )


def unreadable_reason(fields: Mapping[str, bytes | None]) -> str:
    """Why a worker could not run a job whose payload is not complete, in words."""
    one = {name: [fields.get(name)] for name in FIELDS}
    if all(fields.get(name) is None for name in ("name", "data", "opts", "timestamp")):
        return "its job is gone, only its id is left"
    column = {name: _binary(one[name]) for name in ("name", "data", "opts")}
    for name, values in column.items():
        text = _text(values)
        if values.null_count:
            if name == "opts":
                continue  # BullMQ takes {} then
            return f"its {name} is missing"
        if not values.equals(text.cast(pa.binary())):
            return f"its {name} is no UTF-8"
        if name != "name" and not _is_json(text)[0].as_py():
            return f"its {name} is no JSON: a worker that takes it would hang on it for ever"
    if (opts := fields.get("opts")) is not None and not opts.lstrip().startswith(b"{"):
        return "its opts are no JSON object"
    return "its payload cannot be read"


def lifo(opts: bytes | None) -> bool:
    """Whether a job was added with lifo: it goes to the head of the line."""
    if not opts or b"lifo" not in opts:
        return False
    try:
        return bool(json.loads(opts, parse_int=str).get("lifo"))
    except (ValueError, RecursionError, AttributeError):
        return False


class _Options:
    """The `opts` of jobs, read at a few paths without an object a row; what is no JSON has none."""

    def __init__(self, opts: pa.Array) -> None:
        import polars as pl

        self.text = opts
        # a page has few different ones, unless jobs have ids of their own
        self._codes = opts.dictionary_encode()
        self._values = pl.from_arrow(self._codes.dictionary)

    def at(self, path: str) -> pa.Array:
        return self._spread(self._values.str.json_path_match(path))

    def valid(self) -> pa.Array:
        """Whether they are a JSON object, or absent, which BullMQ reads as an empty one."""
        words = pc.utf8_trim_whitespace(self._codes.dictionary)
        good = pc.and_(_is_json(self._codes.dictionary), pc.starts_with(words, "{"))
        return pc.fill_null(good.take(self._codes.indices), True)

    def expiry(self, failed: pa.Array) -> pa.Array:
        """When BullMQ may delete each: milliseconds."""
        import polars as pl

        age = self._spread(
            self._values.str.json_path_match("$.removeOnFail.age").cast(pl.Float64, strict=False)
        )
        plausible = pc.and_(pc.greater_equal(age, 0), pc.less(age, 1e10))
        lives = pc.if_else(plausible, pc.multiply(age, 1000.0), None).cast(pa.int64(), safe=False)
        return pc.add(failed, lives)

    def keeps(self) -> pa.Array:
        """How many of the newest BullMQ keeps, as text, where the job says so."""
        found = self._values.str.json_path_match("$.removeOnFail.count")
        plain = self._values.str.json_path_match("$.removeOnFail").str.extract(r"^(\d+)$")
        return self._spread(found.fill_null(plain))

    def trace(self) -> pa.Array:
        """The trace of OpenTelemetry that BullMQ keeps as `tm`."""
        return self._spread(self._values.str.extract(r"\b[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-"))

    def _spread(self, values: Any) -> pa.Array:
        found = values.to_arrow()
        if pa.types.is_large_string(found.type) or pa.types.is_string_view(found.type):
            found = found.cast(pa.string())
        return found.take(self._codes.indices)


def _state(
    column: Mapping[str, pa.Array], text: Mapping[str, pa.Array], reads: pa.Array, options: _Options
) -> pa.DictionaryArray:
    good = pc.and_(reads, options.valid())
    for name in ("name", "data", "opts"):
        if column[name].cast(pa.large_binary()) != text[name].cast(pa.large_binary()):
            same = pc.equal(column[name], text[name].cast(pa.binary()))
            good = pc.and_(good, pc.fill_null(same, name == "opts"))
    good = pc.and_(good, pc.is_valid(text["name"]))
    state = pc.if_else(good, _COMPLETE, _UNREADABLE)
    state = pc.if_else(pc.is_null(text["data"]), _MISSING, state)
    return pa.DictionaryArray.from_arrays(state.cast(pa.int32()), _STATES)


class Stacks(NamedTuple):
    """What the frame needs of `stacktrace`, so that a page's stacks need not be kept: lists."""

    marks: list[bytes | None]  #: the part of the last entry that names the type
    near: list[bytes | None]  #: what stands around it, where it may be no name of a type
    lengths: list[int]  #: of the last entry
    entries: list[bytes | str | None] | None  #: the last entry, where it is wanted

    @classmethod
    def of(cls, stacks: Values, whole: bool = False) -> "Stacks":
        """From JSON arrays of texts, the oldest first."""
        found = cls([], [], [], [] if whole else None)
        for stack in stacks:
            begin, end = _last(stack) if stack else (0, 0)
            there = stack is not None and begin < end
            mark, near = _mark(stack, begin, end) if there else (None, None)
            found.marks.append(mark)
            found.near.append(near)
            found.lengths.append(end - begin)
            if found.entries is not None:
                found.entries.append(_decoded(stack[begin:end]) if there else None)
        return found

    def traces(self) -> pa.Array:
        """The entries as text; what is no UTF-8 is written as escapes."""
        return _text(_binary(self.entries or []))

    def extend(self, more: "Stacks") -> None:
        """Adds those of another page."""
        self.marks.extend(more.marks)
        self.near.extend(more.near)
        self.lengths.extend(more.lengths)
        if self.entries is not None:
            self.entries.extend(more.entries or ())


def _last(stack: bytes) -> tuple[int, int]:
    """Where the last entry lies, still escaped. `","` stands between entries only: inside, quotes are escaped."""
    if not stack.startswith(b"["):
        return 0, len(stack)
    end = len(stack) - 2 if stack.endswith(b'"]') else len(stack.rstrip(b'" ]\n\r\t'))
    begin = stack.rfind(b'","', 0, end)
    if begin < 0:
        begin = stack.rfind(b'", "', 0, end)
        begin = begin + 4 if begin >= 0 else len(stack) - len(stack.lstrip(b'[ "'))
        return begin, end
    return begin + 3, end


def _mark(stack: bytes, begin: int, end: int) -> tuple[bytes, bytes | None]:
    """The word before the first colon of the line that names the type, and what is near it; where no such word
    stands there, what is near. V8 names the type in the first line, Python in the last; what is near begins with
    a line break for Python.
    """
    if stack.startswith(b"Traceback (", begin):
        start = max(begin, end - _NEAR)
        stop = end - 2 if stack.endswith(b"\\n", start, end) else end
        line = stack.rfind(b"\\n", start, stop) + 2
        head = stack[line : stack.find(b":", line, stop) + 1] if line > 1 else b""
        if _ERROR.fullmatch(head):
            return head, None
        near = b"\n" + stack[start:end]
    else:
        stop = min(end, begin + _NEAR)
        head = stack[begin : stack.find(b":", begin, stop) + 1]
        if _ERROR.fullmatch(head):
            return head, None
        near = stack[begin:stop]
    return (head, near) if _WORD.fullmatch(head) else (near, near)


def _types(stacks: Stacks, reasons: pa.Array) -> pa.DictionaryArray:
    """The type of each exception: what stands before the colon of its first line, or for Python its last."""
    import polars as pl

    known = _text(_binary(stacks.marks)).dictionary_encode()  # most say one of a few words
    kinds = _looked_at(known.dictionary).select("line", "type", "error")
    codes = pl.from_arrow(known.indices)
    found = kinds["type"].gather(codes)
    if (~kinds["error"] & kinds["type"].is_not_null()).any():
        # an Error without a name of its own: its text begins as the reason does
        rows = pl.DataFrame(
            [kinds["line"].gather(codes), kinds["error"].gather(codes), found, _reason(reasons)]
        )
        line, reason = pl.col("line"), pl.col("reason")
        begins = line.str.starts_with(reason) | reason.str.starts_with(line)
        maybe = rows.select(begins & ~pl.col("error") & pl.col("type").is_not_null())
        if len(echoes := maybe.to_series().fill_null(False).arg_true()):
            near = _looked_at(_text(_binary([stacks.near[n] for n in echoes])))
            near = near.with_columns(rows["reason"].gather(echoes))
            echo = pl.col("line").str.starts_with(pl.col("reason")) & ~pl.col("error")
            exact = near.select(pl.when(~echo.fill_null(False)).then(pl.col("type"))).to_series()
            found = found.scatter(echoes, exact)
    return found.to_arrow().cast(pa.string()).dictionary_encode()


def _looked_at(marks: pa.Array) -> Any:
    """The line of each mark, the type that it names, and whether that calls itself an error."""
    import polars as pl

    mark, line = pl.col("mark"), pl.col("line")
    last = mark.str.strip_suffix(r"\n").str.extract(r"(?s)^(?:.*\\n)?(.*)$")
    first = mark.str.extract(r"^((?:[^\\]|\\[^n])*)")
    table = pl.DataFrame({"mark": pl.from_arrow(marks)}, schema={"mark": pl.String})
    table = table.with_columns(line=pl.when(mark.str.starts_with("\n")).then(last).otherwise(first))
    return table.with_columns(
        type=line.str.extract(_TYPE),
        error=line.str.contains(r"^[A-Za-z0-9_]*(?:Error|Exception)\b"),
    )


def _reason(reasons: pa.Array) -> Any:
    import polars as pl

    table = pl.DataFrame({"reason": pl.from_arrow(reasons)}, schema={"reason": pl.String})
    return table["reason"].str.extract(r"^([^\n\"\\]+)")


def _decoded(entry: bytes) -> bytes | str:
    if b"\\" not in entry:
        return entry
    text = b'"' + entry + b'"'
    try:
        return str(_TEXT.decode(text))
    except ValueError:  # lone surrogates and bare control characters
        pass
    try:
        return json.loads(text, strict=False).encode("utf-8", "backslashreplace")
    except ValueError:
        return entry


def _is_json(text: pa.Array) -> pa.Array:
    """Whether JavaScript's JSON.parse takes each text: a strict parser for all, Python for its refusals."""
    import polars as pl

    values = pl.from_arrow(text)
    valid = values.str.json_path_match("$").is_not_null()
    refused = values.filter(~valid).drop_nulls().unique()
    if read := [one for one in refused if _reads(one)]:
        valid = valid | values.is_in(read)
    return valid.fill_null(False).to_arrow()


def _reads(text: str) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)  # NaN and Infinity are Python's own

    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _binary(values: Iterable[bytes | None]) -> pa.Array:
    found = pa.array(values, pa.binary())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _text(values: pa.Array) -> pa.Array:
    """Text of bytes; what is no UTF-8 is written as escapes."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        plain = [v if v is None else decoded(v) for v in values.to_pylist()]
        return pa.array(plain, pa.string())


def _shown(names: pa.Array) -> pa.Array:
    """`keys.shown` of a column; one by one only where something has to be escaped."""
    try:
        text = names.cast(pa.string())
        if not pc.any(pc.match_substring_regex(text, UNSHOWN)).as_py():
            return text
    except pa.ArrowInvalid:
        pass
    return pa.array([shown(one) for one in names.to_pylist()], pa.string())


def _count(text: pa.Array) -> pa.Array:
    import polars as pl

    return pl.from_arrow(text).cast(pl.Int32, strict=False).to_arrow()


def _time(text: pa.Array) -> pa.Array:
    import polars as pl

    number = pl.from_arrow(text).cast(pl.Float64, strict=False)
    plausible = (number > 0) & (number <= _LAST_MILLISECOND)
    return pl.select(pl.when(plausible).then(number)).to_series().cast(pl.Int64).to_arrow()


def _moment(milliseconds: pa.Array) -> pa.Array:
    return milliseconds.cast(pa.timestamp("ms", tz="UTC"))


def _same(word: str, rows: int) -> pa.DictionaryArray:
    words = pa.array([word] if rows else [], pa.string())
    return pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()).fill_null(0), words)


def _all_null(column: Mapping[str, pa.Array]) -> pa.Array:
    null: Callable[[Any], Any] = pc.is_null
    found = null(column["name"])
    for values in column.values():
        found = pc.and_(found, null(values))
    return found
