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
    rb"|(?P<option>[ \t\"'](?:-[pPakw]|--?(?:pass(?:word|phrase|wd)?|storepass|keypass|account-key|token|secret)[ =]?))"
    rb"|(?P<last>\b(?:(?:rabbitmqctl|rabbitmqadmin)\b[^\n|;&]{0,80}?\b(?:add_user|change_password|authenticate_user)"
    rb"|htpasswd[ \t]+-\w*b\w*[ \t]+\S{1,100}|(?:docker|helm|npm)[ \t]login|aws configure set (?:aws_)?secret\w*"
    rb"|(?:vault|gh auth|heroku auth:token) login|mysqladmin\b[^\n|;&]{0,80}?\bpassword|sudo -S <<<|chpasswd <<<)[ \t]+)"
    rb"|(?P<netrc>\bmachine[ \t]+\S{1,100}\s+login[ \t]+\S{1,100}\s+password[ \t]+)"
    rb"|(?P<dial>\b(?:wa\.me/|(?:tel|sms|callto|sip|whatsapp):)\+?\d{8,15}\b)"
    rb"|(?P<greeting>\b(?:Dear|Hello|Hi|Hallo|Hola|Liebe[rs]?|Bonjour|M(?:r|rs|s|me)\.?|Dr\.?|Herr[n]?|Frau|Se\xc3\xb1ora?|Sra?\.)[ \t])"
    rb"|(?P<login>\bUGFzc3dvcmQ6\s{1,4}(?:[CS>:]+[ \t])?)"
    rb"|(?P<both>\bcredentials[ \t]{0,2}[:=][ \t]{0,2}\S{1,80}[ \t]{1,2}(?:/[ \t]{1,2})?)"
    rb"|(?P<born>\b(?i:date of birth|birth ?date|born(?: on)?|geboren am|geb\.|dob)[ \t]{0,2}[:=]?[ \t]{0,2})"
    rb"|(?P<input>\binput_value=[\"'])"
    rb"|(?P<host>@[\w-]{1,60}:\d{2,5}\b)"
    rb"|(?P<pgpass>(?:^|[\n \t\"'])(?:[\w.-]{1,80}|\*):(?:\d{4,5}|\*):(?:[A-Za-z_][\w-]{0,60}|\*):[A-Za-z_][\w.-]{0,60}:)"
    rb"|(?P<slash>\b(?:sqlplus|exp|imp|expdp|impdp|sqlldr)[ \t]+(?:-\w+[ \t]+)*[\w$.-]{1,60}/)"
    rb"|(?P<share>\b(?:smbclient|rpcclient|net|lftp|mount)\b[^\n|;&]{0,100}(?:-U|-u|user=)[ \t]*[\w.\\$-]{1,60}[%,])"
    rb"|(?P<redis>\bAUTH[ \t]{1,3}|(?i:\b(?:requirepass|masterauth)[ \t]{1,3}))"
    rb"|(?P<reply>\bname: 'auth',\s{1,20}args: \[)"
    rb"|(?P<told>(?i:\byour (?:[a-z-]{1,20} ){0,2}(?:code|pin|otp)(?: is|:) ))"
    rb"|(?P<thin>\bjdbc:oracle:\w{2,4}:[\w$.-]{1,60}/)"
    rb"|(?P<call>\b(?:[A-Z][A-Za-z]{0,30})?(?:Auth|Secret(?:Str|Bytes)?|Password|Credentials?)\("
    rb"|(?:\.|\b)(?i:login|simple_bind(?:_s)?|authenticate|log_?in|connect|bind|set_?password|check_?password|auth)\()"
    rb"|(?P<prose>(?i:\b(?:pass(?:word|phrase|wd|code)|api[ _-]?key|(?:access|auth|refresh|secret)[ _-](?:token|key))"
    rb"(?:[ \t]{1,2}(?:is|was|provided|given|used|supplied|set to|of))?:?[ \t]{1,2}"
    rb"|\b(?:token|secret)[ \t]{1,2}(?:is|was)[ \t]{1,2}))"
    rb"|(?P<named>(?i:\b(?:token|secret|signature|credentials?|licen[sc]e|api[ _-]?key|otp|pin|code|cookie|session)s?\b"
    rb"(?:[ \t]{1,2}(?:is|was|of|for|value|used|id|expired|rejected|revoked|provided|given|not found|invalid))?[ \t]{0,2}[:=]?[ \t]{0,2}[\"'`]?))"
    rb"|(?P<pair>(?i:\b(?:name|key|field|header|variable)\\*[\"']?[ \t]{0,3}[:=][ \t]{0,3}\\*[\"']?))"
)
_PAIR = re.compile(
    rb"""([\w.-]{2,60})\\*["'](?:>|/?>[ ]*<value>)|"""
    rb"""([\w.-]{2,60})\\*["']?[,;]?(?:\s|\\{1,3}[nrt]){0,40}(?:-\s)?\\*["']?(?i:value|val|content)\\*["']?\s{0,3}[:=]\s{0,3}(?:\\*["'])?"""
)
_WORD = re.compile(rb"""(?:\\*["'])?([^\s"'\\,;]{1,300})""")
_UNTIL = re.compile(rb"""[^\s"'<>\\]{1,300}""")
_USER = re.compile(rb"""\\*["']?([^\s"':/\\]{1,100}):([^\s"'\\/][^\s"'\\]{0,300})""")
_OPTION = re.compile(rb"""[ \t]?\\*["']?([^\s"'\\-][^\s"'\\]{0,300})""")
#: Which letter of a command takes a password; "" where it must be glued to it.
_TAKES = (
    (rb"my(?:sql|sqldump|sqladmin)|mariadb[\w-]*", b"-p", True),
    (
        rb"sshpass|(?:docker|podman|az|oc|helm) (?:registry )?login|mongo(?:sh|dump|restore)?|7z\w?|net",
        b"-p",
        False,
    ),
    (rb"redis-cli|valkey-cli", b"-a", False),
    (rb"(?:un)?zip|sqlcmd|bcp|osql", b"-P", False),
    (rb"openssl|pgbench", b"-k", False),
    (rb"ldap(?:search|modify|add|whoami|delete|passwd)|docker-credential", b"-w", False),
)
_TOOL = tuple(
    (re.compile(rb"(?<![\w-])(?:" + tool + rb")\b[^\n|;&]*$"), letter, glued)
    for tool, letter, glued in _TAKES
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
            yield start, end, _KINDS.get(match.lastgroup.decode(), "secret"), value, b""


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
    """mysql -psecret, sshpass -p secret, redis-cli -a secret, keytool -storepass secret."""
    found, letter = _OPTION.match(text, match.end()), match[0][1:]
    if found is None:
        return None
    if len(letter) > 2:  # a word: only after a blank or =, else it is another word
        return found.span(1) if letter.endswith((b" ", b"=")) else None
    before = text[max(0, match.start() - 200) : match.start()]
    apart = text[match.end() : match.end() + 1].isspace()
    takes = any(
        letter == wanted and not (glued and apart) and tool.search(before)
        for tool, wanted, glued in _TOOL
    )
    return found.span(1) if takes else None


def _redis(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """AUTH password, AUTH user password, AUTH PLAIN base64."""
    first = _WORD.match(text, match.end())
    if first is None:
        return None
    if looks_secret(first[1]) or not match[0].startswith(b"AUTH"):
        return first.span(1)
    second = _WORD.match(text, first.end() + 1)
    return second.span(1) if second and _material(second[1]) else None


def _reply(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """The last of a refused Redis command's arguments: args: [ 'user', 'password' ]."""
    inside = re.compile(rb"[^]]{0,300}").match(text, match.end())
    strings = list(_STRING.finditer(text, match.end(), inside.end() if inside else match.end()))
    return strings[-1].span(1) if strings else None


def _told(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """Your code is 839 201."""
    found = re.compile(rb"\d(?:[ -]?\d){3,7}\b").match(text, match.end())
    return found.span() if found else None


def _thin(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """jdbc:oracle:thin:user/password@host."""
    end = text.find(b"@", match.end(), match.end() + 200)
    return (match.end(), end) if end > 0 else None


def _call(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """The last text of HTTPBasicAuth('user', 'password'); of login(...) where there are two."""
    inside = _STRINGS.match(text, match.end())
    strings = list(_STRING.finditer(text, match.end(), inside.end() if inside else match.end()))
    enough = 1 if match[0][:1].isupper() else 2
    return strings[-1].span(1) if len(strings) >= enough else None


def _named(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """token a1b2...: sixteen signs or more of key material behind a word for it."""
    found = _LONG.match(text, match.end())
    return (
        found.span() if found and _UUID.fullmatch(found[0]) is None and _mixed(found[0]) else None
    )


_LONG = re.compile(rb"[\w+/~.=-]{16,500}")
_UUID = re.compile(rb"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}.*")


def _mixed(word: bytes) -> bool:
    """Whether letters and digits change places often: no name, no path, no version."""
    turns = len(re.findall(rb"[A-Za-z](?=\d)|\d(?=[A-Za-z])|[a-z](?=[A-Z])", word))
    return (
        turns >= 3
        and b"/" not in word.strip(b"/=")[:1]
        and not re.search(rb"\.\w{1,4}$|^\w+\.\w+\.", word)
    )


def _both(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """credentials: user password, user / password."""
    word = _WORD.match(text, match.end())
    return word.span(1) if word and _material(word[1]) else None


def _rest(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """What follows whole, up to a blank: user/password of sqlplus up to its @."""
    word = _WORD.match(text, match.end())
    return word.span(1) if word else None


def _last(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """The last argument of a command that takes a password bare."""
    line = re.compile(rb"[^\n|;&<>\"'`]{1,200}").match(text, match.end())
    words = list(re.finditer(rb"\S+", line[0])) if line else []
    wanted = (
        1
        if re.search(rb"-\w*b\w*[ \t]", match[0]) or b"user" in match[0] or b"change_" in match[0]
        else 0
    )
    plain = [word for word in words if not word[0].startswith(b"-")]
    if len(plain) <= wanted:
        return None
    start, end = plain[wanted].span()
    return match.end() + start, match.end() + end


def _slash(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """sqlplus user/password@host."""
    found = re.compile(rb"[^\s@\"']{1,200}").match(text, match.end())
    return found.span() if found else None


_NAME = re.compile(rb"(?:[A-Z\xc3][\w\x80-\xff'.-]{0,30}[ ]?){1,4}")
_NOBODY = frozenset(
    b"World Team All There Customer User Sir Madam Everyone Support Admin Colleagues Friend".split()
)


def _greeting(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """Dear Jo Doe, but not Hello World."""
    name = _NAME.match(text, match.end())
    if name is None or _NOBODY & set(name[0].split()):
        return None
    return match.end(), name.end() - (len(name[0]) - len(name[0].rstrip(b" .")))


def _dial(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """wa.me/4915123456789, tel:4915123456789."""
    digits = re.search(rb"\+?\d+$", match[0])
    return (match.end() - len(digits[0]), match.end()) if digits else None


def _born(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """date of birth 1980-02-03."""
    found = re.compile(rb"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}").match(text, match.end())
    return found.span() if found else None


def _input(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """What a validator prints under the name of a field: password / ... [..., input_value='x']."""
    above = re.findall(
        rb"(?m)^([\w.-]{1,80})\r?\n[ ]{2}", text[max(0, match.start() - 400) : match.start()]
    )
    if not above or kind_of_field(above[-1].decode("latin-1")) is None:
        return None
    end = text.find(text[match.end() - 1 : match.end()], match.end(), match.end() + 300)
    return (match.end(), end) if end > 0 else None


def _host(text: bytes, match: "re.Match[bytes]") -> tuple[int, int] | None:
    """user:password@host:5432 without a scheme."""
    found = re.search(
        rb"""(?:^|[\s"'=(,])[\w.-]{1,60}:([^\s@"':/,]{1,100})$""",
        text[max(0, match.start() - 170) : match.start()],
    )
    return (match.start() - len(found[1]), match.start()) if found else None


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
    if pair is None or kind_of_field((pair[1] or pair[2]).decode("latin-1")) is None:
        return None
    value = _UNTIL.match(text, pair.end())
    return value.span() if value else None


_FOUND = {
    "sql": _quoted, "user": _user, "option": _option, "redis": _redis, "thin": _thin, "reply": _reply, "told": _told,
    "call": _call, "prose": _prose, "pair": _pair, "named": _named, "last": _last, "netrc": _rest,
    "pgpass": _rest, "slash": _slash, "share": _rest, "host": _host,
    "dial": _dial, "greeting": _greeting, "both": _both, "born": _born, "input": _input, "login": _rest,
}  # fmt: skip
_KINDS = {"dial": "phone", "greeting": "personal", "born": "personal"}
