"""HTTP to an API of dead letters: bounded in time and size, token kept out of every text, GETs retried, POSTs never."""

import json
import re
import ssl
import time
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.redact import redact
from dlqanalysis.sources._json_text import number

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST_BYTES = 128 * 2**20  # of one answer; a page of 500 rows has about 2 MB
_PACKINGS = {"gzip", "x-gzip", "deflate", "br", "zstd"}  # some servers write a charset there
_RETRIED = (429, 502, 503, 504)
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Unreachable(ConnectError):
    """There is no connection at all: asking for something else there is of no use."""


class Failing(ConnectError):
    """The server fails on its side (5xx): another road to the same data may do."""


class NoAnswer(Exception):
    """A POST that was not answered: `sent` says whether the server may have got it."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> Any:
        """The content as JSON; ValueError when it is none. A number longer than Python reads is text: it stands in one
        failure's payload, and the others can be read."""
        try:
            try:
                return json.loads(self.content)
            except ValueError:
                return json.loads(self.content, parse_int=number)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def retry_after(self) -> float:
        """Seconds the server asks to wait, from Retry-After as a number or a date; 1 when it does not say."""
        value = self.headers.get("retry-after", "").strip()
        try:
            if re.fullmatch(r"\d+(\.\d+)?", value):
                return float(value)
            when = parsedate_to_datetime(value)
            return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError, OverflowError):
            return 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """What the sentences and the addresses of one kind of API have of their own."""

    scheme: str  #: `admin`: URLs are admin+https://... and admin+http://..., places are called admin:host
    title: str  #: what people call it, with its article
    usual_path: str
    begins: str  #: what follows the URL's path, for those who wrote another one
    right: str  #: what a token that is refused lacks
    header: str = (
        "Authorization: Bearer"  #: the header that takes the token, and what stands before it
    )


