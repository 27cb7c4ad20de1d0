"""The rulebook's form, its errors with file and line, its order; every built-in example hits its own rule."""

import pytest

from dlqanalysis.classify.book import Book
from dlqanalysis.classify.rules import CONDITIONS, builtin, example_match, parse, read, rulebook
from dlqanalysis.errors import RulebookError
from dlqanalysis.signals import signals

RULES = builtin()
BOOK = Book(RULES)
EXAMPLES = [(rule, example) for rule in RULES for example in rule.examples]


@pytest.mark.parametrize(
    ("rule", "example"), EXAMPLES, ids=[f"{rule.name}-{n}" for n, (rule, _) in enumerate(EXAMPLES)]
)
def test_each_example_hits_its_own_rule(rule, example):
    match = example_match(BOOK, example)
    assert match is not None
    assert match.rule.name == rule.name, match.evidence


def test_no_rule_is_shadowed_by_those_before_it():
    """A rule without an example of its own could be dead and nobody would notice."""
    assert [rule.name for rule in RULES if not rule.examples] == []


def test_the_built_in_rules_are_told_apart_and_explained():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.why[0].isupper() and not rule.why.endswith(".") for rule in RULES)
    assert {rule.failure_class for rule in RULES} == {"transient", "permanent", "data", "unknown"}


GOOD = """
[[rule]]
name = "ours"
class = "transient"
why = "Ours"
message = ['zorp \\d+']
examples = [{ exception = "X", message = "Zorp 17" }]
"""

WRONG = [
    ("no toml", "[[rule]\n", r"no valid TOML.*line 1"),
    ("unknown key", GOOD + 'mesage = ["x"]\n', r"line 8: 'mesage' is unknown. Did you mean 'message'"),
    ("no why", GOOD.replace('why = "Ours"\n', ""), r"line 2: the rule has no why"),
    ("class", GOOD.replace('"transient"', '"transitory"'), r"line 4: class is 'transitory'. Did you mean 'transient'"),
    ("confidence", GOOD + 'confidence = "sure"\n', r"line 8: confidence is 'sure'"),
    ("retry_after", GOOD + 'retry_after = "soon"\n', r"line 8: retry_after: 'soon' is not a duration"),
    ("pattern", GOOD.replace("zorp", "(zorp"), r"line 6: the pattern '\(zorp .*' is no RE2 pattern \(missing \)"),
    ("look-ahead", GOOD.replace("zorp", "(?=zorp)"), r"line 6: .*is no RE2 pattern"),
    ("condition", GOOD + 'when = [{ http = ["503"] }]\n', r"'http' is no condition. Known: amqp,"),
    ("any", GOOD + 'any.htp_status = ["503"]\n', r"'htp_status' is no condition. Did you mean 'http_status'"),
    ("no condition", '[[rule]]\nname = "a"\nclass = "data"\nwhy = "A"\n', r"line 2: rule 'a' has no condition"),
    ("empty value", GOOD + 'exception = [""]\n', r"exception holds an empty text"),
    ("empty list", GOOD + "exception = []\n", r"exception is neither a text nor a list"),
    ("list of numbers", GOOD + "exception = [[1]]\n", r"exception is neither a text nor a list"),
    ("list of truths", GOOD + "http_status = true\n", r"line 8: http_status is neither a text nor"),
    ("table", '[rule]\nname = "a"\n', r"'rule' is no list of tables"),
    ("no tables", "rule = [5]", r"'rule' is no list of tables"),
    ("too deep", f"a = {'[' * 9999}", r"no valid TOML: brackets stand in each other too deeply"),
    ("stranger", '[[rules]]\nname = "a"\n', r"'rules' is unknown"),
    ("when", GOOD + 'when = { message = ["x"] }\n', r"line 8: when is no list of tables"),
    ("example key", GOOD.replace("exception =", "type ="), r"line 7: an example has 'type'"),
    ("twice", GOOD + GOOD, r"line 9: rule 'ours' stands already at .*line 2"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_rulebook_is_told_with_file_and_line(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RulebookError, match=said) as caught:
        read(path)
    assert "mine.toml" in str(caught.value)


def test_patterns_that_are_too_large_together_are_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + f"any.message = ['{'(a{900}|b)' * 2000}']\n", encoding="utf-8")
    with pytest.raises(RulebookError, match="too large together"):
        read(path)


def test_an_example_that_misses_its_rule_is_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('message = "Zorp 17"', 'message = "Zorp"'), encoding="utf-8")
    with pytest.raises(RulebookError, match="line 2: example 1 of rule 'ours' hits no rule"):
        read(path)


