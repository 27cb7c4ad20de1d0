r"""The placeholders, as one ordered table: what is a value becomes `<name>`, what is a code or a name stays.

Regular expressions of the Rust crate `regex`: linear time, no look-around. `\b` is ASCII, so that a message means
the same in every locale. The steps of SKELETON are cheap and run on every distinct message; REST runs on what they
leave, so that equal skeletons always have equal templates.
"""

from dataclasses import dataclass

#: part of every fingerprint: raise it when a step changes what falls together
ALGORITHM = "1"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table: what `pattern` finds becomes `into` ($1 is what was kept)."""

    name: str
    pattern: str
    into: str


B = r"(?-u:\b)"
_X = "[0-9A-Fa-f]"

# A number in code position: after a word that announces a code, or in the shape of one.
_CODE = "|".join(
    (
        r"(?i-u:(?:code|status|statuscode|status_code|errno|error|err|state|sqlstate|exit|signal|signum|msg|number"
        r"|winerror|hresult|ntstatus|http|rc|ret|retval|returned|response|reply|reason|sqlcode|exited|with|got))"
        r"[\"']?[ ]?[=:#\[(-]?[ ]?[\"'(-]?[0-9]{1,6}" + B,
        r"HTTP/[0-9.]{1,3} [0-9]{3}",
        r"(?i-u:error|code|exception|hresult|ntstatus|status|\()[ :=]{0,2}0x[0-9A-Fa-f]{8}" + B,
        r"\([0-9]{3,5}, ",  # pymysql: (1213, 'Deadlock found ...')
        rf"{B}[A-Z]{{2,8}}-?[0-9]{{4,6}}{B}",  # ORA-00060, AADSTS50011, TNS-12541
        rf"{B}[A-Z][0-9]{{4,5}}{B}",  # E11000, P2002
        rf"{B}[0-9]{{2}}[A-Z][0-9]{{2}}{B}|{B}[0-9][A-Z][0-9]{{3}}{B}",  # SQLSTATE 40P01, 0A000
        rf"[\[(]?{B}[0-9]{{5}}[\]):]",  # [23505], (40001), 23505:
        rf"{B}utf8mb[0-9]|{B}x86_64",
    )
)

SKELETON = (
    Step("uuid", rf"{_X}{{8}}-{_X}{{4}}-{_X}{{4}}-{_X}{{4}}-{_X}{{12}}", "<uuid>"),
    Step(
        "time",
        r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
        r"(?: ?Z| ?[+-][0-9]{2}:?[0-9]{2}| UTC)?",
        "<time>",
    ),
    Step(
        "ip",
        rf"{B}[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]{{1,3}}(?::[0-9]{{1,5}})?{B}",
        "<ip>",
    ),
    Step(
        "num",
        rf"({_CODE})"
        rf"|0x[0-9a-fA-F]+|{B}[0-9a-f]{{8,}}{B}|{B}[A-Za-z]*[0-9]+[A-Za-z]+[0-9][A-Za-z0-9]*"
        r"|[0-9]+\.[0-9]{2,}|[0-9]{4,}",
        "$1<num>",
    ),
)
_P = r"(?:<(?:num|uuid|ip|time)>)"

REST = (
    Step("kept", r"([0-9])<num>", "$1"),
    Step("url", rf"(?i-u:{B}[a-z][a-z0-9+.-]{{1,15}}://)(?:[^\s'\"<>)\]]|{_P})+", "<url>"),
    Step("email", rf"(?:[\w.+%-]|{_P})+@(?:[\w-]|{_P})+(?:\.(?:[\w-]|{_P})+)+", "<email>"),
    Step("path", rf"(^|[\s'\"(=:])/(?:[\w.@%+~-]|{_P})+(?:/(?:[\w.@%+~-]|{_P})*)+", "$1<path>"),
    Step("host", r"(?i-u:host=)'[^']*'", "host=<host>"),
    Step("port", r"(?i-u:\b(port[= ]|:))[0-9]{1,5}\b", "$1<num>"),
    Step(
        "line",
        r"(?i-u:\b(line|column|char|position|index|offset|row|length|size|id|attempt|retry|after|took))([ =:]+)[0-9.]+\b",
        "$1$2<num>",
    ),
    Step(
        "unit",
        r"\b[0-9]+(?:\.[0-9]+)? ?(ms|s|sec|secs|seconds?|minutes?|hours?|bytes|[KMGT]i?B)\b",
        "<num> $1",
    ),
    Step("twice", r"<num>(?:[\w.-]*<num>)+", "<num>"),
)