class Client:
    """One API at one place, such as `admin+https://host/api/v1/admin/dlq`."""

    def __init__(
        self,
        api: Api,
        url: str,
        token: str | None = None,
        *,
        token_name: str,
        hide: Sequence[str] = (),
        timeout: float = 30.0,
        tries: int = 3,
        longest_wait: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api = api
        self.origin, self.base = _place(api, url, token_name)
        host = self.origin.partition("://")[2]
        self.place = f"{api.scheme}:{host}{'' if self.base == api.usual_path else self.base}"
        self.token_name, self.longest_wait = token_name, longest_wait
        self.in_clear = self.origin.startswith("http:") and (
            httpx.URL(self.origin).host not in _LOOPBACK
        )
        self._token, self._timeout, self._tries, self._sleep = (
            _checked(token, token_name), timeout, tries, sleep,
        )  # fmt: skip
        self.has_token = bool(self._token)
        #: what no text may show: the token, and what it was made of, such as a password; the longest first
        self._hidden = sorted(filter(None, {self._token, *hide}), key=len, reverse=True)
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "dlqanalysis",
        }
        if self._token:
            header, _, before = api.header.partition(":")
            headers[header] = f"{before.strip()} {self._token}".strip()
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            verify=_trust(self.origin),
            follow_redirects=False,  # another place would get the token
        )
        weakref.finalize(self, self._http.close)  # a notebook forgets to

    def __repr__(self) -> str:
        return f"Client({self.place})"

    def close(self) -> None:
        """Give connections back."""
        self._http.close()

    def get(
        self, path: str, params: Mapping[str, Any] | None = None, *, also: Sequence[int] = ()
    ) -> Answer:
        """GET below the API's base (or an absolute `/path` of the host when it starts with //).

        Gives 2xx, 400, 404, 405, 422 and `also` to the caller; tries again what a moment later may work;
        Failing for other 5xx, ConnectError for everything else.
        """
        shown = self._shown(path)
        for tries_left in reversed(range(self._tries)):
            try:
                answer = self._exchange("GET", path, params=params)
            except httpx.HTTPError as error:
                if not tries_left or _hopeless(error):
                    kind = Unreachable if isinstance(error, _NO_CONNECTION) else ConnectError
                    raise kind(self._why(error, shown)) from None
                wait = 0.5 * (self._tries - tries_left)
            else:
                if answer.status in also:
                    return answer
                if answer.status not in _RETRIED or not tries_left:
                    return self._allowed(answer, shown)
                wait = answer.retry_after()
                if wait > self.longest_wait:
                    return self._allowed(answer, shown)
            self._sleep(wait)
        raise AssertionError("the last try returns or raises")

    def get_json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.get(path, params)
        shown = self._shown(path)
        if answer.status == 404:
            raise ConnectError(
                f"{shown} is not there (404: {self.words(answer)}). Check the path in the URL: it ends"
                f" where {self.api.begins} begin, usually {self.api.usual_path}."
            )
        if answer.status >= 400:
            raise ConnectError(f"{shown} was refused ({answer.status}): {self.words(answer)}.")
        return self.parsed(answer, shown)

    def parsed(self, answer: Answer, shown: str) -> Any:
        """An answer's JSON, or a sentence about what came instead."""
        try:
            return answer.json()
        except ValueError:
            kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
            what = "a web page" if _is_page(answer) else f"something that is no JSON ({kind})"
            raise ConnectError(
                f"{shown} answers with {what}. Check host and path in the URL; a login page in between"
                f" means that the API is not reached, or that {self.token_name} is not accepted."
            ) from None

    def post(self, path: str, body: Mapping[str, Any], request_id: str = "") -> Answer:
        """POST once, whatever happens. NoAnswer when it was not answered.

        No Idempotency-Key goes with it: a published middleware for this API handles a request that has
        one a second time when storing the key fails.
        """
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Request-ID": quote(request_id, safe="/:-")} if request_id else {}
        try:  # half a character in an id goes back as the escape that it came as
            return self._exchange("POST", path, content=json.dumps(body).encode(), headers=headers)
        except _NO_CONNECTION as error:
            raise NoAnswer(self._why(error, self._shown(path)), sent=False) from None
        except httpx.HTTPError as error:
            raise NoAnswer(self._why(error, self._shown(path)), sent=True) from None

    def words(self, answer: Answer) -> str:
        """The server's own words about a refusal: redacted, on one line, at most 200 characters."""
        try:
            said = _said(answer.json())
        except ValueError:
            said = answer.content[:20_000].decode("utf-8", "replace")
            if _is_page(answer):
                title = re.search(r"<title[^>]*>([^<]{1,200})", said, re.IGNORECASE)
                said = title[1] if title else "a web page"
        for secret in self._hidden:
            said = said.replace(secret, "***")
        said = "".join(sign if sign.isprintable() else " " for sign in redact(said[:2000]))
        said = " ".join(said.split()).rstrip(".")
        return said if len(said) <= 200 else said[:199] + "…"

    def _exchange(self, method: str, path: str, **options: Any) -> Answer:
        url = self.origin + path[1:] if path.startswith("//") else self.origin + self.base + path
        until = time.monotonic() + 2 * self._timeout  # a drip of bytes resets httpx's own timeout
        try:
            with self._http.stream(method, url, **options) as response:
                return answered(response, until)
        except httpx.InvalidURL as error:  # an id of 100,000 characters is part of it
            raise httpx.UnsupportedProtocol(str(error)) from None

    def _allowed(self, answer: Answer, shown: str) -> Answer:
        status = answer.status
        if status < 300 or status in (400, 404, 405, 422):
            return answer
        if status == 401:
            has = "is not accepted" if self._token else "is not set"
            raise ConnectError(
                f"{shown} wants a valid token (401): {self.token_name} {has}. Set it to a current"
                f" {self.api.scheme} token of {self.origin}."
            )
        if status == 403:
            raise ConnectError(
                f"{shown} refuses this token (403: {self.words(answer)}). {self.token_name} needs"
                f" {self.api.right}."
            )
        if status < 400:
            to = httpx.URL(self.origin).join(_location(answer))
            raise ConnectError(
                f"{shown} sends us to {to.scheme}://{to.host}{to.path} ({status}). Tokens do not follow:"
                " write that place into the URL if it is right."
            )
        if status == 429:
            raise ConnectError(
                f"{shown} says too many requests (429), to come back in {answer.retry_after():.0f} s."
                " Read less at once, or later."
            )
        raise Failing(
            f"{shown} fails on its side ({status}: {self.words(answer)}). Look into the API's log."
        )

    def _shown(self, path: str) -> str:
        return self.origin + (path[1:] if path.startswith("//") else self.base + path)

    def _why(self, error: httpx.HTTPError, shown: str) -> str:
        """A sentence for what httpx met; never its request, whose headers hold the token."""
        if isinstance(error, httpx.TimeoutException):
            return (
                f"{shown} did not answer within {self._timeout:g} s. Is the API up, and the host"
                " reachable from here?"
            )
        if isinstance(error, httpx.ConnectError):
            if tls := _tls(error):
                return f"TLS with {self.origin} failed: {tls}"
            return (
                f"{self.origin} cannot be reached ({_brief(error)}). Check host and port, and whether the"
                " API is up."
            )
        if isinstance(error, httpx.ReadError) and "MB" in str(error):
            return f"{shown}: {error}. Read less at once."
        if isinstance(error, httpx.UnsupportedProtocol):
            return f"{shown[:200]} cannot be asked ({_brief(error)})."
        if isinstance(error, httpx.DecodingError):
            return f"{shown} answers with what cannot be unpacked ({_brief(error)})."
        return f"{shown} dropped the connection without a whole answer ({_brief(error)})."