def test_the_user_s_rules_go_first_and_are_read_again_when_they_change(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    monkeypatch.setenv("DLQ_RULEBOOK", str(path))
    zorp = signals("TypeError", "zorp 17")
    assert rulebook().judge(zorp).rule.name == "ours"
    assert "mine.toml, line 2" in rulebook().judge(zorp).rule.place
    path.write_text(GOOD.replace('"ours"', '"theirs"') + "\n# longer\n", encoding="utf-8")
    assert rulebook().judge(zorp).rule.name == "theirs"
    monkeypatch.delenv("DLQ_RULEBOOK")
    assert rulebook().judge(zorp).rule.name == "program-error"


def test_a_missing_rulebook_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("DLQ_RULEBOOK", str(tmp_path / "none.toml"))
    with pytest.raises(Exception, match=r"no rulebook at .*none\.toml"):
        rulebook()


def test_conditions_together_must_hold_and_unless_excludes():
    book = Book(
        parse(
            """
[[rule]]
name = "both"
class = "transient"
why = "Both"
exception = ["Shop*"]
message = ['closed', 'shut']
unless = [{ message = ['for ever'] }]
when = [{ http_status = ["5??"], task = ["emails.*"] }]
""",
            "here",
        )
    )

    def hit(kind, message, task=""):
        return book.judge(signals(kind, message), task) is not None

    assert hit("acme.ShopError", "we are Closed")
    assert not hit("acme.ShopError", "closed for ever")
    assert not hit("acme.StoreError", "closed")
    assert not hit("acme.ShopError", "open")
    assert hit("HTTPError", "503 Server Error", "emails.send")
    assert not hit("HTTPError", "503 Server Error", "memos.send")
    assert not hit("HTTPError", "404 Client Error", "emails.send")


@pytest.mark.parametrize(
    ("condition", "name", "holds"),
    [
        ("Timeout", "requests.exceptions.Timeout", True),
        ("Timeout", "TimeoutError", True),
        ("Timeout", "java.util.concurrent.TimeoutException", True),
        ("Timeout", "ReadTimeout", False),
        ("*Timeout", "Net::ReadTimeout", True),
        ("exceptions.Timeout", "requests.exceptions.Timeout", True),
        ("redis.exceptions.*", "redis.exceptions.DataError", True),
        ("DataError", "MetaDataError", False),
        ("*{Module,Gem}{,s}NotFound", "Bundler::GemsNotFound", True),
        ("*{Module,Gem}NotFound", "OrderNotFound", False),
        ("Map<A,B>", "Map<A,B>", True),
        ("Exception\\ConnectException".replace("\\", "."), "GuzzleHttp\\Exception\\ConnectException", True),
    ],
)  # fmt: skip
def test_an_exception_condition_means_whole_parts_of_a_name(condition, name, holds):
    rule = f'[[rule]]\nname = "r"\nclass = "data"\nwhy = "R"\nexception = ["{condition}"]\n'
    assert (Book(parse(rule, "here")).judge(signals(name, "")) is not None) == holds


def test_conditions_are_documented_kinds():
    assert "http_status" in CONDITIONS and "task" in CONDITIONS
