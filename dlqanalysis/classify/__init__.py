"""Gives each failure its class, the rule that said so, why in a sentence, and how sure that is.

Each distinct text is judged once: a million rows are a few thousand of them. What is judged is the text with its
numbers masked (codes stay), so a row's answer never depends on which other rows stand in the frame.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.classify.book import Book, Match
from dlqanalysis.classify.rules import CONFIDENCES, rulebook
from dlqanalysis.classify.unknowns import readable, rule_stub, rule_stubs, unknown_groups
from dlqanalysis.distinct import Codes, paired
from dlqanalysis.errors import SchemaError, did_you_mean, need
from dlqanalysis.fingerprint import skeleton_codes, template_codes
from dlqanalysis.model import FailureClass
from dlqanalysis.payload import UNREADABLE, lookup, parsed, scalar
from dlqanalysis.signals import signals

__all__ = ["classify", "coverage", "related", "rule_stub", "rule_stubs", "unknown_groups"]

CLASSES = [str(name) for name in FailureClass]
ADDED = ("failure_class", "rule", "why", "confidence")
_WHY = 200  # characters of a sentence
_HEAD, _TAIL = 3_000, 4_500  # of a traceback: Python writes the root first, Java last
_FRAMES, _FRAME = r'(?m:(?:^  File "[^\n]*\n(?:    [^\n]*\n)*)+)', '  File ""\n'
_NOTHING = "No rule matches this text."
#: verdicts: who judges a large archive part by part meets the same texts in each; texts are cut before
_REMEMBERED = 4_096
_SAFEST = {"data": 0, "permanent": 1, "unknown": 2, "transient": 3}

Verdict = tuple[str, str, str, str]  # failure_class, rule, why, confidence


def classify(failures: pd.DataFrame, evidence: pd.DataFrame | None = None) -> pd.DataFrame:
    """The failures with failure_class, rule, why and confidence, all categories.

    `evidence` (columns source, failure_id, failure_class, why; see `related`) overrules the text, visibly.
    Where load kept one traceback for each kind of failure, it speaks for the failures of its kind.
    """
    need(failures, "exception_type", "exception_message")
    book = rulebook()
    codes, texts = _distinct(failures, book)
    verdicts = [_verdict(book, *text) for text in texts]
    if failures.attrs.get("tracebacks") == "representatives":
        codes, verdicts = _spread(failures, codes, verdicts)
    if evidence is not None and len(evidence):
        codes, verdicts = _overrule(failures, codes, verdicts, evidence)
    return failures.assign(**_columns(codes, verdicts, failures.index))


def _distinct(
    failures: pd.DataFrame, book: Book
) -> tuple[Codes, list[tuple[str, str, str, str, str]]]:
    """A code for each row, and the distinct (type, message, traceback, task, payload_state) behind the codes."""
    parts = [
        _values(failures, "exception_type"),
        _masked(failures, "exception_message"),
        _told(failures),
        _values(failures, "task_name") if book.by_task else _none(len(failures)),
        _values(failures, "payload_state"),
    ]
    codes, size = np.zeros(len(failures), dtype=np.int64), 1
    for part, values in parts:
        if len(values) > 1:
            codes, pairs = paired(codes, size, part, len(values))
            size = len(pairs)
    first = np.full(codes.max(initial=-1) + 1, -1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    texts = [tuple(values[part[row]] for part, values in parts) for row in first]
    return codes, texts  # type: ignore[return-value]


def _none(rows: int) -> tuple[Codes, list[str]]:
    return np.zeros(rows, dtype=np.int64), [""]


def _values(failures: pd.DataFrame, name: str) -> tuple[Codes, list[str]]:
    """A column's codes and distinct values; nothing for what is missing."""
    if name not in failures.columns:
        return _none(len(failures))
    codes, values = pd.factorize(failures[name], use_na_sentinel=True)
    texts = [str(value) for value in values]
    return np.where(codes < 0, len(texts), codes).astype(np.int64), [*texts, ""]


def _masked(failures: pd.DataFrame, name: str) -> tuple[Codes, list[str]]:
    """The same of a text whose numbers are masked."""
    if name not in failures.columns or not failures[name].notna().any():
        return _none(len(failures))
    codes, values = skeleton_codes(pa.array(failures[name], from_pandas=True))
    return codes, [readable(value or "") for value in values.to_pylist()]


