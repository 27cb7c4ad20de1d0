"""Finds codes in the text of a failure: each kind by the ways in which libraries write it."""

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

import re2

from dlqanalysis.signals.chain import Chain, found_in
from dlqanalysis.signals.postgres import SQLSTATE_CLASSES
from dlqanalysis.signals.tables import (
    ERRNO,
    ERRNO_CLASSES,
    ERRNO_NAMES,
    GRPC_SPELLINGS,
    REASONS,
    SIGNALS,
    STATUS_CLASSES,
    WINERROR,
)

KINDS = (
    "http_status", "sqlstate", "mysql", "oracle", "mssql", "prisma", "errno", "grpc", "smtp", "amqp", "curl",
    "exit_code", "exit_signal", "twilio", "code",
)  # fmt: skip

_REASON = "|".join(phrase.replace(" ", "[ _-]?") for many in REASONS.values() for phrase in many)
_STATUS = {phrase: status for status, many in REASONS.items() for phrase in many}
_4XX = r"([45]\d\d)"
_QUOTES = r"""["'\\`]*"""

# (kind, pattern). The first group is the code; a second one is the word behind it.
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("http_status", r"(?i)\b([1-5]\d\d) (?:client|server) error\b"),
    ("http_status", r"(?i)\btoo many ([45]\d\d) error responses"),
    ("http_status", r"(?i)\bindicate success: ([45]\d\d)\b"),
    ("http_status", r"An error occurred \(([45]\d\d)\) when calling"),
    ("http_status", r"\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) \S+:? ([45]\d\d)\b"),
    (
        "http_status",
        r"(?i)\bhttps?(?:/\d(?:\.\d)?)?(?:[ _-]?(?:error|status|response|request|code|returned|failed|status line))*"
        rf"{_QUOTES}[ :=(#\[-]{{0,4}}{_QUOTES}([1-5]\d\d)\b",
    ),
    (
        "http_status",
        rf"(?i)\bstatus(?:[ _-]?code)?{_QUOTES}\s*(?:is|was|of|to|from server|received|returned)?\s*(?:[:=,(]|=>)?\s*[\"'(\[`]*{_4XX}\b",
    ),
    ("http_status", r"""(?i)["']code["']\s*(?::|=>)\s*["']?([45]\d\d)\b"""),
    ("http_status", r"(?i)\((\d{3})\)\s*Reason:"),
    ("http_status", rf"(?i)\bin an? {_QUOTES}0 ({_REASON})\b"),  # masked: the phrase still tells it
    ("http_status?", rf"(?i)\b(?:response|error|http|return|server|result)[ _-]?code{_QUOTES}\s*(?:is|was|of|:|=>?|\()?\s*[\"'(`]*{_4XX}\b"),
    ("http_status?", rf"(?i)\bcode\s*(?:is|was|:|=)?\s*[\"'`]?{_4XX}\b"),
    ("http_status?", rf"(?i)\b{_4XX}{_QUOTES}[\s:)\]_,|-]{{0,4}}[\"'(`]*(?:{_REASON})\b"),
    ("http_status?", rf"(?i)\b(?:{_REASON})[\"'`]*[\s\[(:,-]{{1,3}}{_4XX}\b"),
    (
        "http_status?",
        r"(?i)\b(?:returned|returns|respon[ds]e?d?|responded|response|received|got|get|answered|replied|failed|failure|error|status|http|api|server|upstream|gateway|unexpected)"
        r"(?: (?:with|by|was|is|from server))?(?:[:=]|\s)\s*(?:an? )?(?:(?:http|unexpected|error|status|response|server|code)[ :]+){0,2}[(\[\"'`<]*([45]\d\d)\b[)\]\"'`>]*\s*([a-z]*)",
    ),
    ("http_status?", r"(?i)(?:^|(?:Error|Exception|Failure)(?::|\()\s*)[\[(<\"']*([45]\d\d)[\])>\"']*(?:\s*$|[ :,|-]+\s*([a-z]*))"),
    ("sqlstate", r"""(?i)\bSQL[ _-]?STATE(?: value)?["']*[\s:=]*[\[("']*([0-9A-Z]{5})\b"""),
    ("sqlstate", r"""\bpgcode["']?\s*[:=]\s*["']?([0-9A-Z]{5})\b"""),
    ("sqlstate", r"""\bcode["'`]?\s*[:=]\s*["'`]([0-9][0-9A-Z]{4}|P0001|XX00\d|F0\d{3})["'`]"""),
    ("sqlstate", r"(?i)\berror:? \d{4} \(([0-9A-Z]{5})\)"),
    ("sqlstate", r"^\d{1,6} \(([0-9A-Z]{5})\)"),  # MySQL, Snowflake
    ("sqlstate", r"\bERROR:? ([0-9][0-9A-Z]{4}) \("),
    ("sqlstate", r"PostgresException(?: \(0x[0-9A-Fa-f]+\))?: ([0-9A-Z]{5}):"),
    ("sqlstate", r"^(?:ERROR: +)?([0-9][0-9A-Z]{4}): "),
    ("sqlstate", r"""\('([0-9A-Z]{5})', ["']"""),
    ("sqlstate", r"\bSQLSTATE ?([0-9A-Z]{5})\b"),
    ("mysql", r"""\((\d{4}), ?u?["']"""),
    ("mysql", r"(?i)\berror:? ?(\d{4}) ?(?:\(|: )"),
    ("mysql", r"^(\d{4}) \([0-9A-Z]{5}\)"),
    ("mysql", r"SQLSTATE\[\w+\](?:: [\w /]+:)?:? ?\[?(\d{4})\b"),
    ("mysql", r"""(?i)\b(?:errno|error code|errcode)["']?[ :=]+\[?(\d{4})\b"""),
    ("oracle", r"\b(ORA-\d{5}|DPY-\d{4}|DPI-\d{4}|TNS-\d{5}|OCI-\d{5})\b"),
    ("mssql", r"(?i)\bMsg (\d+), Level"),
    ("mssql", r"(?i)\bError Number: ?(-?\d+)"),
    ("mssql", r"(?is)\[SQL Server\].{0,600}?\((\d+)\) \(SQL"),
    ("mssql", r"(?i)SQL ?Server[^\n]{0,80}\berror:? (\d{3,5})\b"),
    ("prisma", r"\b(P[1256]\d{3})\b"),
    ("errno", r"\[Errno (-?\d+)\]"),
    ("errno", r"\[([Ww]in[Ee]rror -?\d+)\]"),
    ("errno", r"\bError (-?\d+) (?:connecting to|while (?:reading|writing))"),
    ("errno", r"(?i)\berrno[\"']?[ :=]+(-?\d{1,5})\b"),
    ("errno", r"\(os error (\d+)\)"),
    ("errno", r"socket(?:\.\w+)?: \(?(\d{1,5}), ['\"]"),
    ("errno", r"\b(E[A-Z0-9]{3,14}|EAI_[A-Z]+)\b"),
    ("grpc", r"(?i)\bStatusCode(?:\.|=\"?| ?: ?)\s*([A-Z_]+)"),
    ("grpc", r"(?i)\bcode ?= ?([A-Z_]+),? desc"),
    ("grpc", r"(?i)rpc error:? \(?([A-Z_]+)"),
    ("grpc", r"\bStatus(?:Runtime)?Exception: ([A-Z_]+)\b"),
    ("grpc", r"\b\d{1,2} ([A-Z]{3,16}(?:_[A-Z]+){0,2}): "),
    ("grpc", r"\bstatus: ([A-Z][A-Za-z]+), message: "),
    ("grpc?", r"^([A-Z]{3,16}(?:_[A-Z]+){0,2})(?:: |\n|$)"),
    ("grpc", r"""["']status["']\s*:\s*["']([A-Z]{5,16}(?:_[A-Z]+)?)["']"""),
    ("smtp", r"\b([245]\d\d)[ -]#?[245]\.\d{1,3}\.\d{1,3}\b"),
    ("smtp", r"\b([245]\.\d{1,3}\.\d{1,3})\b(?:[^.\d]|$)"),
    ("smtp?", r"\((\d{3}), b?u?['\"]"),
    ("smtp?", r"(?i)(?:code|got|response|responseCode|replied|said)[^\d\n]{1,12}([245]\d\d)\b"),
    ("smtp?", r"(?:^|[:(\s])([45]\d\d)(?:[ -]|$)"),
    ("amqp", r"""\b(?:reply-code=|Code=|code: ?|\()(\d{3}),? ?(?:reply-text=|Text=|text: ?)?["']?[A-Z]+_"""),
    ("amqp", r"""\bException \(?(\d{3})\)? Reason"""),
    ("amqp", r"\b(\d{3})[ ()]*[A-Z]+[_-][A-Z_]+[) ]* - "),
    ("curl", r"(?i)\bcurl(?: error)?:? \(?(\d{1,2})\b"),
    ("curl", r"(?i)pycurl\.error: \((\d+),"),
    ("exit_code", r"(?i)\b(?:exit(?:ed)?|return(?:ed|s)?(?: a)?(?: non-?zero)?(?: exit)? (?:code|status))(?:[ -]?(?:status|code|with|non-?zero|the|a|of|unexpected|was|is|an error|error))*[ :=(]{1,3}(-?\d{1,3})\b"),
    ("exit_code", r"(?i)\b(?:exitcode|returncode|exit_code|rc)[\"' :=(]{1,4}(-?\d{1,3})\b"),
    ("exit_code", r"(?i)\bwaitpid returned (\d{1,5})\b"),
    ("exit_signal", r"\b(SIG(?:KILL|TERM|SEGV|ABRT|BUS|INT|HUP|ILL|FPE|QUIT|PIPE|XCPU|ALRM))\b"),
    ("exit_signal", r"""(?i)\bsignal[: ]+["']?(\d{1,2})\b"""),
    ("exit_signal", r"(?i)\bsignal: (killed|terminated|segmentation fault|aborted|interrupt|hangup)"),
    ("twilio", r"^\[HTTP \d{3}\] (\d{5})\b"),
    ("twilio", r"(?is)\btwilio\b.{0,300}?\b(?:errors?/|code[\"']?[ :=]{1,3})[\"']?(\d{5})\b"),
    ("twilio", r"(?i)\| (\d{5})$"),
    ("code", r"An error occurred \(([\w.]+)\)"),
    ("code", r"(?i)\bapi error ([A-Za-z][\w.]+):"),
    ("code", r"""(?i)\berror[ _-]?code["']?\s*[:=]\s*["'`]?([A-Za-z][\w.-]+)"""),
    ("code", r"""(?i)\bcode["']?\s*(?:[:=]|=>)\s*["'`]([A-Za-z][\w./-]{2,60})["'`]"""),
    ("code", r"""["'](?:error|type|reason|status|name|codeName|__type|errorType)["']\s*(?::|=>)\s*["']([A-Za-z][\w.#/-]{2,80})["']"""),
    ("code", r"<Code>([\w.]+)</Code>"),
    ("code", r"\(([A-Z][a-z]+(?:[A-Z][a-z]+)+)\)"),
    ("code", r"^([A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:\n|$)"),  # a reason instead of a sentence
    ("code", r"\((?:client|server)\): (\w+)"),
    ("code", r"(?i)\b(?:code|codeName|KafkaError\{code)=([A-Za-z_]\w+)"),
    ("code", r"(?i)error \d+ \(([A-Z]\w+)\)"),
    ("code", r"\(([a-z]+(?:-[a-z]+)*/[a-z]+(?:-[a-z]+)+)\)"),
    ("code", r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b"),
    ("code", r"\b([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\b"),
)  # fmt: skip

