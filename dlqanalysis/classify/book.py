"""Rules ready to be asked: which of them a failure's signals match, and which of these wins."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2

from dlqanalysis.errors import RulebookError
from dlqanalysis.model import FailureClass
from dlqanalysis.signals import Signals
from dlqanalysis.signals.quote import quote

_EITHER = re.compile(r"\{([^{}]*)\}")
_REMEMBERED = 65_536  #: decisions

Condition = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What one kind of failure means."""

    name: str
    failure_class: FailureClass
    why: str
    confidence: str = "medium"
    retry_after: str | None = None
    when: tuple[Condition, ...] = ()  #: ways to match
    unless: tuple[Condition, ...] = ()
    examples: tuple[Mapping[str, str], ...] = ()
    place: str = ""  #: file and line


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched, and the words it matched on."""

    rule: Rule
    evidence: str
    overruled: "Match | None" = None  #: the first later rule that says another class


@dataclass(frozen=True, slots=True)
class _Way:
    """One condition table: rule number, whether it excludes, and the ids that satisfy each key."""

    rule: int
    excludes: bool
    needs: tuple[frozenset[int], ...]


@dataclass(slots=True)
class _Texts:
    """A set of patterns matched in one pass; position in the set -> condition id."""

    ids: list[int] = field(default_factory=list)
    patterns: list[Any] = field(default_factory=list)
    found: Any = None

    def add(self, id_: int, pattern: str) -> None:
        self.ids.append(id_)
        self.patterns.append(_Pattern(pattern))
        self.found = self.found or re2.Set.SearchSet(options())
        self.found.Add(pattern)

    def match(self, text: str) -> dict[int, Any]:
        hits = (self.found.Match(text) or ()) if self.found else ()
        return {self.ids[n]: self.patterns[n] for n in hits}


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern by itself, compiled when its words are asked for: of thousands few ever are."""

    text: str

    def search(self, text: str) -> Any:
        # letters of one byte each: re2 need not count which letter a byte is
        return _compiled(self.text).search(text.encode() if text.isascii() else text)


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, options())