def _told(failures: pd.DataFrame) -> tuple[Codes, list[str]]:
    """What tracebacks say about exceptions, masked: the frames of Python, which say nothing, as one."""
    codes = np.zeros(len(failures), dtype=np.int64)
    if "traceback" not in failures.columns:
        return codes, [""]
    there = failures["traceback"].notna().to_numpy()
    if not there.any():
        return codes, [""]
    arrow = pa.array(failures["traceback"][there], from_pandas=True).cast(pa.large_string())
    series = pl.Series("text", pl.from_arrow(arrow), dtype=pl.String)
    series = series.str.replace_all(_FRAMES, _FRAME)
    if (series.str.len_bytes().max() or 0) > _HEAD + _TAIL:
        long = series.str.len_chars() > _HEAD + _TAIL
        ends = pl.select(
            pl.concat_str(series.str.head(_HEAD), pl.lit("\n"), series.str.tail(_TAIL))
        ).to_series()
        series = ends.zip_with(long.fill_null(False), series)
    shape_codes, shaped = skeleton_codes(series.to_arrow(), once=True)
    codes[there] = shape_codes + 1
    return codes, ["", *(readable(value) for value in shaped.to_pylist())]


@lru_cache(maxsize=_REMEMBERED)
def _verdict(book: Book, kind: str, message: str, traceback: str, task: str, state: str) -> Verdict:
    match = book.judge(signals(kind, message, traceback), task, state)
    if match is None:
        return "unknown", "", _NOTHING, "low"
    return str(match.rule.failure_class), match.rule.name, _sentence(match), _confidence(match)


def _sentence(match: Match) -> str:
    """Why, with the words it was read from, and what those outweigh."""
    said = match.rule.why
    if match.evidence:
        said = f'{said}: "{match.evidence}"'
    other = match.overruled
    if other is not None and _worth_saying(match, other):
        more = f'{said}; this outweighs "{other.evidence}" ({other.rule.failure_class})'
        said = more if len(more) < _WHY else said
    return said if len(said) < _WHY else f'{said[: _WHY - 5]}..."'


def _worth_saying(match: Match, other: Match) -> bool:
    """Whether what was overruled is a statement of its own: no stray word, no guess from a class's name."""
    if not other.evidence or other.evidence in match.evidence or match.evidence in other.evidence:
        return False
    if other.rule.failure_class == "unknown":
        return False
    if other.rule.confidence == "low":
        return match.rule.confidence == "low"
    guessed = other.evidence.isidentifier() and other.evidence.lstrip("_")[:1].isupper()
    return not (guessed and other.rule.confidence == "medium")


def _confidence(match: Match) -> str:
    """The rule's own, one step less where an equally sure rule says the opposite about replaying."""
    mine, other = match.rule, match.overruled
    if (
        other is not None
        and other.rule.confidence == mine.confidence == "high"
        and "transient" in (mine.failure_class, other.rule.failure_class)
    ):
        return "medium"
    return mine.confidence


def _spread(
    failures: pd.DataFrame, codes: Codes, verdicts: list[Verdict]
) -> tuple[Codes, list[Verdict]]:
    """What the kept tracebacks say, for the rows of their kind that came without one.

    Where they disagree, the kind takes the answer that replays least.
    """
    if "traceback" not in failures.columns:
        return codes, verdicts
    task, tasks = _values(failures, "task_name")
    kind, kinds = _values(failures, "exception_type")
    text, texts = template_codes(pa.array(failures["exception_message"], from_pandas=True))
    group, groups = paired(task, len(tasks), kind, len(kinds))
    group, _ = paired(group, len(groups), text, len(texts))
    has = failures["traceback"].notna().to_numpy()
    rank = np.array([_SAFEST[verdict[0]] for verdict in verdicts], dtype=np.int64)
    # smallest rank first, then the smallest code: one answer for a group whatever the order of its rows
    seen = pd.DataFrame({"group": group[has], "rank": rank[codes[has]], "code": codes[has]})
    best = seen.sort_values(["rank", "code"]).drop_duplicates("group").set_index("group")["code"]
    told = np.full(group.max(initial=-1) + 1, -1, np.int64)
    told[best.index.to_numpy(np.int64)] = best.to_numpy(np.int64)
    told = told[group]
    return np.where(has | (told < 0), codes, told), verdicts