# Words behind a number that make it a quantity: "got 500 rows".
_UNITS = frozenset(
    [
        "ms",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "minute",
        "minutes",
        "min",
        "hours",
        "days",
        "bytes",
        "byte",
        "kb",
        "mb",
        "gb",
        "b",
        "k",
        "m",
        "px",
        "pixels",
        "rows",
        "row",
        "items",
        "item",
        "records",
        "record",
        "characters",
        "chars",
        "character",
        "tokens",
        "token",
        "times",
        "messages",
        "message",
        "of",
        "files",
        "jobs",
        "tasks",
        "users",
        "results",
        "elements",
        "columns",
        "entries",
        "lines",
        "requests",
        "points",
        "pages",
        "retries",
        "attempts",
    ]
)
_SMTP = re2.compile(
    r"(?i)\bsmtp|\b[245]\d\d[ -]#?[245]\.\d{1,3}\.\d{1,3}\b|\bexpected response code|\bmailbox\b|\brecipients? (?:address|rejected|refused)|\bEENVELOPE\b"
    r"|\b(?:mail|rcpt|recipient|data) command failed|\bmessage failed: [245]|\bcan't send mail"
)
# Clouds name the class after the code; their Node client throws it without a module.
_CODE_CLASS = re2.compile(
    r"(?i)^(?:aws|com\.amazonaws|software\.amazon|botocore\.errorfactory|types)\.|^[a-z]+exception$"
)
_CODE_NAME = re2.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")  # a code where a class should be
_PRISMA = re2.compile(r"(?i)prisma|\bcode[\"'`]?\s*[:=]\s*[\"'`]P[1256]\d{3}")
_MAX = 12  # values of a kind; a dump of thousands says nothing more


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return options


