"""Secrets and personal data found by the name of the field they stand in."""

import re
from collections.abc import Iterator
from functools import lru_cache

from dlqanalysis.redact.names import KINDS, STEMS, words
from dlqanalysis.redact.shapes import MASKED, Span, compiled, looks_secret

_LAST_WORDS = words("confirmation confirm hash digest again old new value plain encoded base")
_STRONG = ("password", "passwd", "passphrase", "pwd", "secret")
_ENDINGS = (*_STRONG, "token", "apikey")  # written without a seam: csrfmiddlewaretoken

_FIELD = compiled(
    rb"(?i)([<-]?)((?:[a-z0-9_.\x80-\xff-]*)(?:" + STEMS + rb")(?:[a-z0-9_.\x80-\xff-]*))"
    rb"""(\\*["']\s{0,20}:\s{0,40}|\\*["']?\]?\)?(?:%5D)?[ \t]{0,30}(?:=>|:=|==?|:)[ \t]{0,30}|\\*["'],[ \t]{0,3}|>|[ \t]+)"""
)


_NOTHING = words(" null none nil true false undefined nan [] {}")
_PROSE = words(
    "is was are must required invalid missing expired not cannot incorrect wrong empty expected "
    "unexpected failed rejected denied mismatch too the a no and or for has needed unknown "
    "yes revoked str string int bytes field value may this that with"
)


