r"""The placeholders, as one ordered table: what is a value becomes `<name>`, what is a code or a name stays.

Regular expressions of the Rust crate `regex`: linear time, no look-around; ASCII classes, so that a message means
the same in every locale. SKELETON is cheap and runs on every distinct message; REST runs on what it leaves, so
that equal skeletons have equal templates. Between the steps a value is one mark, a control character; NAMES says
how each is written in the end.
"""

import re
from dataclasses import dataclass

from dlqanalysis.fingerprint.codes import CODES, HTTP, STATUS, B, X

#: part of every fingerprint: raise it when a step changes what falls together
ALGORITHM = "1"

#: mark -> name
NAMES = {
    "\x01": "num",
    "\x02": "uuid",
    "\x03": "time",
    "\x05": "url",
    "\x06": "email",
    "\x07": "path",
    "\x0e": "host",
    "\x0f": "id",
    "\x10": "str",
    "\x11": "user",
    "\x12": "size",
}
NUM, UUID, TIME, URL, EMAIL, PATH, HOST, ID, STR, USER, SIZE = NAMES
ANY = "".join(NAMES)
CODE = "\x1f"  # a code's place in a skeleton; the codes follow the text after CODES_FOLLOW
CODES_FOLLOW = "\x1e"
SHIELD = "\x1d"  # stands before a name that no later step may touch


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table: what `pattern` finds becomes `into` ($1 is what stays)."""

    name: str
    pattern: str
    into: str


BACK = Step("kept", rf"{NUM}[0-9]", "")

W = "A-Za-z0-9_"
D = "(?P<d>[0-9])"
CLOCK = r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,:][0-9]{1,9})?"
ZONE = rf"(?: ?Z{B}| ?[+-][0-9]{{2}}:?[0-9]{{2}}{B}| (?:UTC|GMT|[ECMP][SD]T|CES?T){B})?"
DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"

# A word that announces a value: the number after it is no code, whatever it looks like.
MEASURES = (
    r"(?i-u:(?:bar|zip|post|postal|key|country|area|promo|coupon|op|product|item)[ _-]?code|port|line|column|col|char"
    r"|character|position|pos|offset|index|idx|row|length|len|size|count|total|width|height|id|pid|uid|gid|tid|attempt"
    r"|retry|page|number|no|after|took|took about|in|of|at|limit|max|min|threshold|timeout|depth|level|batch|chunk|part"
    r"|task|job|order|user|item|worker|invoice|ticket|customer|product|account|property|listing|record|document|message|event"
    r"|report|object|entity|tenant|agent|memo|payment|transaction|subscription|booking|reservation|case|issue|contract|asset"
    r"|image|photo|video|node|device|sensor|room|step|stage|iteration|epoch|frame|block|cycle|run|build|revision|process|session|thread|version|slot|shard|partition|amount|price|balance|age|used|requested|remaining|left|exceeds|waited|slept)"
    r"""["']?(?: ?[:=#] ?| )[+-]?"""
)
NAMED = (  # a word that has its digits for a name: decided in REST
    rf"{B}[A-Za-z]+_?{D}[0-9]?(?:_+[A-Za-z]+)+{B}",  # address_2_line
    rf"{B}[A-Za-z][A-Za-z_]*{D}[0-9]{{0,2}}{B}",  # address2, line_1, psycopg2, sha256
)
TIMES = "ms|msecs?|millis|milliseconds?|MILLISECONDS|us|microseconds?|ns|nanoseconds?|s|secs?|seconds?|SECONDS|m|mins?|minutes?|hrs?|hours?|h|days?|d|weeks?"
SIZES = "[kKMGTP]i?[Bb]|[Bb]ytes?|[kMGT]bytes?|B"
OPAQUE = (  # ids of Stripe, OpenAI, Slack, GitHub: a kind, then letters of both cases and digits
    rf"{B}(?:cus|pi|ch|req|sub|in|evt|pm|src|tok|acct|price|prod|cs|seti|re|po|tr|txn|card|ba|si|ii|org|msg|run|thread|asst|file"
    r"|batch|call|key|whsec|(?:sk|pk|rk)_(?:live|test)|gh[opsu]|xox[abp])[_-][a-z]*[A-Z0-9][A-Za-z0-9]{4,}"
)
ANYWHERE = "|".join(
    (
        rf"0[xX]{X}+",
        rf"{B}{X}{{8,}}{B}",
        rf"{B}[0-9]+[a-f]{X}{{3,}}{B}|{B}[a-f]+[0-9]{X}{{3,}}{B}",
        r"[A-Za-z]{0,8}[0-9]+[A-Za-z]+[0-9][A-Za-z0-9]*",  # cus_Nf8sK2mVq after its prefix
        r"[0-9]+(?:[.,][0-9]+)*",
    )
)


