"""Whether payloads are whole, column by column: shared by the sources that get them as text."""

import json

import pyarrow as pa
import pyarrow.compute as pc

_STATES = pa.array(["complete", "truncated", "unreadable", "missing"])
_COMPLETE, _TRUNCATED, _UNREADABLE, _MISSING = range(4)
_SLOW = 20_000  #: how many texts that a strict parser refuses are tried again one by one


def payload_state(
    args: pa.ChunkedArray | None,
    kwargs: pa.ChunkedArray | None,
    rows: int,
    *,
    json_valid: bool = False,
    lossy: pa.ChunkedArray | None = None,
) -> pa.DictionaryArray:
    """complete, truncated, unreadable or missing for each row; the worse of args and kwargs decides.

    `json_valid`: the system checked the JSON already (json and jsonb columns). `lossy`: rows whose payload
    the system itself calls a lossy copy. A column that is not there at all makes every payload truncated.
    """
    missing = pc.fill_null(pa.nulls(rows, pa.bool_()), True)
    worst = pa.nulls(rows, pa.int32()).fill_null(_COMPLETE)
    for column, opening in ((args, "["), (kwargs, "{")):
        if column is None:
            continue
        text = column.cast(pa.large_string())
        missing = pc.and_(missing, pc.is_null(text))
        worst = pc.max_element_wise(worst, _part(text, opening, json_valid))
    if args is None or kwargs is None:
        worst = pc.max_element_wise(worst, pa.scalar(_TRUNCATED, pa.int32()))
    if lossy is not None:
        flagged = pc.fill_null(lossy, False)
        worst = pc.max_element_wise(
            worst, pc.if_else(flagged, _TRUNCATED, _COMPLETE).cast(pa.int32())
        )
    worst = pc.if_else(missing, pa.scalar(_MISSING, pa.int32()), worst)
    if isinstance(worst, pa.ChunkedArray):
        worst = worst.combine_chunks()
    return pa.DictionaryArray.from_arrays(worst, _STATES)


def _part(text: pa.ChunkedArray, opening: str, json_valid: bool) -> pa.ChunkedArray:
    """The state of one column's texts as numbers; a null is as good as an empty list."""
    valid = None if json_valid else _is_json(text)
    good = (
        pc.starts_with(text, opening)
        if json_valid
        else pc.and_(pc.starts_with(text, opening), valid)
    )
    good = pc.fill_null(good, True)
    if pc.all(good).as_py() is not False:  # the usual case, in one cheap pass
        return pc.if_else(good, _COMPLETE, _COMPLETE).cast(pa.int32())
    bare = pc.utf8_trim_whitespace(text)
    starts = pc.starts_with(bare, opening)
    good = starts if json_valid else pc.and_(starts, valid)
    # Celery's repr of long arguments ends in dots; a JSON text that was cut lacks its end
    cut = pc.match_substring_regex(bare, r"(\.\.\.|…)['\"]?[,)\]}]*$")
    if not json_valid:
        begun = pc.match_substring_regex(bare, r"^[\[{(]")
        ended = pc.match_substring_regex(bare, r"[\]})]$")
        cut = pc.or_(cut, pc.and_(begun, pc.invert(ended)))
    state = pc.if_else(good, _COMPLETE, pc.if_else(cut, _TRUNCATED, _UNREADABLE)).cast(pa.int32())
    return pc.fill_null(state, _COMPLETE)


def _is_json(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text is JSON as Python's json reads it: a strict parser for all, Python for its refusals.

    The strict one (Rust, no object a row) refuses NaN, lone surrogates, huge numbers and deep nesting.
    """
    import polars as pl

    values = pl.from_arrow(text)
    valid = values.str.json_path_match("$").is_not_null()
    refused = values.filter(~valid).drop_nulls().unique()
    if len(refused) > _SLOW:
        refused = refused.filter(
            refused.str.contains(r"NaN|Infinity|\\u[dD]|[eE]\+?\d{3}|\[\[\[\[|:\{")
        )
    read = [one for one in refused if _reads(one)]
    if read:
        valid = valid | values.is_in(read)
    return pa.chunked_array([valid.fill_null(False).to_arrow()])


def _reads(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