@cache
def _compiled(pattern: str) -> "re2._Regexp":
    """A pattern by itself, when its words are asked for: most never are."""
    return re2.compile(pattern, _options())


def _prefilter() -> "re2.Set":
    found = re2.Set.SearchSet(_options())
    for _, pattern in _PATTERNS:
        found.Add(pattern)
    found.Compile()
    return found


_SET = _prefilter()


def codes(chain: Chain) -> dict[str, dict[str, str]]:
    """kind -> {code: the words it was found in}, for the kinds that are there."""
    found: dict[str, dict[str, str]] = {}
    for name in chain.types:
        for kind, code in _by_name(name):
            found.setdefault(kind, {}).setdefault(code, name.rpartition(".")[2])
    smtp = _is_smtp(chain)
    for number in sorted(_SET.Match(chain.text) or ()):
        kind, pattern = _PATTERNS[number]
        # A question mark: a bare number, which is SMTP's where the text is about mail and HTTP's elsewhere.
        if kind.endswith("?"):
            kind = kind[:-1]
            if smtp != (kind == "smtp") and kind != "grpc":
                continue
        elif kind == "smtp" and not smtp:
            continue
        for code, evidence in _found(kind, _compiled(pattern), chain):
            values = found.setdefault(kind, {})
            if len(values) < _MAX or kind == "code":
                values.setdefault(code, evidence)
    if not found:
        return found
    _refine(found, chain)
    return {kind: values for kind, values in found.items() if values}


