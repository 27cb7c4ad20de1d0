"""Celery result backends: `results+redis://host/1`, `results+postgresql://host/database`. Read only.

Options: `prefix` (Redis; default celery-task-meta-), `ca` (rediss; the certificate authority's file), `table`
(Postgres; default: celery_taskmeta and django_celery_results_taskresult, whichever is there), `expires`
(Postgres; result_expires, such as 1d).
"""

from urllib.parse import parse_qsl, urlencode, urlunsplit

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.model import duration
from dlqanalysis.sources import _url
from dlqanalysis.sources.celery_results.source import ResultSource

__all__ = ["ResultSource", "open_source"]

_REDIS = ("prefix",)
_POSTGRES = ("table", "expires")
_LIBPQ = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "options",
    "connect_timeout",
    "host",
    "port",
)

CAN = {"read": "failed results; arguments only where the backend was told to keep them"}
CANNOT = {
    "replay": "a result does not hold the message: connect the hand to the failed_tasks table or the dead-letter queue"
    " of the same tasks (they share their task_id)",
}


def open_source(url: str, name: str = "celery") -> ResultSource:
    """The source at a URL, whatever its name. Connects when it is first read."""
    parts = _url.parts_of(url.removeprefix("results+"))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme in ("redis", "rediss"):
        ours, known = _REDIS, (*_REDIS, "ca")
    else:
        ours, known = _POSTGRES, (*_POSTGRES, *_LIBPQ)
    for option in options:
        if option not in known:
            raise SettingsError(
                f"'{option}' is no option of a result backend's URL. {did_you_mean(option, known)}"
            )
    mine = {option: options.pop(option) for option in ours if option in options}
    bare = urlunsplit(parts._replace(query=urlencode(options)))
    if parts.scheme in ("redis", "rediss"):
        from dlqanalysis.sources.celery_results.keys import Keys

        return ResultSource(Keys(bare, mine.get("prefix") or "celery-task-meta-"))
    from dlqanalysis.sources.celery_results.tables import Tables

    expires = duration(mine["expires"]) if mine.get("expires") else None
    return ResultSource(Tables(bare, mine.get("table") or None, expires))