def _plain(pattern: str) -> str:
    return re.sub(r"\(\?P<[d-g]>", "(?:", pattern)


def _numbers(kept: tuple[str, ...], before: str, gone: str) -> Step:
    """Numbers that are neither code nor name. Without look-around a code is found and put back; a digit of it after
    the mark tells it from a number that went: every digit is found by some line, so no other digit follows a mark."""
    lines = "|".join(kept)
    names: list[str] = []
    while (new := re.sub(r"\(\?P<[d-g]>", f"(?P<at{len(names)}>", lines, count=1)) != lines:
        lines, names = new, [*names, f"${{at{len(names)}}}"]
    pattern = rf"(?P<before>{before})[0-9]+(?:[.,][0-9]+)*{B}|(?P<kept>{lines})|{gone}"
    return Step("num", pattern, f"${{before}}${{kept}}{NUM}{''.join(names)}")


SKELETON = (
    Step("uuid", rf"{X}{{8}}-{X}{{4}}-{X}{{4}}-{X}{{4}}-{X}{{12}}|{B}{X}{{32}}{B}", UUID),
    Step("id", OPAQUE, ID),
    Step(
        "host",
        rf"{B}[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]{{1,3}}(?::[0-9]{{1,5}})?{B}"
        rf"|(?:\[::1?\]|::1{B})(?::[0-9]{{1,5}})?|{B}(?:{X}{{1,4}}:){{5,}}{X}{{1,4}}{B}|{B}{X}{{1,4}}(?::{X}{{1,4}})*::(?:{X}{{1,4}}:)*{X}{{1,4}}{B}",
        HOST,
    ),
    Step(
        "time",
        rf"[0-9]{{4}}[-/][0-9]{{1,2}}[-/][0-9]{{1,2}}(?:(?:[T :_]|, )[0-9]{{1,2}}[:,][0-9]{{2}}(?:[:,][0-9]{{2}}(?:[.,][0-9]+)?)?{ZONE})?"
        rf"|(?:{DAY},? )?{MONTH} +[0-9]{{1,2}},? (?:[0-9]{{4}},? )?{CLOCK}{ZONE}(?: [0-9]{{4}}{B})?"
        rf"|(?:{DAY}, )?[0-9]{{1,2}} {MONTH} [0-9]{{4}} {CLOCK}{ZONE}"
        rf"|{B}{CLOCK}{ZONE}|{MONTH} [0-9]{{1,2}}, [0-9]{{4}}{B}|{B}[0-9]{{1,2}} {MONTH} [0-9]{{4}}{B}"
        rf"|{B}[0-9]{{1,2}}[./][0-9]{{1,2}}[./][0-9]{{4}}{B}",
        TIME,
    ),
)

KEPT = _plain("|".join((*CODES, STATUS, *NAMED)))
GONE = ANYWHERE
MARKED = {f"<{name}>": mark for mark, name in NAMES.items()}