def options() -> Any:
    """How patterns are compiled: quietly, with room for large sets."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 128 << 20
    return options


class Book:
    """Rules ready to be asked."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._ids: dict[tuple[str, str], int] = {}
        self._messages, self._exceptions = _Texts(), _Texts()
        self._exact: dict[tuple[str, str], int] = {}
        self._names: dict[str, int] = {}  # class conditions without a sign for anything
        self._globs: dict[str, list[tuple[Any, int]]] = {}
        self._by_first: dict[int, list[_Way]] = {}
        self._decided: dict[tuple[Any, ...], list[tuple[int, list[Any]]]] = {}
        for number, rule in enumerate(self.rules):
            for excludes, tables in ((False, rule.when), (True, rule.unless)):
                for table in tables:
                    self._add(number, excludes, table)
        for texts in (self._messages, self._exceptions):
            try:
                if texts.found is not None:
                    texts.found.Compile()
            except re2.error:  # each by itself is small enough
                raise RulebookError(
                    "The patterns of all rules are too large together. Shorten those of DLQ_RULEBOOK that repeat"
                    " much, such as (...){900}."
                ) from None
        self.by_task = any(
            "task" in table for rule in self.rules for table in (*rule.when, *rule.unless)
        )

    def _add(self, number: int, excludes: bool, table: Condition) -> None:
        needs = tuple(
            frozenset(self._id(key, value) for value in values)
            for key, values in sorted(table.items(), key=lambda item: len(item[1]))
        )
        way = _Way(number, excludes, needs)
        for id_ in needs[0]:
            self._by_first.setdefault(id_, []).append(way)

    def _id(self, key: str, value: str) -> int:
        known = self._ids.get((key, value))
        if known is not None:
            return known
        id_ = self._ids[key, value] = len(self._ids)
        if key == "message":
            self._messages.add(id_, f"(?i){value}")
        elif key == "exception" and not any(sign in value for sign in "*?{"):
            self._names[value] = id_
        elif key == "exception":
            self._exceptions.add(id_, _class_pattern(value))
        elif any(sign in value for sign in "*?["):
            self._globs.setdefault(key, []).append((re.compile(fnmatch.translate(value)), id_))
        else:
            self._exact[key, value] = id_
        return id_

    def judge(self, found: Signals, task: str = "", payload_state: str = "") -> Match | None:
        """The first rule that matches, or None. What was being handled counts only where nothing better does."""
        match = self._judge(found, task, payload_state)
        if found.context and (match is None or match.rule.confidence == "low"):
            inner = self._judge(found.context, task, payload_state)
            if inner and (match is None or inner.rule.confidence != "low"):
                return inner
        return match

    def _judge(self, found: Signals, task: str, payload_state: str) -> Match | None:
        said = self._messages.match(found.text)
        if found.codes:  # their evidence stands in the text: each is asked for itself
            decided = self._decide(said, found, task, payload_state)
        else:
            asked = tuple(said), found.types, task, payload_state
            if asked not in self._decided:
                if len(self._decided) == _REMEMBERED:
                    self._decided.clear()
                self._decided[asked] = self._decide(said, found, task, payload_state)
            decided = self._decided[asked]
        if not decided:
            return None
        winner, *others = (
            Match(self.rules[number], quote(reasons, found.text)) for number, reasons in decided
        )
        return Match(winner.rule, winner.evidence, others[0]) if others else winner

    def _decide(
        self, said: Mapping[int, Any], found: Signals, task: str, payload_state: str
    ) -> list[tuple[int, list[Any]]]:
        """The number of the rule that wins and what it matched on; the same of the first later one that says another
        class. Patterns that matched the message are reasons as patterns: the words are looked up in each text."""
        hits = self._hits(said, found, task, payload_state)
        matched: dict[int, list[Any]] = {}
        excluded: set[int] = set()
        for id_ in hits:
            for way in self._by_first.get(id_, ()):
                reasons = []
                for need in way.needs:
                    reason = next((hits[one] for one in need if one in hits), None)
                    if reason is None:
                        break
                    reasons.append(reason)
                else:
                    if way.excludes:
                        excluded.add(way.rule)
                    else:
                        matched.setdefault(way.rule, reasons)
        order = sorted(number for number in matched if number not in excluded)
        if not order:
            return []
        winner = self.rules[order[0]].failure_class
        other = [n for n in order[1:] if self.rules[n].failure_class != winner][:1]
        return [(number, matched[number]) for number in (order[0], *other)]

    def _hits(
        self, said: Mapping[int, Any], found: Signals, task: str, payload_state: str
    ) -> dict[int, Any]:
        """Condition id -> what it matched: text, or the pattern that finds it."""
        hits: dict[int, Any] = dict(said)
        for name in found.types:
            for id_ in self._of_class(name):
                hits.setdefault(id_, name.rpartition(".")[2])
        for kind, values in found.codes.items():
            for code, evidence in values.items():
                self._value(hits, kind, code, evidence)
        if task:
            self._value(hits, "task", task, task)
            self._value(hits, "task", task.rpartition(".")[2], task)
        if payload_state:
            self._value(hits, "payload_state", payload_state, f"payload {payload_state}")
        return hits

    def _value(self, hits: dict[int, Any], key: str, value: str, evidence: str) -> None:
        id_ = self._exact.get((key, value))
        if id_ is not None:
            hits.setdefault(id_, evidence)
        for pattern, id_ in self._globs.get(key, ()):
            if pattern.match(value):
                hits.setdefault(id_, evidence)

    def _of_class(self, name: str) -> tuple[int, ...]:
        return _classes(self, name)


@lru_cache(maxsize=65_536)
def _classes(book: Book, name: str) -> tuple[int, ...]:
    found = book._exceptions.match(name)
    parts = name.split(".")
    for start in range(len(parts)):
        tail = ".".join(parts[start:])
        for one in (tail, tail.removesuffix("Error"), tail.removesuffix("Exception")):
            if one in book._names:
                found[book._names[one]] = None
    return tuple(found)


def _class_pattern(value: str) -> str:
    """A class condition as a pattern: whole parts of the dotted name, Error or Exception may follow."""
    before = "" if value.startswith("*") else r"^(?:.*\.)?"  # what may be anything is not looked at
    after = "" if value.endswith("*") else "(?:Error|Exception)?$"
    parts = [_glob(part) for part in _EITHER.split(value.strip("*"))]
    parts[1::2] = [f"(?:{part.replace(',', '|')})" for part in parts[1::2]]
    return f"{before}{''.join(parts)}{after}"


def _glob(value: str) -> str:
    return "".join(
        ".*" if char == "*" else "." if char == "?" else re.escape(char) for char in value
    )
