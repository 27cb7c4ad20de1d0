"""What no rule could judge: the largest groups of it, and a rule to start from for each."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import re2

from dlqanalysis.classify.book import Book
from dlqanalysis.classify.rules import example_match, parse
from dlqanalysis.errors import SchemaError, need
from dlqanalysis.fingerprint import fingerprint, skeletons
from dlqanalysis.model import FailureClass
from dlqanalysis.redact import redact
from dlqanalysis.signals import signals

_KEPT, _MASK = re.compile("\x01[0-9]"), re.compile("[\x01-\x08\x0e-\x1f]+")
_HOLE = "\x01"  # stands for a value until the pattern is written
_LONGEST = 120  # characters of a message that a pattern keeps
_SIGNS = re.compile(r"[.^$*+?{}\[\]\\|()]")
_CHOOSE = 'class = ""  # choose: transient (may be replayed as it is), permanent, data'


def readable(skeleton: str) -> str:
    """A skeleton as text that rules can read: codes as they were, a 0 for each value."""
    return _MASK.sub("0", _KEPT.sub("", skeleton))


def unknown_groups(failures: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """The n largest groups that nothing explains: exception_type, template, failures, share (of all failures),
    tasks, first, last, sample; one row a group, ready for `rule_stub`.
    """
    need(failures, "failure_class")
    left = failures.loc[failures["failure_class"] == "unknown"]
    left = left if "template" in left.columns else fingerprint(left)
    keys = left[["exception_type", "template"]].astype("str").fillna("")
    many = failures["count"] if "count" in failures.columns else pd.Series(1, failures.index)
    grouped = left.assign(
        exception_type=keys["exception_type"], template=keys["template"], many=many[left.index]
    ).groupby(["exception_type", "template"], sort=False)
    table = grouped.agg(
        failures=("many", "sum"),
        tasks=("task_name", "nunique"),
        first=("failed_at", "min"),
        last=("failed_at", "max"),
        task_name=("task_name", "first"),
        sample=("exception_message", "first"),
    ).reset_index()
    table.insert(3, "share", table["failures"] / max(1, int(many.sum())))
    table = table.sort_values(
        ["failures", "exception_type", "template"], ascending=[False, True, True], ignore_index=True
    ).head(n)
    table.attrs = {"empty": "No group is unknown: a rule has judged every failure."}
    return table


def rule_stub(group: "Mapping[str, Any] | pd.Series | pd.DataFrame") -> str:
    """A rule for a group as TOML text, ready to go into the file that DLQ_RULEBOOK names once you chose its class.

    The class is empty, which no rulebook takes: nobody keeps what nobody chose. Its example is redacted.
    """
    if isinstance(group, pd.DataFrame):
        if len(group) != 1:
            raise SchemaError(
                f"A stub is for one group, and these are {len(group)}. Take one: groups.iloc[0]; or dlq.rule_stubs"
                " for all."
            )
        group = group.iloc[0]
    return _stub([group], _name(_text(group.get("exception_type")), _text(group.get("sample"))))


def rule_stubs(groups: pd.DataFrame) -> str:
    """Rules for groups of `unknown_groups` as one TOML text: one for those that differ in a number only, each with a
    name of its own, each class to be chosen."""
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for group in groups.to_dict("records"):
        kind, message = _text(group.get("exception_type")), _text(group.get("sample"))
        task = "" if kind and message.strip() else _text(group.get("task_name"))
        alike.setdefault((kind, re.sub(r"\d+", "0", _masked(message)), task), []).append(group)
    stubs, seen = [], Counter[str]()
    for (kind, _, _), same in alike.items():
        name = _name(kind, _text(same[0].get("sample")))
        seen[name] += 1
        stubs.append(_stub(same, name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return "\n".join(stubs) or "# No rule is wanted: no group is unknown."


def _stub(groups: Sequence[Any], name: str) -> str:
    """One rule for groups that differ in a number only."""
    condition: dict[str, list[str]] = {}
    examples = []
    for group in groups:
        kind, message = _text(group.get("exception_type")), _text(group.get("sample"))
        task = _text(group.get("task_name"))
        wanted: dict[str, str] = {}
        if kind:
            wanted["exception"] = _one_line(kind)
        # A silent failure's rule is for the silent ones of its class and task, never for the whole class.
        pattern = _pattern(kind, message) or (r"^\s*$" if not message.strip() else "")
        if pattern:
            wanted["message"] = pattern
        if not kind or not message.strip():
            wanted["task"] = _one_line(task) or "*"
        for key, value in wanted.items():
            if value not in condition.setdefault(key, []):
                condition[key].append(value)
        example = {"exception": kind, "message": redact(_masked(message))[:300], "task": task}
        examples.append(
            {
                key: value
                for key, value in example.items()
                if value and (key != "task" or "task" in wanted)
            }
        )
    lines = [
        "[[rule]]",
        f"name = {_toml(name)}",
        _CHOOSE,
        'why = "Say in a sentence what happened"',
        'confidence = "medium"',
        *(f"{key} = [{', '.join(map(_toml, values))}]" for key, values in condition.items()),
    ]
    judged = "\n".join(lines).replace(_CHOOSE, f'class = "{FailureClass.PERMANENT}"', 1)
    book = Book(parse(judged, "stub"))
    told = list(dict.fromkeys(
        "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in example.items()) + " }"
        for example in examples
        if example and example_match(book, example)
    ))  # fmt: skip
    return "\n".join([*lines, *([f"examples = [{', '.join(told)}]"] if told else [])]) + "\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _masked(message: str) -> str:
    return readable(skeletons(pa.array([message], pa.string()))[0].as_py() or "")


def _one_line(text: str) -> str:
    """A class or task name as a condition: signs that mean something in a condition become ?."""
    return re.sub(r"[\[\]{}\s]", "?", text)


def _pattern(kind: str, message: str) -> str:
    """The first line that rules see of a message, values left open, as an RE2 pattern."""
    if not message:
        return ""
    skeleton = skeletons(pa.array([message], pa.string()))[0].as_py() or ""
    seen = signals(kind, readable(skeleton)).text
    masked = _MASK.sub(_HOLE, _KEPT.sub("", skeleton))
    for line in masked.split("\n"):
        parts = [_SIGNS.sub(r"\\\g<0>", part) for part in line.strip()[:_LONGEST].split(_HOLE)]
        pattern = ".*".join(parts)
        if sum(len(part.strip()) for part in parts) < 4:  # too little to look for anywhere
            pattern = f"^{pattern.replace('.*', '0')}"
        pattern = pattern.removeprefix(".*").removesuffix(".*")
        if line.strip() and re2.compile(f"(?i){pattern}").search(seen):
            return pattern
    return ""


def _name(kind: str, message: str) -> str:
    last = re.split(r"[.:\\]", kind)[-1]
    words = re.findall(r"[A-Za-z]+", f"{last} {_masked(message)[:80]}")
    if len(words) < 3:  # too little to be the only one of its name
        words.append(
            hashlib.sha256(f"{kind}\x1f{message}".encode("utf-8", "replace")).hexdigest()[:6]
        )
    return "-".join(word.lower() for word in words[:6])[:60]


def _toml(text: str) -> str:
    """A TOML string: bare quotes where that reads better."""
    if "'" not in text and text.isprintable():
        return f"'{text}'" if "\\" in text or '"' in text else f'"{text}"'
    return json.dumps(text).replace("\x7f", "\\u007f")