def _found(kind: str, pattern: "re2._Regexp", chain: Chain) -> Iterator[tuple[str, str]]:
    count = 0
    for match in pattern.finditer(chain.text):
        groups = match.groups()
        if len(groups) == 2 and groups[1] and groups[1].lower() in _UNITS:
            continue
        code = _normal(kind, groups[0])
        if code:
            yield code, " ".join(match[0].split())[:80]
        count += 1
        if count == 40:
            return


def _normal(kind: str, code: str) -> str | None:
    """A code as rules write it; None for what only looks like one."""
    if kind == "errno":
        windows, _, number = code.rpartition(" ")
        name = WINERROR.get(number) if windows else None
        name = name or ERRNO.get(number, number)
        return name if name in ERRNO_NAMES else None
    if kind == "http_status" and not code.isdigit():
        return _STATUS.get(code.lower())
    if kind == "grpc":
        return GRPC_SPELLINGS.get(code.replace("_", "").lower())
    if kind == "exit_signal":
        word = code.lower()
        named = {"killed": "SIGKILL", "terminated": "SIGTERM", "segmentation fault": "SIGSEGV", "aborted": "SIGABRT", "interrupt": "SIGINT", "hangup": "SIGHUP"}  # fmt: skip
        return SIGNALS.get(code) or named.get(word) or (code if code.startswith("SIG") else None)
    if kind == "sqlstate":
        code = code.upper()
        return code if any(c.isdigit() for c in code) else None
    return code


