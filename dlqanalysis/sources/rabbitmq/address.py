"""Where dead-letter queues live: `amqp://user:password@host:5672/vhost?queue=memos.dlq,emails.dlq`.

| option | means |
|---|---|
| queue | the dead-letter queues, with commas |
| delivery_limit | the limit of quorum queues where it cannot be asked: a number, or `none` |
| most | how many messages of one queue are read at most; default 50000 |
| near_limit | `republish`: read a quorum queue near its delivery limit all the same, publishing anew at its end what is at it; default `refuse` |
| ca | the certificate authority's file, for amqps and the management API's https |
| ids | `same`: replay under the old task ids; default `new` |
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from dlqanalysis.errors import PERCENT, SettingsError, did_you_mean
from dlqanalysis.sources import _amqp, _url

_OPTIONS = ("queue", "delivery_limit", "most", "near_limit", "ids", "ca")
MOST = 50_000


@dataclass(frozen=True, kw_only=True)
class Address:
    """Some queues of one vhost. Its text and repr hold no secret."""

    url: str = field(repr=False)
    queues: tuple[str, ...]
    delivery_limit: int | None = None
    unlimited: bool = False  #: somebody said that there is no delivery limit
    most: int = MOST
    republishes: bool = False  #: near a delivery limit; else reading is refused there
    same_ids: bool = False
    management: str | None = field(default=None, repr=False)
    ca: str | None = None

    @classmethod
    def parse(cls, url: str, management: str | None = None) -> "Address":
        """The address behind a URL, or a sentence about what is wrong with it."""
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises for a port that is no number
            if "@" in (parts.hostname or "") or "@" in parts.path:
                raise ValueError
        except ValueError:
            raise SettingsError(
                f"This AMQP URL cannot be read. Write amqp://user:password@host:5672/vhost?queue=NAME, {PERCENT}"
            ) from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in _OPTIONS:
                raise SettingsError(
                    f"'{name}' is no option of an AMQP URL. {did_you_mean(name, _OPTIONS)}"
                )
        queues = tuple(q.strip() for q in options.get("queue", "").split(",") if q.strip())
        if not queues:
            raise SettingsError(
                "The AMQP URL names no dead-letter queue. Add ?queue=NAME, several with commas."
            )
        limit = options.get("delivery_limit", "")
        if options.get("ids", "new") not in ("new", "same"):
            raise SettingsError("ids is 'new' or 'same'.")
        if options.get("near_limit", "refuse") not in ("refuse", "republish"):
            raise SettingsError("near_limit is 'refuse' or 'republish'.")
        return cls(
            url=url,
            queues=tuple(dict.fromkeys(queues)),
            delivery_limit=_number("delivery_limit", limit) if limit not in ("", "none") else None,
            unlimited=limit == "none",
            most=_number("most", options.get("most") or str(MOST)),
            republishes=options.get("near_limit") == "republish",
            same_ids=options.get("ids") == "same",
            ca=options.get("ca") or None,
            management=management,
        )

    @property
    def vhost(self) -> str:
        """The vhost, "/" where the URL names none."""
        return _amqp.vhost(self.url)

    @property
    def name(self) -> str:
        """`rabbitmq:memos.dlq`; with the vhost where it is not the default one."""
        where = "" if self.vhost == "/" else f"{self.vhost}/"
        return f"rabbitmq:{where}{','.join(self.queues)}"

    def __str__(self) -> str:
        return _url.place(self.url)


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise SettingsError(f"{name}={text[:20]} is no whole number above 0.")
    return int(text)
