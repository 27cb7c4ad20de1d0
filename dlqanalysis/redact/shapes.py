"""Secrets and personal data found by their shape."""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import re2

from dlqanalysis.redact import issuers

#: start, end, kind, what is replaced, quote to put around its replacement
Span = tuple[int, int, str, bytes, bytes]


def compiled(pattern: bytes) -> "re2._Regexp":
    """An RE2 of bytes: linear time, whatever a hostile text holds."""
    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False
    return re2.compile(pattern, options)


def _shapes(*shapes: tuple[str, str]) -> bytes:
    return "|".join(f"(?P<{name}>{pattern})" for name, pattern in shapes).encode()


# One alternation, the first that fits decides; `keep` shields what would look like a card or a phone.
# No shape waits for a far closing sign (where it must, Python looks a bounded way on): a payload of many
# openings would make the time quadratic over all matches.
_SHAPE = compiled(
    _shapes(
        ("keep_uuid", r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"),
        ("keep_time", r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"),
        ("pem", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\x00-\xff]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)|\bPrivate-Lines: \d{1,4}\s+[\w+/=\s]{40,}"),
        ("url", r"[A-Za-z]://"),
        ("dsn", r"@(?:tcp|unix)\("),
        ("jwt", r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"),
        ("scheme", r"(?i:\b(?:bearer|basic|token|apikey|negotiate)[ \t]{1,5})[\w.~+/=:-]{8,}"),
        ("token", issuers.FORM),
        ("begun", issuers.BEGUN),
        ("hash", issuers.HASH),
        ("hook", issuers.HOOK),
        ("email", r"(?:@@?|%40)(?:[A-Za-z0-9\x80-\xff-]+\.)+[A-Za-z]{2,}"),
        ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
        ("ssn", r"\b\d{3}-\d{2}-\d{4}\b"),
        ("card", r"\b\d(?:[ -]?\d){12,18}\b"),
        ("phone", r"(?:\+|%2[Bb]|\b00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}\b"
                  r"|\(\d{3}\)[ .-]?\d{3}[ .-]?\d{4}\b|\b\d{3}[.-]\d{3}[.-]\d{4}\b"
                  r"|\b0\d{2,5}[ /-]\d{4,9}\b"),
    )
)  # fmt: skip

#: The kinds of by_shape that are keys, not data of a person.
KEYS = frozenset(["secret", "token"])
#: Where a key may be: looked for in many names at once.
_MAYBE = compiled(
    rb"-----BEGIN |[A-Za-z]://[^\n]*@|@(?:tcp|unix)\(|\beyJ|(?i:\b(?:bearer|basic|token|apikey|negotiate)[ \t])|"
    + "|".join((issuers.FORM, issuers.BEGUN, issuers.HASH, issuers.HOOK)).encode()
)


def with_keys(names: Sequence[str]) -> list[int]:
    """The places of the names that may hold a key: a million ids are read in one go."""
    lines = [name.replace("\n", " ").encode("utf-8", "surrogatepass") for name in names]
    ends = np.cumsum([len(line) + 1 for line in lines])
    starts = [match.start() for match in _MAYBE.finditer(b"\n".join(lines))]
    return np.unique(np.searchsorted(ends, starts, side="right")).tolist()


MASKED = re.compile(
    rb"<[a-z]+(?::[0-9a-f]{8})?>|[*xX\xe2\x80\xa2]{3,}|\[(?i:redacted|filtered|secret)\]"
)
# Country -> length of its IBANs (ISO 13616 registry).
_LENGTHS = (
    "15:NO 16:BE 18:DK,FI,FO,GL,NL,SD 19:MK,SI 20:AT,BA,EE,KZ,LT,LU,XK,MN 21:CH,HR,LI,LV 22:BG,CR,DE,GB,GE,"
    "IE,ME,RS,BH,VA 23:AE,GI,IL,IQ,TL,OM,SO 24:AD,CZ,ES,MD,PK,RO,SA,SE,SK,TN,VG 25:LY,PT,ST 26:IS,TR 27:BI,"
    "DJ,FR,GR,IT,MC,MR,SM 28:AL,AZ,BY,CY,DO,GT,HU,LB,NI,PL,SV 29:BR,EG,PS,QA,UA 30:JO,KW,MU 31:MT,SC 32:LC 33:RU"
)
_IBAN = {
    country: int(length)
    for length, _, countries in (row.partition(":") for row in _LENGTHS.split())
    for country in countries.split(",")
}


def looks_secret(word: bytes) -> bool:
    """Whether a word is no word of prose: digits or capitals inside, or very long."""
    digits = any(48 <= byte <= 57 for byte in word)
    inner = word[1:]
    mixed = inner != inner.lower() and inner != inner.upper()
    return (len(word) >= 6 and (digits or mixed)) or len(word) >= 20


def by_shape(text: bytes) -> Iterator[Span]:
    """Spans of secrets and personal data that show by their shape."""
    host = -1  # where an @ is part of a URL, not of an e-mail address
    for match in _SHAPE.finditer(text):
        kind = match.lastgroup.decode()
        start, end = match.span()
        if kind.startswith("keep") or (kind == "email" and start == host):
            continue
        if kind == "url":
            host = _host(text, end)
        narrow = _NARROW.get(kind)
        span = narrow(text, start, end) if narrow else (start, end)
        if span is None and kind == "card" and text.startswith(b"00", start):
            kind, span = "phone", _phone(text, start, end)
        if span is None:
            continue
        if kind == "email" and (owner := _OWNER.search(text[max(0, span[0] - 90) : span[0]])):
            length = len(owner["name"] or owner["quoted"])
            at = (
                span[0]
                - len(owner[0])
                + max(owner.start("name"), owner.start("quoted"))
                - owner.start()
            )
            yield at, at + length, "personal", text[at : at + length], b""
        start, end = span
        number = _NUMBER.search(text[max(0, start - 8) : start]) if kind == "card" else None
        yield start, end, _SHOWN.get(kind, kind), text[start:end], number[1] if number else b""


_SHOWN = {
    "pem": "secret", "url": "secret", "dsn": "secret", "hash": "secret",
    "scheme": "token", "jwt": "token", "hook": "token", "begun": "token",
}  # fmt: skip
_NUMBER = re.compile(
    rb"""(\\*["'])\s{0,2}:\s{0,2}$"""
)  # "number": 4111...: its placeholder gets quotes
_AUTHORITY = re.compile(rb"""[^\s"'<>]{0,700}""")


def _host(text: bytes, start: int) -> int:
    """Where the @ before a URL's host stands, or -1."""
    found = re.compile(rb"""[^\s"'<>/?#]{0,700}""").match(text, start)
    return start + found[0].rfind(b"@") if found and b"@" in found[0] else -1


def _url(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The password of a URL, or a user name that is a token: scheme://user:password@host."""
    found = _AUTHORITY.match(text, end)
    rest = found[0] if found else b""
    strict = re.match(rb"[^/?#]*", rest)
    at = strict[0].rfind(b"@") if strict else -1
    if at < 0:  # a password with a slash, which its owner should have escaped
        at = rest.find(b"@")
        if at < 0 or b":" not in rest[:at] or re.match(rb"[^:/?#]*(:\d{1,5})?[/?#]", rest):
            return None  # http://host:8080/path@x
    user, colon, password = rest[:at].partition(b":")
    if not colon or not password:
        return (end, end + len(user)) if looks_secret(user) and len(user) >= 16 else None
    if MASKED.fullmatch(password):
        return None
    return end + len(user) + 1, end + at


def _dsn(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The password of user:password@tcp(host:3306)/db."""
    found = re.search(rb"""[\w.-]:([^\s@"'/]+)$""", text[max(0, start - 200) : start])
    return (start - len(found[1]), start) if found else None


def _scheme(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    word = text[start:end].split()[-1]
    return (end - len(word), end) if looks_secret(word) else None


# The words before <address> name its owner: To: Jo Doe <jo@...>, "Jo Doe" <jo@...>
_OWNER = re.compile(
    rb"""(?:(?:(?i:to|from|b?cc|sender|reply-to):[ \t]{1,3}|,[ ])(?P<name>[^\s<>"',:;@=][^<>"',:;@=\r\n]{1,60}?)"""
    rb"""|\\*["'](?P<quoted>[^<>"'@\\\r\n]{2,60})\\*["'])[ ]?<$"""
)
_LOCAL = re.compile(rb"[\w+][\w.%+\'\x80-\xff-]{0,63}$")


def _email(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    local = _LOCAL.search(text[max(0, start - 64) : start])
    if not local:
        return None
    name, domain = local[0].lower(), text[start:end].replace(b"%40", b"@").lstrip(b"@")
    machine = name in (b"git", b"ssh") or name.startswith((b"celery", b"gen"))
    version = re.match(
        rb"\d+(\.\d+|x\.|\.(csv|txt|json|pdf|png|jpe?g)$)", domain
    )  # pkg@1.2.0-rc.x, icon@2x.png
    message = _MESSAGE_ID.search(text[max(0, start - len(local[0]) - 24) : start - len(local[0])])
    return None if machine or version or message else (start - len(local[0]), end)


_MESSAGE_ID = re.compile(
    rb"""(?i)message[-_ ]?id\\*["']?[:= ]{1,3}\\*["']?<?$|references: ?<?$|in-reply-to: ?<?$"""
)


def _begun(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A key by its beginning, and no name made of words."""
    return (start, end) if any(48 <= byte <= 57 for byte in text[start + 4 : end]) else None


def _hook(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A webhook's address, where its path is a capability and no mere name: it has digits."""
    path = text[start:end].partition(b"/")[2]
    return (start, end) if any(48 <= byte <= 57 for byte in path) and len(path) >= 16 else None


def _iban(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    length = _IBAN.get(text[start : start + 2].decode())
    count, stop = 0, start
    while stop < end and count < (length or 0):
        count += text[stop : stop + 1] != b" "
        stop += 1
    compact = text[start:stop].replace(b" ", b"")
    if count != length or (stop < len(text) and text[stop : stop + 1].isalnum()):
        return None
    moved = compact[4:] + compact[:4]
    number = int("".join(str(int(chr(byte), 36)) for byte in moved))
    return (start, stop) if number % 97 == 1 else None


_CARD = re.compile(
    rb"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    rb"|6(?:011|5\d\d|4[4-9]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
    rb"|(?:5018|5020|5038|6304|6759|676[123])\d{8,15}"
)
_AN_ID = re.compile(rb"""(?i)id\\*["']?\s{0,2}[:=]\s{0,2}\\*["']?$""")


def _card(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    digits = re.sub(rb"[ -]", b"", text[start:end])
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    if not _CARD.fullmatch(digits) or b"-" in around or text[max(0, start - 1) : start] == b".":
        return None
    doubled = (int(chr(d)) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    if sum(d - 9 if d > 9 else d for d in doubled) % 10:
        return None
    return None if _AN_ID.search(text[max(0, start - 16) : start]) else (start, end)


def _ssn(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    area, group, serial = text[start:end].split(b"-")
    fits = area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    return (start, end) if fits and b"-" not in around else None


def _phone(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    digits = sum(48 <= byte <= 57 for byte in text[start:end])
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if not 8 <= digits <= 16 or before.isalnum() or before in (b".", b"-", b"_") or after == b"-":
        return None
    home = text[start : start + 1] == b"0" and text[start + 1 : start + 2] != b"0"
    if home and (before not in (b"'", b'"') or after != before):
        return None  # only as the whole of a quoted text: numbers of parcels and lots look like it
    return None if _AN_ID.search(text[max(0, start - 16) : start]) else (start, end)


_NARROW: dict[str, Callable[[bytes, int, int], tuple[int, int] | None]] = {
    "url": _url, "dsn": _dsn, "scheme": _scheme, "email": _email,
    "iban": _iban, "card": _card, "ssn": _ssn, "phone": _phone, "hook": _hook,
    "begun": _begun,
}  # fmt: skip
