"""Where dead letters are read, and the hands that may write: one line a system.

A new system is one module here with `open_source(url, name)`, and one line in SYSTEMS.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlqanalysis.errors import PERCENT, SettingsError
from dlqanalysis.profile import setting, url_of
from dlqanalysis.sources._url import slid

if TYPE_CHECKING:
    from dlqanalysis.model import Hand, Monitor, Source

#: scheme of a URL -> module below this one
SYSTEMS = {
    "postgresql": "celery",
    "postgres": "celery",
    "postgresql+psycopg": "celery",
    "celery+postgresql": "celery",
    "celery+amqp": "celery_broker",
    "celery+amqps": "celery_broker",
    "celery+redis": "celery_broker",
    "celery+rediss": "celery_broker",
    "admin+http": "admin_api",
    "admin+https": "admin_api",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "results+redis": "celery_results",
    "results+rediss": "celery_results",
    "results+postgresql": "celery_results",
    "bullmq+redis": "bullmq",
    "bullmq+rediss": "bullmq",
    "priority+http": "priority_api",
    "priority+https": "priority_api",
    "priority+redis": "priority_redis",
    "priority+rediss": "priority_redis",
    "list+redis": "redis_list",
    "list+rediss": "redis_list",
    "log+file": "logs",
    "queue+http": "queue_api",
    "queue+https": "queue_api",
    "prometheus+http": "prometheus",
    "prometheus+https": "prometheus",
}
#: names of log files: celery.log, celery.log.1, celery.log-20261122.gz, celery*.log*, worker.journal.json
_LOG = re.compile(r"\.log([.*?-]|$)|\.journal\.jsonl?$")


def connect(name_or_url: "str | Path") -> "Source":
    """A source that reads: from a name (`DLQ_<NAME>_URL`), a URL, or the path of an export or snapshot."""
    place = str(name_or_url)
    if _is_path(place):
        return _of_path(place).open_source(place)
    url = url_of(place)
    if _is_path(url):  # a name may stand for an export, too
        return _of_path(url).open_source(url)
    return _module(url).open_source(url, _name(place, url))


def connect_hand(name_or_url: str) -> "Hand":
    """The hand that writes: from a name (`DLQ_<NAME>_HAND_URL`, else `DLQ_<NAME>_URL`) or a URL."""
    if _is_path(name_or_url):
        raise SettingsError(
            f"{name_or_url} is an export: nothing can be replayed from it. Connect the hand to the system that"
            " it came from."
        )
    url = name_or_url
    if "://" not in url:
        # a queue API that is looked at has a MONITOR_URL only: what it lacks is this one
        url = setting(url, "HAND_URL") or setting(url) or url_of(url, "HAND_URL")
    module = _module(url)
    if not hasattr(module, "open_hand"):
        why = getattr(module, "CANNOT", {}).get("replay") or (
            "the kit has no hand for it: connect the hand to the system that the failures came from"
        )
        raise SettingsError(f"{_shown(name_or_url)} cannot be replayed from: {why}.")
    return module.open_hand(url, _name(name_or_url, url))


def connect_monitor(name_or_url: str) -> "Monitor":
    """What tells how a system is now, from a name (`DLQ_<NAME>_MONITOR_URL`, else `DLQ_<NAME>_BROKER_URL`,
    else `DLQ_<NAME>_URL`) or a URL."""
    if _is_path(name_or_url):
        raise SettingsError(
            f"{name_or_url} is an export: it has no queues and no workers to look at."
        )
    url = name_or_url
    if "://" not in name_or_url:
        broker = setting(name_or_url, "BROKER_URL")
        url = setting(name_or_url, "MONITOR_URL") or (f"celery+{broker}" if broker else url_of(url))
    module = _module(url)
    if not hasattr(module, "open_monitor"):
        raise SettingsError(
            f"{_shown(name_or_url)} tells nothing of queues and workers. For Celery, set DLQ_<NAME>_BROKER_URL;"
            " for others, DLQ_<NAME>_MONITOR_URL."
        )
    return module.open_monitor(url, _name(name_or_url, url))


def capabilities(name_or_url: str) -> pd.DataFrame:
    """What can be done with a system: capability, can (bool), how (a sentence; for what cannot be done, why).

    Nothing is connected to: it tells what the kit can do there, not what your credentials allow.
    """
    if _is_path(name_or_url) or _is_path(url_of(name_or_url)):
        module = _of_path(name_or_url if _is_path(name_or_url) else url_of(name_or_url))
    else:
        module = _module(url_of(name_or_url))
    if not (hasattr(module, "CAN") and hasattr(module, "CANNOT")):
        raise SettingsError(
            f"{module.__name__} does not say what it can do. Give it CAN and CANNOT, a sentence for each capability."
        )
    rows = [(name, True, how) for name, how in module.CAN.items()]
    rows += [(name, False, why) for name, why in module.CANNOT.items()]
    frame = pd.DataFrame(rows, columns=["capability", "can", "how"])
    return frame.astype({"capability": "str", "how": "str"})


def _is_path(place: str) -> bool:
    if "://" in place:
        return False
    path = Path(place)
    exports = (".parquet", ".jsonl", ".ndjson", ".csv")
    return path.suffix in exports or len(path.parts) > 1 or bool(_LOG.search(path.name))


def _of_path(place: str) -> Any:
    """The module for a file: logs by their names or by what a journal's first entry holds, else exports."""
    path = Path(place).expanduser()
    log = bool(_LOG.search(path.name))
    if not log and path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as file:
            log = b'"__REALTIME_TIMESTAMP"' in file.read(100_000)
    return import_module(f"dlqanalysis.sources.{'logs' if log else 'export'}")


def _shown(place: str) -> str:
    """What a message may say of a place: a name, or the scheme of a URL, which may hold a password."""
    scheme, of_url, _ = place.partition("://")
    return scheme + of_url


def _name(place: str, url: str) -> str:
    """The name that a place was given by; for a bare URL, its system's."""
    return place if "://" not in place else SYSTEMS[url.partition("://")[0]].partition("_")[0]


def _module(url: str) -> Any:
    scheme = url.partition("://")[0].lower()
    if scheme not in SYSTEMS:
        raise SettingsError(
            f"'{scheme}://' is no system that can be read yet. There are: {', '.join(SYSTEMS)}, and exports"
            " (.parquet, .jsonl, .csv)."
        )
    if scheme != "log+file" and slid(url):  # a file's name may have any sign, and no password
        raise SettingsError(f"This {scheme}:// URL cannot be read. Write it {PERCENT}")
    return import_module(f"dlqanalysis.sources.{SYSTEMS[scheme]}")
