"""Log files of Celery workers: `celery.log`, `celery.log*`, `log+file:///var/log/celery.log?tz=Europe/Berlin`,
and what `journalctl -o json` wrote (`worker.journal.json`, or .jsonl). Read only.

Options: `tz` (the zone of the worker's clock; times in a log have none, and none is guessed), `line` (a regular
expression for the beginning of a line, with the groups time and message, and worker where it is told), `time` (how
its time is written, in strptime's words, where it is not ISO 8601).
"""

from dlqanalysis.sources.logs.address import Address
from dlqanalysis.sources.logs.source import LogSource

__all__ = ["LogSource", "open_source"]

CAN = {
    "read": "failures, retries and later successes of tasks, with tracebacks, as far back as the files go",
}
CANNOT = {
    "replay": "a log does not hold arguments or messages: connect the hand to the system that the tasks came from (they"
    " share their task_id)",
    "monitor": "a log tells what was, not how deep queues are: set DLQ_<NAME>_BROKER_URL",
}


def open_source(url: str, name: str = "logs") -> LogSource:
    """The source for a path, a pattern such as celery.log*, or a log+file URL. Files are read when asked for."""
    return LogSource(Address.parse(url))