PART = f"[{W}{ANY}.~%+-]"  # what a path's or a host's part is made of
LABEL = f"[{W}{ANY}-]+"
FILES = "png|jpe?g|gif|webp|svg|pdf|csv|tsv|xlsx?|docx?|pptx?|txt|log|json|xml|ya?ml|html?|zip|gz|tar|mp[34]|wav|mov|parquet|tmp|lock"
TLD = "com|net|org|io|edu|gov|mil|cloud|internal|localdomain|arpa"
PRIVATE = "local|dev|app|lan|corp|svc|info|biz|aws|test|example|tech|online|site|xyz|eu"
COUNTRY = (
    "ae|ar|au|bg|br|ca|ch|cl|cn|cz|de|dk|ee|es|fi|fr|gr|hk|hr|hu|ie|il|jp|kr|lt|lu|lv|mx|nl|nz|pt|ro|ru|se|sg|si"
    "|sk|th|tr|tw|ua|uk|us|vn|za|om"
)
SCHEMA = (
    "(?i-u:column|constraint|relation|table|index|field|attribute|argument|arguments|parameter|param|module|function"
    "|method|key|task|class|type|property|variable|view|schema|collection|failed|identifier|member|label|option)"
)
NAMES_COME = rf"(?i-u:{SCHEMA}|template|modules|reading|named|entity|queue|exchange|keyword)(?: named| name|:|=| of type)?"
VALUES_COME = (
    r"(?i-u:duplicate entry|(?-u:\b)got|base [0-9\x01]+|to float|to int|to decimal|for type [a-z ]+|enum [a-z0-9_.\"]+|time data|input_value|value"
    r"|literal|text|(?:for|user|role|username|login) user|invalid (?:date|email|uuid|url|choice|number|value|id|timestamp|format)|string):?"
)
COUNTED = (
    "items|rows|records|requests|messages|jobs|tasks|times|users|files|events|entries|attempts|retries|objects|documents"
    "|points|pages|results|emails|e-mails|lines|columns|characters|chars|tokens|orders|customers|workers|connections|threads"
    "|parts|chunks|keys|values|nodes|calls|others|more|total|remaining|left"
)
VALID = "uuid|e-?mail|date|datetime|time|integer|number|decimal|float|boolean|url|uri|choice|json|phone|ip|address|id|timestamp"
WORDS = "(?i-u:utf8mb|utf|sha|md|base|int|uint|float|x|ipv|http|h|oauth|python|psycopg|boto|urllib|s|ec|k|log|mp|neo)"
GLUED = (
    rf"(?i-u:missing|required|unknown|undefined|unrecognized|unexpected|unsupported|invalid)[A-Za-z(){SHIELD} ]{{0,20}}:? ?[\"'`]?[{W}.]*[A-Za-z_]{D}[{W}.]*",
    rf"{SCHEMA}(?: named| name|:|=)? ?[\"'`(]?{SHIELD}?[{W}.]*[A-Za-z_]{D}[{W}.]*",
    rf"[\"'`][{W}.$]*[A-Za-z_]{D}[{W}.$]*[\"'`]",
    rf"{B}[{W}.]*[A-Za-z_]{D}[{W}]* (?:is required|is invalid|is missing|is not|is undefined|is null|is None|must be|cannot be|can't be|may not)",
    rf"{SHIELD}[^\s\"'`)]*?{D}[^\s\"'`)]*",
    rf"{B}(?:{WORDS}){D}[{W}]*{B}",
    rf"{B}(?:[a-z_]+_)?v{D}[0-9]?(?:[^.0-9A-Za-z]|$)",
    rf"{B}[A-Z]{{1,3}}{D}[0-9]{{2,4}}{B}",
    rf"(?i-u:code|error)[=: ]{{1,2}}[A-Z]{{1,3}}{D}[0-9]*{B}",
)
TEXT = (
    Step("unseen", rf"\x1b\[[0-9;{NUM}]*[A-Za-z]|[\x00\x08\x0b\x0c\x13-\x1c\x7f]", ""),
    Step("num", rf"{B}[0-9]+[.]{NUM}", NUM),
    Step("space", r"\s+", " "),
    Step("num", rf"{B}[0-9]+( (?:of|{COUNTED}){B})", f"{NUM}$1"),
    Step("arn", rf"{B}arn:aws[a-z-]*:[^\s'\"]+", ID),
    Step("source", r"\[Source: .*?; ?line", f"[Source: {STR}; line"),
    Step(
        "sql",
        r"\[SQL: .*|\((?:Connection: \w+,(?: [A-Z]\w+: [^,]*,)* )?SQL: .*\)$|LINE [0-9]+: .*?( HINT:| CONTEXT:|$)",
        "<sql>$1",
    ),
    Step("row", r"(Failing row contains )\(.*\)", "$1<row>"),
    Step("key", r"(Key \([^()]+\)=)\(.*?\)( already| is not| is still| conflicts|$)", "$1<str>$2"),
    Step("name", rf"({NAMES_COME} ?[\"'`(])", f"$1{SHIELD}"),
    Step(
        "value", rf"({VALUES_COME}[ :=]{{0,2}})(?:'[^'{SHIELD}]*'|\"[^\"{SHIELD}]*\")", f"$1{STR}"
    ),
    Step(
        "value",
        rf"(?:'[^'{SHIELD}]*'|\"[^\"{SHIELD}]*\"|“[^”]*”)( (?:value has an invalid|is not a valid (?i-u:{VALID})|is not an? (?i-u:{VALID}){B}))",
        f"{STR}$1",
    ),
    Step("url", rf"(?i-u:{B}[a-z][a-z0-9+.-]{{1,15}}://)[^\s'\"<>)\]}},;]+", URL),
    Step("email", rf"[{W}{ANY}.+%-]+(?:@{LABEL}(?:\.{LABEL})+)+", EMAIL),
    Step(
        "path",
        rf"(^|[\s'\"(=:\[,<>])(?:[A-Za-z]:[\\/]{PART}[^\s'\"<>|,;)]*|~?/{PART}{{2,}}(?:/{PART}*)*|\.{{0,2}}(?:/{PART}+){{2,}}/?|\.{{1,2}}/{PART}+|(?:{PART}+/)+{PART}*\.[A-Za-z]{PART}*|{PART}+\.(?:{FILES}))(?:\?[^\s'\"<>]*)?(?::[0-9{NUM}]+){{0,2}}",
        f"$1{PATH}",
    ),
    Step(
        "host",
        rf"(?i-u:((?:host|hostname|server|rhost|addr|address)=)['\"]?[{W}{ANY}.-]+['\"]?)",
        f"$1{HOST}",
    ),
    Step(
        "host",
        rf"(?:{LABEL}(?:\.{LABEL})+:[0-9{NUM}]+|(?:(?:{LABEL}\.)+(?:{TLD})|(?:{LABEL}\.){{2,}}(?:{PRIVATE}|{COUNTRY}))(?::[0-9{NUM}]+)?)([^A-Za-z0-9.{ANY}]|\.(?:[^A-Za-z0-9{ANY}]|$)|$)",
        f"{HOST}$1",
    ),
    Step("host", rf"(?i-u:localhost)(?::[0-9{NUM}]+)?", HOST),
    Step(
        "host",
        rf"(?i-u:((?:connect|connecting|connection|connected) to )){LABEL}:[0-9{NUM}]+",
        f"$1{HOST}",
    ),
    Step("host", rf"{HOST} ?\([^()\s]*\)", HOST),
    Step("time", rf"(^|[^A-Za-z])(?:{B}[0-9]+|{NUM}) ?(?:{TIMES}){B}", f"$1{TIME}"),
    Step("size", rf"(^|[^A-Za-z])(?:{B}[0-9]+|{NUM}) ?(?:{SIZES}){B}", f"$1{SIZE}"),
)
NUMBERS = (  # only where digits are left
    _numbers((*CODES, *HTTP, *NAMED), MEASURES, rf"{B}[0-9]+{B}"),
    BACK,
    _numbers((*CODES, *HTTP, *GLUED), MEASURES, r"[A-Za-z]*[0-9]+[A-Za-z]*"),
    BACK,
)
VALUES = (  # only where a value has its mark
    Step("num", rf"[A-Za-z]+{NUM}[A-Za-z0-9]*|{NUM}[A-Za-z][A-Za-z0-9]*", NUM),
    Step("num", rf"([\s=:(\[,_\"'@#<>]|^)[-+]{NUM}", f"$1{NUM}"),
    Step("num", rf"{NUM}(?:[.,/x_:-]?[-+]?{NUM})+", NUM),
    Step("time", rf"{NUM} ?(?:{TIMES}){B}", TIME),
    Step("size", rf"{NUM} ?(?:{SIZES}){B}", SIZE),
    Step("time", rf"(?i-u:{B}(lifetime|elapsed|duration|uptime|ttl)([ :=]+)){NUM}", f"$1$2{TIME}"),
    Step("size", rf"{SIZE} \({SIZE}\)", SIZE),
    Step("time", rf"(\s)[<>~]=? ?([{TIME}{SIZE}])", "$1$2"),
    Step("id", rf"[{W}.~#-]*[{ANY}][{W}.~#-]+[{ANY}][{W}.~#{ANY}-]*", ID),
    Step("list", rf"(?:[A-Za-z_-]*[{ANY}][ ,;]+){{2,}}[A-Za-z_-]*[{NUM}{ID}]", NUM),
    Step("list", rf"{HOST}(?:, ?{HOST})+", HOST),
    Step(
        "user",
        r"(?i-u:(for user |user=|username=|user: ))(?:'[^']*'|\"[^\"]*\"|[A-Za-z0-9_.@\x01\x06-]+)|(?i-u:(\buser ))(?:'[^']*'|\"[^\"]*\")",
        f"$1$2{USER}",
    ),
    Step(
        "user",
        rf"(?i-u:({B}(?:for|users?) ))(?:'[^']*'|\"[^\"]*\"|[A-Za-z0-9_.@{NUM}{EMAIL}{ID}-]+)( from {HOST}| \[)",
        f"$1{USER}$2",
    ),
)
#: a message that is nothing but a name (a key, a class, a template's file) stays as it is
NAME = r"^['\"]?\.{0,2}[A-Za-z_/][A-Za-z0-9_.$/-]*['\"]?$"
FINISH = {SHIELD: ""} | {mark: f"<{name}>" for mark, name in NAMES.items()}
