"""Which conditions of a rulebook never decide, because an earlier rule takes what they match or nothing matches."""

import re
import re._parser as parser
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from dlqanalysis.classify.book import Book, Rule
from dlqanalysis.signals import Signals, signals

_CLASSES = {
    parser.CATEGORY_DIGIT: "7",
    parser.CATEGORY_WORD: "w",
    parser.CATEGORY_SPACE: " ",
    parser.CATEGORY_NOT_SPACE: "x",
    parser.CATEGORY_NOT_WORD: "/",
    parser.CATEGORY_NOT_DIGIT: "x",
}

_ESCAPES = {
    parser.CATEGORY_DIGIT: r"\d",
    parser.CATEGORY_WORD: r"\w",
    parser.CATEGORY_SPACE: r"\s",
    parser.CATEGORY_NOT_SPACE: r"\S",
    parser.CATEGORY_NOT_WORD: r"\W",
    parser.CATEGORY_NOT_DIGIT: r"\D",
}


def shadowed(rules: Sequence[Rule]) -> list[tuple[str, str, str, str]]:
    """(rule, key, value, the rules that decide instead) for each value that never decides for its own rule.

    A value is tried alone: a class with a message that says nothing, a code with no text, the shortest texts that a pattern finds.
    Values that stand together with others in one condition, and those that only exclude, are not tried.
    """
    book = Book(rules)
    found = []
    for rule in rules:
        for table in rule.when:
            key = next(iter(table))
            if len(table) > 1 or key in ("task", "payload_state"):
                continue
            for value in table[key]:
                others = _deciders(book, rule, key, value)
                if rule.name not in others:
                    found.append((rule.name, key, value, ", ".join(sorted(others))))
    return found


def _deciders(book: Book, rule: Rule, key: str, value: str) -> set[str]:
    """Who decides, until it is the rule itself; empty where nothing does."""
    names: set[str] = set()
    for one in _tries(key, value):
        match = book.judge(one)
        if match is not None:
            names.add(match.rule.name)
        if rule.name in names:
            break
    return names


def _tries(key: str, value: str) -> Iterator[Signals]:
    if key == "exception":
        for name in _either(value):
            for nothing in ("", "zq"):
                yield signals(name.replace("*", "Zq").replace("?", "Z"), nothing)
    elif key == "message":
        for text in texts(value):
            yield Signals((), text, {})
    else:
        code = re.sub(r"\[[^\]]*(.)\]", r"\1", value)
        code = code.replace("*", "9" if value[:1].isdigit() else "Zq").replace("?", "7")
        yield Signals((), "", MappingProxyType({key: {code: code}}))


def _either(value: str) -> list[str]:
    """A class condition with each first choice of its braces."""
    before, brace, rest = value.partition("{")
    if not brace:
        return [value]
    inside, _, after = rest.partition("}")
    return [f"{before}{one}{tail}" for one in inside.split(",") for tail in _either(after)[:1]]


def texts(pattern: str) -> list[str]:
    """Short texts that a pattern finds: one for each of its first choices."""
    return _sequence(parser.parse(pattern.replace("(?i:", "(?:").replace("(?-i:", "(?:")))


def _sequence(tree: Any) -> list[str]:
    made = [""]
    for operator, argument in tree:
        made = [f"{start}{end}" for start in made for end in _one(operator, argument)][:12]
    return made


def _one(operator: Any, argument: Any) -> list[str]:
    if operator is parser.LITERAL:
        return [chr(argument)]
    if operator is parser.ANY:
        return [" "]
    if operator is parser.IN:
        return [_member(argument)]
    if operator is parser.BRANCH:
        return [text for choice in argument[1] for text in _sequence(choice)[:2]]
    if operator is parser.SUBPATTERN:
        return _sequence(argument[3])
    if operator in (parser.MAX_REPEAT, parser.MIN_REPEAT):
        gap = argument[1] == parser.MAXREPEAT or argument[2][0][0] is parser.ANY
        least = max(argument[0], 1) if gap else argument[0]
        return [text * least for text in _sequence(argument[2])] if least else [""]
    return [""]


def _member(choices: Any) -> str:
    if choices[0][0] is parser.NEGATE:
        return next(sign for sign in "z /7" if not any(_has(one, sign) for one in choices[1:]))
    operator, argument = choices[0]
    if operator is parser.LITERAL:
        return chr(argument)
    return chr(argument[0]) if operator is parser.RANGE else _CLASSES[argument]


def _has(choice: Any, sign: str) -> bool:
    operator, argument = choice
    if operator is parser.LITERAL:
        return ord(sign) == argument
    if operator is parser.RANGE:
        return bool(argument[0] <= ord(sign) <= argument[1])
    return re.match(_ESCAPES[argument], sign) is not None
