"""Rulebooks: ordered rules from TOML, the user's before the built-in ones; the first that matches decides.

```toml
[[rule]]
name = "mail-provider-busy"
class = "transient"                       # transient, permanent, data or unknown
why = "The mail provider asks us to come back later"
confidence = "high"                       # high, medium (default) or low
retry_after = "10m"                       # optional
exception = ["SMTPServerBusy"]            # a class of the chain; * stands for anything, {A,B} for either; Error/Exception may follow
message = ['mailbox .* is busy']          # RE2, case-insensitive, anywhere in the chain's messages
smtp = ["4.2.*"]                          # and any kind of code that signals finds: http_status, sqlstate, errno, ...
any.http_status = ["429"]                 # each kind under `any` is enough by itself
when = [{ http_status = ["503"], task = ["emails.*"] }]   # more ways to match
unless = [{ message = ["account closed"] }]
examples = [{ exception = "SMTPServerBusy", message = "421 4.2.1 mailbox a@example.org is busy" }]
```

Conditions that stand together must all hold; of a list's values one is enough; each table in `when` is another way.
"""

import fnmatch
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import re2

from dlqanalysis.errors import RulebookError, SettingsError, did_you_mean
from dlqanalysis.model import FailureClass, duration
from dlqanalysis.profile import read_text, rulebook_path
from dlqanalysis.signals import KINDS, Signals, signals

CONFIDENCES = ("high", "medium", "low")
CONDITIONS = ("exception", "message", "task", "payload_state", *KINDS)
_ABOUT = ("name", "class", "why", "confidence", "retry_after", "examples", "when", "any", "unless")
_EXAMPLE = ("exception", "message", "traceback", "task", "payload_state")
_BUILTIN = Path(__file__).with_name("rulebook.toml")
_HEADER = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_EITHER = re.compile(r"\{([^{}]*)\}")

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
        self.found = self.found or re2.Set.SearchSet(_options())
        self.found.Add(pattern)

    def match(self, text: str) -> dict[int, Any]:
        hits = (self.found.Match(text) or ()) if self.found else ()
        return {self.ids[n]: self.patterns[n] for n in hits}


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern by itself, compiled when its words are asked for: of thousands few ever are."""

    text: str

    def search(self, text: str) -> Any:
        return _compiled(self.text).search(text)


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, _options())


def _options() -> Any:
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
        self._globs: dict[str, list[tuple[Any, int]]] = {}
        self._ways: list[_Way] = []
        self._by_first: dict[int, list[_Way]] = {}
        for number, rule in enumerate(self.rules):
            for excludes, tables in ((False, rule.when), (True, rule.unless)):
                for table in tables:
                    self._add(number, excludes, table)
        for texts in (self._messages, self._exceptions):
            if texts.found is not None:
                texts.found.Compile()
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
        hits = self._hits(found, task, payload_state)
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
            return None
        winner = self.rules[order[0]]
        other = next(
            (n for n in order[1:] if self.rules[n].failure_class != winner.failure_class), None
        )
        overruled = None
        if other is not None:
            overruled = Match(self.rules[other], _quote(matched[other], found))
        return Match(winner, _quote(matched[order[0]], found), overruled)

    def _hits(self, found: Signals, task: str, payload_state: str) -> dict[int, Any]:
        """Condition id -> what it matched: text, or the pattern that finds it."""
        hits: dict[int, Any] = dict(self._messages.match(found.text))
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
    return tuple(book._exceptions.match(name))


def _class_pattern(value: str) -> str:
    """A class condition as a pattern: whole parts of the dotted name, Error or Exception may follow."""
    parts = [_glob(part) for part in _EITHER.split(value)]
    parts[1::2] = [f"(?:{part.replace(',', '|')})" for part in parts[1::2]]
    return rf"^(?:.*\.)?{''.join(parts)}(?:Error|Exception)?$"


def _glob(value: str) -> str:
    return "".join(
        ".*" if char == "*" else "." if char == "?" else re.escape(char) for char in value
    )


def _quote(reasons: Sequence[Any], found: Signals) -> str:
    """The words a rule matched on, in one line."""
    words: list[str] = []
    for reason in reasons:
        if not isinstance(reason, str):
            match = reason.search(found.text)
            reason = " ".join(match[0].split()) if match else ""
        if reason and not any(reason in word for word in words):
            words.append(reason if len(reason) <= 70 else f"{reason[:67]}...")
    return ", ".join(words[:2])


def builtin() -> tuple[Rule, ...]:
    """The rules that come with the kit, in order."""
    return _read(str(_BUILTIN), 0)


def rulebook() -> Book:
    """The rules in force: those of DLQ_RULEBOOK first, then the built-in ones."""
    path = rulebook_path()
    return _book(path, _changed(path))


def read(path: str | Path) -> tuple[Rule, ...]:
    """The rules of a file, checked: form, patterns, and that each example hits its own rule."""
    rules = _read(str(path), _changed(str(path)))
    _check_examples(rules)
    return rules


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _book(path: str, changed: int) -> Book:
    own = _read(path, changed) if path else ()
    if own:
        _check_examples(own)
    return Book((*own, *builtin()))


def _check_examples(rules: Sequence[Rule]) -> None:
    book = Book(rules)
    for rule in rules:
        for number, example in enumerate(rule.examples, 1):
            match = example_match(book, example)
            if match is None or match.rule.name != rule.name:
                hit = f"hits '{match.rule.name}' ({match.rule.place})" if match else "hits no rule"
                raise RulebookError(
                    f"{rule.place}: example {number} of rule '{rule.name}' {hit}. Mend its conditions, or move it up."
                )


def example_match(book: Book, example: Mapping[str, str]) -> Match | None:
    """What a book says to an example."""
    found = signals(example.get("exception"), example.get("message"), example.get("traceback"))
    return book.judge(found, example.get("task", ""), example.get("payload_state", ""))


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> tuple[Rule, ...]:
    return parse(read_text(Path(path), "rulebook"), path)


def parse(text: str, path: str) -> tuple[Rule, ...]:
    """The rules of a rulebook's text; `path` is what errors call it."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulebookError(f"Rulebook {path} is no valid TOML: {error}. Mend that line.") from None
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines, 1) if _HEADER.match(line)]
    if extra := sorted(set(data) - {"rule"}):
        raise RulebookError(
            f"Rulebook {path}: '{extra[0]}' is unknown. Write rules as [[rule]] blocks."
        )
    blocks = data.get("rule", [])
    if not isinstance(blocks, list):
        raise RulebookError(
            f"Rulebook {path}: [rule] is one table. Write rules as [[rule]] blocks."
        )
    rules: list[Rule] = []
    for number, block in enumerate(blocks):
        start = starts[number] if number < len(starts) else 1
        end = starts[number + 1] if number + 1 < len(starts) else len(lines) + 1
        rules.append(_rule(block, path, start, lines[start - 1 : end - 1]))
    seen: dict[str, Rule] = {}
    for rule in rules:
        if rule.name in seen:
            raise RulebookError(
                f"{rule.place}: rule '{rule.name}' stands already at {seen[rule.name].place}. Give it another name."
            )
        seen[rule.name] = rule
    return tuple(rules)


