"""Where BullMQ's queues live: `bullmq+redis://user:password@host:6379/0?queues=critical,default&prefix=bull`.

| option | means |
|---|---|
| queues | which queues; default: every queue of the prefix that has failures |
| prefix | how BullMQ's keys begin; default: bull |
| ca | the file with the certificate authority, for rediss |
| reset_attempts | yes: a replayed job gets all its attempts again; default: one run and no more |
| pause | yes: the queue is paused while a batch is put back, and goes on after it |
"""

from dataclasses import dataclass
from urllib.parse import unquote

from dlqanalysis.errors import SettingsError
from dlqanalysis.sources import _redis

_SCHEMES = {"bullmq+redis": False, "bullmq+rediss": True}
_OPTIONS = ("queues", "prefix", "reset_attempts", "pause")


@dataclass(frozen=True, kw_only=True)
class Address(_redis.Server):
    """One Redis database with BullMQ queues. Its text and repr hold no secret."""

    prefix: str = "bull"
    queues: tuple[str, ...] = ()
    reset_attempts: bool = False
    pause: bool = False

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address behind a URL."""
        example = "bullmq+redis://user:password@host:6379/0?queues=default"
        server, options = _redis.parse(url, _SCHEMES, _OPTIONS, example)
        names = [unquote(name) for name in options.get("queues", "").split(",") if name]
        return cls(
            **vars(server),
            prefix=unquote(options.get("prefix", "")) or "bull",
            queues=tuple(dict.fromkeys(names)),
            reset_attempts=_yes("reset_attempts", options),
            pause=_yes("pause", options),
        )

    @property
    def name(self) -> str:
        """`bullmq:host:6379/0`, with the prefix where it is not the usual one; the same for source and hand."""
        return f"bullmq:{self}" + (f"/{self.prefix}" if self.prefix != "bull" else "")


def _yes(option: str, options: dict[str, str]) -> bool:
    value = unquote(options.get(option, "no")).lower()
    if value not in ("yes", "no", "true", "false", "1", "0"):
        raise SettingsError(f"{option}={value[:20]} says neither yes nor no. Write ?{option}=yes.")
    return value in ("yes", "true", "1")
