"""Secrets in the places where command lines, SQL, settings and prose have them: neither name= nor a shape."""

import re
from collections.abc import Iterator

from dlqanalysis.redact.fields import kind_of_field
from dlqanalysis.redact.shapes import MASKED, Span, compiled, looks_secret

# Only the words that lead to a secret: what follows is looked at in Python, a bounded way on, so that two
# leads may overlap and hostile repetitions stay linear. SQL is known by its verb, a password option by the
# command before it, and prose by a word that no prose has.
_LEAD = compiled(
    rb"(?P<sql>(?i:\b(?:identified[ \t]{1,3}by(?:[ \t]{1,3}password)?|password)[ \t]{1,3})[\"'])"
    rb"|(?P<user>(?:^|[ \t\"'])(?:-u|--user|--proxy-user)[ \t=]{0,3})"
    rb"|(?P<option>[ \t\"']-[pa])"
    rb"|(?P<redis>\bAUTH[ \t]{1,3}|(?i:\b(?:requirepass|masterauth)[ \t]{1,3}))"
    rb"|(?P<thin>\bjdbc:oracle:\w{2,4}:[\w$.-]{1,60}/)"
    rb"|(?P<call>\b(?:[A-Z][A-Za-z]{0,30})?(?:Auth|Secret(?:Str|Bytes)?|Password|Credentials?)\()"
    rb"|(?P<prose>(?i:\b(?:pass(?:word|phrase|wd|code)|api[ _-]?key|(?:access|auth|refresh|secret)[ _-](?:token|key))"
    rb"(?:[ \t]{1,2}(?:is|was|provided|given|used|supplied|set to|of))?:?[ \t]{1,2}"
    rb"|\b(?:token|secret)[ \t]{1,2}(?:is|was)[ \t]{1,2}))"
    rb"|(?P<pair>(?i:\b(?:name|key|field|header|variable)\\*[\"']?[ \t]{0,3}[:=][ \t]{0,3}\\*[\"']?))"
)
_PAIR = re.compile(
    rb"""([\w.-]{2,60})\\*["']?[,;]?(?:\s|\\{1,3}[nrt]){0,40}(?:-\s)?\\*["']?(?i:value|val|content)\\*["']?\s{0,3}[:=]\s{0,3}(?:\\*["'])?"""
)
_WORD = re.compile(rb"""(?:\\*["'])?([^\s"'\\,;]{1,300})""")
_UNTIL = re.compile(rb"""[^\s"'<>\\]{1,300}""")
_USER = re.compile(rb"""\\*["']?([^\s"':/\\]{1,100}):([^\s"'\\/][^\s"'\\]{0,300})""")
_OPTION = re.compile(rb"""[ \t]?\\*["']?([^\s"'\\-][^\s"'\\]{0,300})""")
_TAKES = re.compile(
    rb"\b(?:(my(?:sql|sqldump|sqladmin)|mariadb[\w-]*)|(sshpass|(?:docker|podman|az) login[^\n]*)|(redis-cli|valkey-cli))\b[^\n|;&]*$"
)
_STRINGS = re.compile(rb"""[^)\n]{0,300}""")
_STRING = re.compile(rb"""["']([^"'\\\n]{1,300})["']""")


def by_idiom(text: bytes) -> Iterator[Span]:
    """Spans of secrets that only the words before them give away."""
    for match in _LEAD.finditer(text):
        found = _FOUND[match.lastgroup.decode()](text, match)
        if found is None:
            continue
        start, end = found
        value = text[start:end]
        if value and not MASKED.fullmatch(value) and not value.startswith((b"<", b"{", b"$", b"%")):
            yield start, end, "secret", value, b""


def _material(word: bytes) -> bool:
    """Whether a word is none that people write: letters and digits, six or more."""
    letters = any(chr(byte).isalpha() for byte in word)
    return len(word) >= 6 and letters and any(48 <= byte <= 57 for byte in word)


def _quoted(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """PASSWORD 'x', IDENTIFIED BY 'x'."""
    quote = text[match.end() - 1 : match.end()]
    end = text.find(quote, match.end(), match.end() + 300)
    return (match.end(), end) if end > 0 else None


def _user(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """curl -u user:password, but not docker's -u 1000:1000."""
    found = _USER.match(text, match.end())
    return None if found is None or found[2].isdigit() else found.span(2)


def _option(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """mysql -psecret, sshpass -p secret, redis-cli -a secret."""
    tool = _TAKES.search(text, max(0, match.start() - 200), match.start())
    found = _OPTION.match(text, match.end())
    if tool is None or found is None:
        return None
    letter, apart = (
        text[match.end() - 1 : match.end()],
        text[match.end() : match.end() + 1].isspace(),
    )
    wanted = b"a" if tool[3] else b"p"
    return None if letter != wanted or (tool[1] and apart) else found.span(1)


def _redis(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """AUTH password, AUTH user password, AUTH PLAIN base64."""
    first = _WORD.match(text, match.end())
    if first is None:
        return None
    if looks_secret(first[1]) or not match[0].startswith(b"AUTH"):
        return first.span(1)
    second = _WORD.match(text, first.end() + 1)
    return second.span(1) if second and _material(second[1]) else None


def _thin(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """jdbc:oracle:thin:user/password@host."""
    end = text.find(b"@", match.end(), match.end() + 200)
    return (match.end(), end) if end > 0 else None


def _call(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """The last text of HTTPBasicAuth('user', 'password')."""
    inside = _STRINGS.match(text, match.end())
    strings = list(_STRING.finditer(text, match.end(), inside.end() if inside else match.end()))
    return strings[-1].span(1) if strings else None


def _prose(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """invalid password x1y2z3 for user app; API key provided: x1y2z3."""
    word = _WORD.match(text, match.end())
    if word is None:
        return None
    start, end = word.span(1)
    while end > start and text[end - 1 : end] in (b".", b")", b"]", b":"):
        end -= 1
    return (start, end) if _material(text[start:end]) else None


def _pair(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """{"name": "DB_PASSWORD", "value": "x"}, <add key="ApiKey" value="x"/>, - name: X, value: x."""
    pair = _PAIR.match(text, match.end())
    if pair is None or kind_of_field(pair[1].decode("latin-1")) is None:
        return None
    value = _UNTIL.match(text, pair.end())
    return value.span() if value else None


_FOUND = {
    "sql": _quoted, "user": _user, "option": _option, "redis": _redis, "thin": _thin,
    "call": _call, "prose": _prose, "pair": _pair,
}  # fmt: skip
