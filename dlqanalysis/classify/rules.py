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

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import re2

from dlqanalysis.classify.book import Book, Condition, Match, Rule, options
from dlqanalysis.errors import RulebookError, SettingsError, did_you_mean
from dlqanalysis.model import FailureClass, duration
from dlqanalysis.profile import blocks_of, read_text, rulebook_path, tables_of
from dlqanalysis.signals import KINDS, signals

CONFIDENCES = ("high", "medium", "low")
CONDITIONS = ("exception", "message", "task", "payload_state", *KINDS)
_ABOUT = ("name", "class", "why", "confidence", "retry_after", "examples", "when", "any", "unless")
_EXAMPLE = ("exception", "message", "traceback", "task", "payload_state")
_BUILTIN = Path(__file__).with_name("rulebook.toml")
_HEADER = re.compile(r"\s*\[\[\s*rule\s*\]\]")


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
    what = f"Rulebook {path}"
    data = tables_of(text, what, RulebookError)
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines, 1) if _HEADER.match(line)]
    if extra := sorted(set(data) - {"rule"}):
        raise RulebookError(f"{what}: '{extra[0]}' is unknown. Write rules as [[rule]] blocks.")
    rules: list[Rule] = []
    for number, block in enumerate(blocks_of(data, "rule", what, RulebookError)):
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
    if block.get("class") == "":  # a stub that nobody finished
        raise refuse(
            "class", "the rule's class is still to be chosen. Write transient, permanent or data."
        )
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
    own = path == str(_BUILTIN)  # the book itself compiles them, and ours compile
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
        when=tuple(_condition(table, refuse, own) for table in when),
        unless=tuple(_condition(table, refuse, own) for table in block.get("unless", [])),
        examples=tuple(examples),
        place=f"{path}, line {start}",
    )


def _condition(table: Mapping[str, Any], refuse: Any, own: bool) -> Condition:
    made: dict[str, tuple[str, ...]] = {}
    for key, value in table.items():
        if key not in CONDITIONS:
            raise refuse(key, f"'{key}' is no condition. {did_you_mean(key, CONDITIONS)}")
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(one) in (str, int) for one in values):  # true is an int, too
            raise refuse(key, f"{key} is neither a text nor a list of texts.")
        made[key] = tuple(str(one) for one in values)
        if key == "message" and not own:
            for pattern in made[key]:
                try:
                    re2.compile(f"(?i){pattern}", options())
                except re2.error as error:
                    said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                    raise refuse(
                        key, f"the pattern '{pattern}' is no RE2 pattern ({said})."
                    ) from None
        if "" in made[key]:
            raise refuse(key, f"{key} holds an empty text, which would match everything.")
    return made
