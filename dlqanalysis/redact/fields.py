"""Secrets and personal data found by the name of the field they stand in."""

import re
from collections.abc import Iterator
from functools import lru_cache

from dlqanalysis.redact.shapes import MASKED, Span, compiled, looks_secret


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET = _names(
    "password passwd passphrase passcode pass pwd pw secret secrets token tokens apikey "
    "authkey accesskey secretkey privatekey encryptionkey signingkey accountkey masterkey "
    "sshkey licensekey sharedkey storagekey subscriptionkey functionkey clientkey appkey applicationkey "
    "servicekey rolekey integrationkey instrumentationkey connectionstring credential credentials authorization auth "
    "cookie cookies session sessionid sessid jsessionid phpsessid csrf xsrf csrftoken "
    "xsrftoken signature sig otp totp mfacode pin pincode cvv cvc cvv2 cvc2 securitycode "
    "ssn socialsecuritynumber passport passportnumber jwt bearer webhookurl privkey "
    "mnemonic seedphrase sessionkey connectsid"
)
_PERSONAL = _names(
    "firstname lastname fullname surname givenname familyname middlename maidenname street "
    "streetaddress address addressline addressline1 addressline2 postaladdress dob "
    "dateofbirth birthdate birthday birthdate iban accountnumber bankaccount taxid nationalid "
    "driverslicense cardnumber customername recipientname contactname"
)
_PHONE = _names("phone phonenumber mobile mobilenumber telephone tel fax msisdn whatsapp")
_LAST_WORDS = _names("confirmation confirm hash digest again old new value plain encoded base")
_STRONG = ("password", "passwd", "passphrase", "pwd", "secret")
_ENDINGS = (*_STRONG, "token", "apikey")  # written without a seam: csrfmiddlewaretoken

_FIELD = compiled(
    rb"(?i)([<-]?)((?:[a-z0-9_.-]*)(?:pass|pwd|\bpw\b|secret|token|key|auth|cookie|sess|sid\b|csrf|xsrf|sig"
    rb"|otp|mfa|pin|\btan\b|cv[vc]|security|ssn|jwt|bearer|webhook|connection|cred|seed|mnemonic|name|street"
    rb"|address|dob|birth|iban|account|bank|tax|national|license|card|\bpan\b|phone|mobile|tel|fax|msisdn"
    rb"|whatsapp)(?:[a-z0-9_.-]*))"
    rb"""(\\*["']\s{0,20}:\s{0,40}|\\*["']?\]?\)?[ \t]{0,3}(?:=>|:=|==?|:)[ \t]{0,3}|\\*["'],[ \t]{0,3}|>|[ \t]+)"""
)


_NOTHING = _names(" null none nil true false undefined nan [] {}")
_PROSE = _names(
    "is was are must required invalid missing expired not cannot incorrect wrong empty expected "
    "unexpected failed rejected denied mismatch too the a no and or for has needed unknown "
    "revoked str string int bytes field value may this that with"
)


@lru_cache(maxsize=4096)
def kind_of_field(name: str) -> str | None:
    """secret, personal or phone, from the last words of a field's name.

    >>> kind_of_field("clientSecret"), kind_of_field("idempotency_key"), kind_of_field("max_tokens")
    ('secret', None, 'secret')
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words = [part.lower() for part in parts if not part.isdigit()]
    while len(words) > 1 and words[-1] in _LAST_WORDS:
        words.pop()
    if words and words[-1].removesuffix("s").endswith(_ENDINGS):
        return "secret"
    tails = {"".join(words[-count:]) for count in (1, 2, 3)} | {"".join(words)}
    for kind, known in (("secret", _SECRET), ("personal", _PERSONAL), ("phone", _PHONE)):
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
        kind = kind_of_field(name.decode("latin-1"))
        if not kind and not _KEY.search(name):
            continue
        word = re.sub(rb"[^a-z]", b"", name.lower())
        header = word.endswith((b"authorization", b"cookie", b"cookies"))
        sep = between.strip(b" \t\\\"'])")
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
            found = _value(text, start, header, loose, word.decode().endswith(_STRONG))
            if found is None:
                continue
            start, end = found
        value = text[start:end]
        if (
            not kind
        ):  # some key, of a lock or of a cache: only what looks like key material is secret
            if not _MATERIAL.fullmatch(value):
                continue
            kind = "secret"
        if not value or value.lower().decode("latin-1") in _NOTHING or MASKED.fullmatch(value):
            continue
        if word.endswith(b"tokens") and value.isdigit():  # a count: max_tokens
            continue
        if word.endswith(b"address") and b" " not in value:  # a host's, or 0x7f...: no person's
            continue
        if kind == "personal" and b"@" in value:
            kind = "email"
        done = end
        bare = text[start - 1 : start] not in (b"'", b'"')
        yield start, end, kind, value, _OWN_QUOTE.match(between)[0] if bare else b""


_KEY = re.compile(rb"(?i)key$")
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
_BARE = re.compile(rb"""[^\s,;&"'<>(){}\[\]\\]+""")
_LINE = re.compile(rb"""[^\r\n"'\\]+""")
_PAIRS = re.compile(
    rb"""(?:Digest|OAuth|Signature|Hawk|MAC) (?:=\\*"[^\r\n"\\]{0,500}\\*"|[^\r\n"'\\]){1,2000}"""
)


def _opens(text: bytes, match: "re.Match[bytes]") -> bool:
    """Whether a field's name is that of an XML element with a prefix."""
    return bool(_PREFIX.search(text[max(0, match.start() - 24) : match.start()]))


def _value(text: bytes, at: int, header: bool, loose: bool, strong: bool) -> tuple[int, int] | None:
    """Where the value that begins at `at` stands, without its quotes."""
    if quote := _QUOTE.match(text, at):
        return quote.end(), _closing(text, quote.end(), quote[1], quote[2])
    if text[at : at + 1] in (b"[", b"{") and not loose:
        return _container(text, at)
    if text[at : at + 1] == b"(":  # Key (phone)=(0151 2345)
        end = text.find(b")", at)
        return at + 1, end if end > 0 else len(text)
    bare = (_PAIRS.match(text, at) or _LINE.match(text, at)) if header else _BARE.match(text, at)
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
