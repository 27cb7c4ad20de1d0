"""Celery with a Postgres table of failed tasks, `postgresql://host/database?table=failed_tasks`.

Reads: DLQ_<NAME>_URL. The hand: DLQ_<NAME>_HAND_URL, DLQ_<NAME>_BROKER_URL, DLQ_<NAME>_RESULTS_URL.
"""

from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.read import CeleryTable

__all__ = ["CeleryTable", "open_source"]


def open_source(url: str, name: str = "celery") -> CeleryTable:
    """The source at a URL, whatever its name. Connects when it is first read."""
    return CeleryTable(Address.parse(url))