def _overrule(
    failures: pd.DataFrame, codes: Codes, verdicts: list[Verdict], evidence: pd.DataFrame
) -> tuple[Codes, list[Verdict]]:
    """Evidence in place of what the text said; the text's own answer stays readable in `why`."""
    for name in ("source", "failure_id", "failure_class", "why"):
        if name not in evidence.columns:
            raise SchemaError(
                f"The evidence has no column '{name}'. It needs source, failure_id, failure_class and why;"
                " dlq.related makes such a frame."
            )
    wrong = set(evidence["failure_class"].astype(str)) - set(CLASSES)
    if wrong:
        raise SchemaError(
            f"The evidence says '{min(wrong)}', which is no failure class. {did_you_mean(min(wrong), CLASSES)}"
        )
    told = pd.DataFrame(
        {
            name: evidence[name].astype("str")
            for name in ("source", "failure_id", "failure_class", "why")
        }
    )
    told["rank"] = told["failure_class"].map(_SAFEST)
    told = told.sort_values(["rank", "why"]).drop_duplicates(["source", "failure_id"])
    place = pd.MultiIndex.from_frame(told[["source", "failure_id"]])
    rows = pd.MultiIndex.from_arrays(
        [failures["source"].astype("str"), failures["failure_id"].astype("str")]
    )
    at = place.get_indexer(rows)
    hit = at >= 0
    pairs, where = pd.factorize(codes[hit] * len(told) + at[hit])
    classes, whys = told["failure_class"].to_list(), told["why"].to_list()
    more: list[Verdict] = []
    for pair in where:
        text, said = verdicts[pair // len(told)], int(pair % len(told))
        by = f" by rule {text[1]}" if text[1] else ""
        tail = f" (the text said {text[0]}{by})" if text[0] != classes[said] else ""
        more.append((classes[said], "evidence", f"{whys[said][: _WHY - len(tail)]}{tail}", "high"))
    codes = codes.copy()
    codes[hit] = pairs + len(verdicts)
    return codes, verdicts + more


def _columns(codes: Codes, verdicts: list[Verdict], index: pd.Index) -> dict[str, pd.Series]:
    fixed = {"failure_class": CLASSES, "confidence": list(CONFIDENCES)}
    columns = {}
    used = np.zeros(len(verdicts), dtype=bool)
    used[codes] = True
    for number, name in enumerate(ADDED):
        values = [verdict[number] if used[at] else None for at, verdict in enumerate(verdicts)]
        names = fixed.get(name) or sorted({value for value in values if value is not None})
        numbers = {value: at for at, value in enumerate(names)}
        places = np.array([numbers.get(value, -1) for value in values], dtype=np.int32)
        kept = places[codes] if len(places) else np.zeros(0, dtype=np.int32)
        dtype = pd.CategoricalDtype(pd.Index(names, dtype="str"), ordered=name == "confidence")
        columns[name] = pd.Series(pd.Categorical.from_codes(kept, dtype=dtype), index=index)
    return columns


def coverage(failures: pd.DataFrame) -> pd.DataFrame:
    """failure_class, rule, failures, share: which rules decided how much, the unknown included; largest first.

    Rule is empty where none matched. Shares are parts of 1, and add up to it.
    """
    need(failures, "failure_class")
    keys = failures[["failure_class", "rule"]]
    many = failures["count"] if "count" in failures.columns else 1  # of a row of dlq.summary
    table = keys.assign(failures=many).groupby(["failure_class", "rule"], observed=True)
    table = table["failures"].sum().reset_index()
    table["share"] = table["failures"] / max(1, int(table["failures"].sum()))
    if not len(table):
        table.attrs = {"empty": "There is no failure to judge."}
    return table.sort_values(
        ["failure_class", "failures", "rule"], ascending=[True, False, True], ignore_index=True
    )


def related(failures: pd.DataFrame, field: str, existing: Iterable[Any]) -> pd.DataFrame:
    """Evidence from a look-up: the failures whose `field` (a dotted path in kwargs, or a place in args such as
    `0`) names a record that is not among `existing`, as data. Columns source, failure_id, failure_class, why.

    Failures without the field, and those whose payload cannot be read, give no evidence.
    """
    there = {value if isinstance(value, str) else scalar(_native(value)) for value in existing}
    column = "args" if field.split(".")[0].isdigit() else "kwargs"
    codes, values = parsed(failures[column])
    found = [None if value is UNREADABLE else lookup(value, field) for value in values]
    gone = np.array([one is not None and one not in there for one in found], dtype=bool)
    rows = np.flatnonzero(gone[codes]) if len(codes) else np.zeros(0, dtype=np.int64)
    whys = [
        f"{field} {one[:80]} does not exist any more" if one is not None else "" for one in found
    ]
    return pd.DataFrame(
        {
            "source": failures["source"].iloc[rows].astype("str").to_numpy(),
            "failure_id": failures["failure_id"].iloc[rows].to_numpy(),
            "failure_class": "data",
            "why": [whys[code] for code in codes[rows]],
        },
        columns=["source", "failure_id", "failure_class", "why"],
    ).astype("str")


def _native(value: Any) -> Any:
    return (
        value.item()
        if isinstance(value, np.generic)
        else value
        if isinstance(value, int | float | bool | None)
        else str(value)
    )