@lru_cache(maxsize=4096)
def kind_of_field(name: str) -> str | None:
    """secret, personal or phone, from the last words of a field's name.

    >>> kind_of_field("clientSecret"), kind_of_field("idempotency_key"), kind_of_field("max_tokens")
    ('secret', None, 'secret')
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)
    words = [part.lower() for part in parts if not part.isdigit()]
    if len(words) > 1 and words[-1] in ("no", "nr", "num"):
        words[-1] = "number"
    while len(words) > 1 and words[-1] in _LAST_WORDS:
        words.pop()
    if words and words[-1].removesuffix("s").endswith(_ENDINGS):
        return "secret"
    tails = {"".join(words[-count:]) for count in (1, 2, 3)} | {"".join(words)}
    for kind, known in KINDS.items():
        if tails & known:
            return kind
    return None


def by_field(text: bytes) -> Iterator[Span]:
    """Spans of values that stand behind a telling field name."""
    done = 0  # a value that was taken whole is not looked into again
    for match in _FIELD.finditer(text):
        if match.start() < done:
            continue
        if _PSEUDONYM.match(text, match.start()):  # <token:3fa2c19e>
            continue
        lead, name, between = match.groups()
        if text[match.start() - 1 : match.start()] == b"%" and name[:2].upper() == b"5B":
            name = name[2:]  # card%5Bcvc%5D=
        kind = kind_of_field(name.decode("utf-8", "replace"))
        if (
            not kind
            and not _KEY.search(name)
            and name.lower() not in _ADDRESSED
            and name != b"code"
        ):
            continue
        word = re.sub(rb"[^a-z]", b"", name.lower())
        header = word.endswith((b"authorization", b"cookie", b"cookies"))
        sep = between.strip(b" \t\\\"'])")
        header |= sep == b":" and b"-" in name and word.endswith(b"signature")
        start = match.end()
        if sep == b">":  # <password>hunter2</password>
            end = text.find(b"</", start, start + 4096)
            opened = lead == b"<" or _opens(text, match)
            closed = text[end + 2 : end + 40].partition(b">")[0].rpartition(b":")[2] == name
            if not opened or not closed or end <= start:
                continue
        elif not sep and lead != b"-":  # a blank: --password hunter2
            inside = _ATTRIBUTES.match(text, start) if lead == b"<" or _opens(text, match) else None
            if not inside:  # <wsse:Password Type="PasswordText">hunter2</wsse:Password>
                continue
            start, end = inside.span(1)
        elif (
            sep == b"," and not header
        ):  # ('Authorization', 'Bearer ...'), but not ["password", "email"]
            continue
        else:
            loose = not between.startswith((b"'", b'"', b"\\")) and sep in (b":", b"")
            if loose and kind and _SEAM.search(name) and _SETTING.match(text, start):
                loose = False  # mysql_pass: word is a setting; "pass: word" may be prose
            far = len(text) if kind else min(len(text), start + _WEAK)
            strong = word.decode().endswith(_STRONG)
            found = _value(text, start, header, loose, strong, far)
            if found is None or found[1] > far:
                continue
            start, end = found
        value = text[start:end]
        if not kind and name.lower() in _NAMES:
            kind = "personal" if _is_person(text, match.start(), start, value) else None
        elif not kind and name.lower() in _ADDRESSED:
            kind = "phone" if _DIALLED.fullmatch(value) and not _EPOCH.fullmatch(value) else None
        elif (
            not kind
        ):  # some key, of a lock or of a cache: only what looks like key material is secret
            asked = text[match.start() - 1 : match.start()] in (b"?", b"&") and _ASKED.fullmatch(
                value
            )
            hexed = name.isupper() and _HEX.fullmatch(value)  # ALGOLIA_ADMIN_KEY=...
            kind = "secret" if asked or _MATERIAL.fullmatch(value) or hexed else None
        if not kind:
            continue
        if not value or value.lower().decode("latin-1") in _NOTHING or MASKED.fullmatch(value):
            continue
        if word.endswith(b"connectionstring") and b"=" in value:  # has fields of its own
            continue
        if word.endswith(b"tokens") and value.isdigit():  # a count: max_tokens
            continue
        if word.endswith(b"address") and b" " not in value:  # a host's, or 0x7f...: no person's
            continue
        if kind == "personal" and b"@" in value:
            kind = "email"
        if (kind == "email" and b"@" not in value) or _MEASURE.fullmatch(value):
            continue
        done = end
        bare = text[start - 1 : start] not in (b"'", b'"')
        yield start, end, kind, value, _OWN_QUOTE.match(between)[0] if bare else b""


_KEY = re.compile(rb"(?i)key$")
_NAMES = frozenset(b"name nome nom nombre naam namn client customer".split())
_ADDRESSED = frozenset(
    b"name nome nom nombre naam namn client to from recipient receiver sender caller callee contact customer user destination".split()
)
_DIALLED = re.compile(rb"(?:0{0,2}[1-9])[\d ./-]{7,16}\d")
_EPOCH = re.compile(rb"1\d{9}(?:\d{3}|\d{6}|\d{9})?|\d{4}-\d\d-\d\d.*")
_MEASURE = re.compile(rb"[+-]?\d{1,4}\.\d{1,6}")  # SPF_PASS=-0.001
_SEAM = re.compile(rb"[a-z0-9][_.-][a-z]|[a-z][A-Z]")
_SETTING = re.compile(rb"""[^\s,;&"'<>(){}\[\]\\]+[ \t]*(?:$|[\r\n,;}#]|[ \t][\w.-]+:)""")
_HEX = re.compile(rb"[0-9a-f]{32,128}")
_ASKED = re.compile(rb"(?=.*[A-Za-z])(?=.*\d)[A-Za-z0-9_~.]{20,}")  # ?key=..., but no uuid
_BESIDE = re.compile(
    rb"(?i)(?:e-?mail|phone|telef|celular|correo|senha|contrase|strasse|direcc|prenom|mobile|street|postal|post_?code|zip|birth|iban|passport|gender|address(?:e[es])?\\*[\"']?\s{0,3}[:=]\s{0,3}\\*[\"'{][^\"',]{0,40}[ \"])[a-z_]*\\*[\"']?\s{0,3}[:=]"
)


def _is_person(text: bytes, at: int, start: int, value: bytes) -> bool:
    """Whether a name is that of a person: words, beside a phone number, an e-mail or an address."""
    try:
        words = value.decode().replace("+", " ").replace("%20", " ")
    except UnicodeDecodeError:
        return False
    if not _WORDS.fullmatch(words) or (words.islower() and " " not in words):
        return False
    before = text[max(0, at - 200) : at].rpartition(b"{")[2]
    after = text[start + len(value) : start + len(value) + 200].partition(b"}")[0]
    return bool(_BESIDE.search(before) or _BESIDE.search(after))


