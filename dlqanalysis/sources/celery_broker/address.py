"""Where a Celery broker is: `celery+redis://:password@host:6379/0`, `celery+amqp://user:password@host/vhost`.

| option | means |
|---|---|
| queues | queues to look at, with commas, besides those that workers and bindings name |
| timeout | seconds that workers have to answer; default 2 |
| visibility_timeout | Redis: after how long a taken task is given out again, such as 12h; default 1h |
| prefix | Redis: global_keyprefix of the application |
| ca | the certificate authority's file, for rediss and amqps |
"""

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dlqanalysis.errors import PERCENT, SettingsError, did_you_mean
from dlqanalysis.model import duration, words
from dlqanalysis.sources import _amqp, _redis

_OPTIONS = ("queues", "timeout", "visibility_timeout", "prefix", "ca")
_WORKERS_OWN = ("ssl_cert_reqs", "ssl_ca_certs")  #: of broker URLs as workers have them
_SCHEMES = ("redis", "rediss", "amqp", "amqps")
_EXAMPLE = "celery+redis://:password@host:6379/0 or celery+amqp://user:password@host:5672/vhost"


@dataclass(frozen=True, kw_only=True)
class Address:
    """One broker. Its text and repr hold no secret."""

    broker: str = field(repr=False)  #: the URL as Celery takes it, without options
    scheme: str
    place: str  #: host, port and database or vhost: what may be shown
    queues: tuple[str, ...] = ()
    timeout: float = 2.0
    visibility: timedelta = timedelta(hours=1)
    prefix: str = ""
    ca: str | None = None
    server: _redis.Server | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address behind a URL, or a sentence about what is wrong with it."""
        bare = url.removeprefix("celery+")
        try:
            parts = urlsplit(bare)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.path:
            raise SettingsError(f"This broker URL cannot be read. Write {_EXAMPLE}, {PERCENT}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in (*_OPTIONS, *_WORKERS_OWN):
                raise SettingsError(
                    f"'{name[:40]}' is no option of a broker's URL. {did_you_mean(name, _OPTIONS)}"
                )
        ca = options.get("ca") or options.get("ssl_ca_certs") or None
        plain = urlunsplit(parts._replace(query="", fragment=""))
        server = None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if parts.scheme.startswith("redis"):
            asked = f"{plain}?{urlencode({'ca': ca}, quote_via=quote)}" if ca else plain
            server, _ = _redis.parse(asked, {"redis": False, "rediss": True}, (), _EXAMPLE)
            place = f"redis:{server}"
        else:
            place = f"amqp:{host}:{port or (5671 if parts.scheme == 'amqps' else 5672)}"
            place += f"/{'' if _amqp.vhost(plain) == '/' else _amqp.vhost(plain)}"
        return cls(
            broker=plain,
            scheme=parts.scheme,
            place=place,
            queues=words(options.get("queues")),
            timeout=_seconds(options.get("timeout") or "2"),
            visibility=duration(options.get("visibility_timeout") or "1h"),
            prefix=options.get("prefix", ""),
            ca=ca,
            server=server,
        )

    @property
    def name(self) -> str:
        """`celery:redis:host:6379/0`: system and place."""
        return f"celery:{self.place}"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 60:
        raise SettingsError(f"timeout={text[:20]} is no number of seconds above 0 and up to 60.")
    return seconds