def _rule(block: Mapping[str, Any], path: str, start: int, lines: Sequence[str]) -> Rule:
    def refuse(key: str, what: str) -> RulebookError:
        at = next(
            (
                n
                for n, line in enumerate(lines)
                if re.match(rf"\s*(?:any\.)?{re.escape(key)}\s*[.=]", line)
            ),
            0,
        )
        return RulebookError(f"{path}, line {start + at}: {what}")

    for key in block:
        if key not in _ABOUT and key not in CONDITIONS:
            raise refuse(key, f"'{key}' is unknown. {did_you_mean(key, (*_ABOUT, *CONDITIONS))}")
    for key in ("name", "class", "why"):
        if not isinstance(block.get(key), str) or not block[key].strip():
            raise refuse(key, f'the rule has no {key}. Add {key} = "...".')
    if block["class"] not in list(FailureClass):
        raise refuse(
            "class", f"class is '{block['class']}'. {did_you_mean(block['class'], FailureClass)}"
        )
    confidence = block.get("confidence", "medium")
    if confidence not in CONFIDENCES:
        raise refuse(
            "confidence",
            f"confidence is '{confidence}'. {did_you_mean(str(confidence), CONFIDENCES)}",
        )
    retry_after = block.get("retry_after")
    if retry_after is not None:
        try:
            duration(str(retry_after))
        except SettingsError as error:
            raise refuse("retry_after", f"retry_after: {error}") from None
    direct = {key: value for key, value in block.items() if key in CONDITIONS}
    when = [direct] if direct else []
    for key in ("when", "unless", "examples"):
        value = block.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) and one for one in value):
            raise refuse(key, f"{key} is no list of tables. Write {key} = [{{ ... }}].")
    when += block.get("when", [])
    alone = block.get("any", {})
    if not isinstance(alone, dict):
        raise refuse("any", 'any is no table. Write any.message = ["..."].')
    when += [{key: value} for key, value in alone.items()]
    if not when:
        raise refuse(
            "name", f"rule '{block['name']}' has no condition. Add one of: {', '.join(CONDITIONS)}."
        )
    examples = block.get("examples", [])
    for example in examples:
        for key, value in example.items():
            if key not in _EXAMPLE or not isinstance(value, str):
                raise refuse(
                    "examples",
                    f"an example has '{key}'. It may have, as text: {', '.join(_EXAMPLE)}.",
                )
    return Rule(
        name=block["name"],
        failure_class=FailureClass(block["class"]),
        why=block["why"],
        confidence=confidence,
        retry_after=str(retry_after) if retry_after is not None else None,
        when=tuple(_condition(table, refuse) for table in when),
        unless=tuple(_condition(table, refuse) for table in block.get("unless", [])),
        examples=tuple(examples),
        place=f"{path}, line {start}",
    )


def _condition(table: Mapping[str, Any], refuse: Any) -> Condition:
    made: dict[str, tuple[str, ...]] = {}
    for key, value in table.items():
        if key not in CONDITIONS:
            raise refuse(key, f"'{key}' is no condition. {did_you_mean(key, CONDITIONS)}")
        values = [value] if isinstance(value, str | int) else value
        if (
            not isinstance(values, list)
            or not values
            or not all(isinstance(one, str | int) for one in values)
        ):
            raise refuse(key, f"{key} is neither a text nor a list of texts.")
        made[key] = tuple(str(one) for one in values)
        if key == "message":
            for pattern in made[key]:
                try:
                    re2.compile(f"(?i){pattern}", _options())
                except re2.error as error:
                    said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                    raise refuse(
                        key, f"the pattern '{pattern}' is no RE2 pattern ({said})."
                    ) from None
        if "" in made[key]:
            raise refuse(key, f"{key} holds an empty text, which would match everything.")
    return made