@lru_cache(maxsize=4_096)
def _by_name(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(_of_class(name))


def _of_class(name: str) -> Iterable[tuple[str, str]]:
    """Codes that a class stands for by its name."""
    last = name.rpartition(".")[2]
    if last in ERRNO_CLASSES:
        yield "errno", ERRNO_CLASSES[last]
    if last in ERRNO_NAMES:  # Ruby: Errno::ECONNREFUSED
        yield "errno", last
    bare = last.removesuffix("Error").removesuffix("Exception").removesuffix("Http").lower()
    if bare in STATUS_CLASSES:
        yield "http_status", STATUS_CLASSES[bare]
    elif name.endswith(
        ("HttpClientErrorException.NotFound", "RestClient.NotFound", "HTTPNotFound")
    ):
        yield "http_status", "404"
    digits = "".join(c for c in last if c.isdigit())
    if (
        len(digits) == 3
        and digits[0] in "45"
        and last.lower().startswith(("http", "error", "status"))
    ):
        yield "http_status", digits
    if name.startswith(("GRPC.", "Google.Cloud.")) and last.lower() in GRPC_SPELLINGS:
        yield "grpc", GRPC_SPELLINGS[last.lower()]
    if name.startswith(("psycopg", "PG.", "asyncpg.")):
        state = SQLSTATE_CLASSES.get(last.lower().removesuffix("error"))
        if state:
            yield "sqlstate", state
    if _CODE_CLASS.search(name) or _CODE_NAME.search(name):
        yield "code", last


def _is_smtp(chain: Chain) -> bool:
    return any(map(_mails, chain.types)) or found_in(_SMTP, chain.text)


@lru_cache(maxsize=4_096)
def _mails(name: str) -> bool:
    """Whether a class is about mail by its name."""
    parts = ("smtp", "mailer", "swift_transport", "messagingexception", "mailsend")
    return any(part in name.lower() for part in parts)


def _refine(found: dict[str, dict[str, str]], chain: Chain) -> None:
    """Drops what another kind of code explains better, and names exits that are signals."""
    if "prisma" in found and not (
        any("prisma" in name.lower() for name in chain.types) or _PRISMA.search(chain.text)
    ):
        del found["prisma"]
    if found.get("amqp"):
        for code in found["amqp"]:
            found.get("http_status", {}).pop(code, None)
    if found.get("oracle") or found.get("mssql"):
        found.pop("mysql", None)
    if "errno" in found and ("curl" in found or "mysql" in found):
        for code in ("EPERM", "EINTR", "EAGAIN"):
            found["errno"].pop(code, None)
    for code, evidence in list(found.get("exit_code", {}).items()):
        number = int(code)
        number = -number if number < 0 else number - 128 if 128 < number < 160 else number & 0x7F if "waitpid" in evidence else 0  # fmt: skip
        if str(number) in SIGNALS:
            found.setdefault("exit_signal", {}).setdefault(SIGNALS[str(number)], evidence)