def answered(response: httpx.Response, until: float) -> Answer:
    """A streamed answer, whole: no larger than some bytes, and no later than `until` (of the monotonic clock)."""
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing != "gzip" and set(re.split(r"[\s,]+", packing)) & _PACKINGS:
        raise httpx.DecodingError(f"it is packed as {packing[:40]}, asked for was gzip")
    unpack = zlib.decompressobj(wbits=31).decompress if packing == "gzip" else None
    content = bytearray()
    for chunk in response.iter_raw():
        try:  # bounded here: httpx unpacks a chunk whole, gzip within gzip to any size
            content += unpack(chunk, _MOST_BYTES + 1) if unpack else chunk
        except zlib.error as error:
            raise httpx.DecodingError(f"its gzip is broken: {error}") from None
        if len(content) > _MOST_BYTES:
            raise httpx.ReadError(f"the answer has more than {_MOST_BYTES >> 20} MB")
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end")
    return Answer(response.status_code, response.headers, bytes(content))


def _trust(origin: str) -> ssl.SSLContext:
    """The usual authorities, or SSL_CERT_FILE's; for plain http none, since loading them takes 0.1 s."""
    if origin.startswith("https:"):
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _place(api: Api, url: str, token_name: str) -> tuple[str, str]:
    """Origin and base path of a `scheme+https://host[:port][/path]`; never shows the URL itself."""
    usual = f"{api.scheme}+https://host{api.usual_path}"
    scheme, _, rest = url.partition("://")
    try:
        plain = {f"{api.scheme}+https": "https", f"{api.scheme}+http": "http"}[scheme]
        parsed = httpx.URL(f"{plain}://{rest}")
        host, port = parsed.host, parsed.port
    except (KeyError, httpx.InvalidURL, ValueError, TypeError):
        raise SettingsError(f"That is no URL of {api.title}. Write {usual}.") from None
    if not host:
        raise SettingsError(f"The URL of {api.title} has no host. Write {usual}.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError(
            f"The URL of {api.title} holds more than a place. Write {usual}, and the token into {token_name}."
        )
    base = parsed.path.rstrip("/") or api.usual_path
    host = f"[{host}]" if ":" in host else host
    return f"{parsed.scheme}://{host}{f':{port}' if port else ''}", base


def _checked(token: str | None, token_name: str) -> str:
    token = (token or "").strip().removeprefix("Bearer ").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise SettingsError(
            f"{token_name} holds characters that no bearer token has (blanks, control characters or"
            " other than ASCII). Copy the token again."
        )
    return token


def _said(answer: Any) -> str:
    """What a JSON refusal says: FastAPI's `detail` as text or as a list of fields, or another usual name."""
    if isinstance(answer, Mapping):
        for name in ("detail", "error", "message", "errors"):
            if answer.get(name):
                return _said(answer[name])
        return "no reason given"
    if isinstance(answer, list):  # `input` of such an entry would be the payload: left out
        parts = [
            f"{_place_of(entry.get('loc'))}: {entry.get('msg', '')}"
            if isinstance(entry, Mapping)
            else str(entry)
            for entry in answer[:5]
        ]
        return "; ".join(parts)
    return str(answer)


def _place_of(loc: Any) -> str:
    """`body.task_id`, or what else stands there."""
    return ".".join(map(str, loc)) if isinstance(loc, list) else str(loc or "")


def _is_page(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.content.lstrip()[:1] == b"<"


def _location(answer: Answer) -> str:
    try:
        where = httpx.URL(answer.headers.get("location", ""))
        return str(where.copy_with(query=None, fragment=None, username=None, password=None))
    except (httpx.InvalidURL, ValueError, TypeError):
        return ""


def _tls(error: BaseException | None) -> str:
    """What went wrong with TLS, or nothing when it was something else."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the certificate is not trusted ({error.verify_message}). Set SSL_CERT_FILE to your"
                " authority's certificate; checking cannot be switched off."
            )
        if isinstance(error, ssl.SSLError):
            return f"{error.reason or 'no TLS'}. Does this port speak plain http (+http://)?"
        error = error.__cause__ or error.__context__
    return ""


def _hopeless(error: httpx.HTTPError) -> bool:
    return bool(_tls(error)) or "MB" in str(error) or isinstance(error, httpx.UnsupportedProtocol)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