_WORDS = re.compile(r"[^\W\d_][^\W\d_.'\u2019-]*[.]?(?:[ '\u2019-][^\W\d_]+[.]?){0,4}")
_PSEUDONYM = re.compile(rb"<[a-z]+:[0-9a-f]{8}>")
_PREFIX = re.compile(rb"<[\w-]{1,20}:$")  # <soap:
_ATTRIBUTES = re.compile(rb"[^<>\n]{1,200}>([^<]{1,4096})</")
_OWN_QUOTE = re.compile(
    rb"""\\*["']|"""
)  # the key's own: a bare number becomes a quoted placeholder
_MATERIAL = re.compile(
    rb"(?=[^/]*$|.*=$)(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w+/-]{24,}={0,2}"
)  # no id: those are of one case
_QUOTE = re.compile(rb"""[bBuUrRfF]{0,2}(\\*)(["'])""")
_BLOCK = re.compile(rb"[|>][+-]?[ \t]*\r?\n[ \t]{1,40}|\s{0,20}string\(\d{1,6}\) ")
_BARE = re.compile(rb"""[^\s,;&"'<>(){}\[\]\\]+""")
_LINE = re.compile(rb"""[^\r\n"'\\]+""")
_PAIRS = re.compile(
    rb"""(?:Digest|OAuth|Signature|Hawk|MAC) (?:=\\*"[^\r\n"\\]{0,500}\\*"|[^\r\n"'\\]){1,2000}"""
)


def _opens(text: bytes, match: "re.Match[bytes]") -> bool:
    """Whether a field's name is that of an XML element with a prefix."""
    return bool(_PREFIX.search(text[max(0, match.start() - 24) : match.start()]))


_WEAK = 400  #: letters of a value whose name alone says little


def _value(
    text: bytes, at: int, header: bool, loose: bool, strong: bool, far: int
) -> tuple[int, int] | None:
    """Where the value that begins at `at` stands, without its quotes."""
    if block := _BLOCK.match(text, at):  # of YAML, of PHP's var_dump
        at, loose = block.end(), False
    if quote := _QUOTE.match(text, at):
        return quote.end(), _closing(text, quote.end(), quote[1], quote[2])
    if text[at : at + 1] in (b"[", b"{") and not loose:
        return _container(text, at)
    if text[at : at + 1] == b"(":  # Key (phone)=(0151 2345)
        end = text.find(b")", at)
        return at + 1, end if end > 0 else len(text)
    bare = (
        (_PAIRS.match(text, at) or _LINE.match(text, at, far))
        if header
        else _BARE.match(text, at, far)
    )
    if not bare:
        return None
    if loose:  # prose has colons too: "Invalid token: expired"
        words = bare[0].split() or [b""]
        if words[0].rstrip(b".,").lower().decode("latin-1") in _PROSE:
            return None
        if not strong and not any(map(looks_secret, words)) and not (header and b"=" in bare[0]):
            return None
    return bare.start(), bare.end()


def _closing(text: bytes, start: int, slashes: bytes, quote: bytes) -> int:
    """Where a quoted value ends; the text's end when it was cut off."""
    at = start
    while (at := text.find(quote, at)) >= 0:
        before = at
        while before > start and text[before - 1 : before] == b"\\":
            before -= 1
        # a value quoted by \" ends at the next \" and not at \\\"; one quoted by " ends at an even number
        if slashes and at - before == len(slashes):
            return before
        if not slashes and (at - before) % 2 == 0:
            return at
        at += 1
    return len(text)


def _container(text: bytes, at: int) -> tuple[int, int]:
    """The inside of a list or an object, whole; the text's end when it was cut off."""
    depth, position = 0, at
    while position < len(text):
        byte = text[position]
        if byte in b"[{":
            depth += 1
        elif byte in b"]}":
            depth -= 1
            if depth == 0:
                return at, position + 1
        elif byte in b"\"'":
            position = _closing(text, position + 1, b"", text[position : position + 1])
        position += 1
    return at, len(text)
