"""A URL in its parts, and what may be shown of it."""

from urllib.parse import SplitResult, urlsplit

from dlqanalysis.errors import PERCENT, SettingsError


def slid(url: str) -> bool:
    """Whether the end of a password seems to stand in another part of a URL: a bare / ? or # in it leads there, and
    what names that part would tell it.

    >>> slid("amqp://me:17?s3cret@host/vhost"), slid("amqp://me:17%3Fs3cret@host/vhost?queue=a@b")
    (True, False)
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    names = [pair.partition("=")[0] for pair in parts.query.split("&")]
    return any("@" in text for text in (parts.path, parts.fragment, *names))


def parts_of(url: str) -> SplitResult:
    """The parts of a URL as Celery has it. One that cannot be read is not shown: urllib's own words quote it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is no number
        if slid(url):
            raise ValueError
    except ValueError:
        raise SettingsError(
            "The URL of a broker or result backend cannot be read. Write redis://:password@host:6379/0,"
            f" amqp://user:password@host:5672/vhost or postgresql://user:password@host:5432/database, {PERCENT}"
        ) from None
    return parts


def place(url: str) -> str:
    """Scheme, host and port: what may be shown of a URL."""
    parts = parts_of(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":")
