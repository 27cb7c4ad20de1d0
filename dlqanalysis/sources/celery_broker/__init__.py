"""Celery's broker and workers, `celery+redis://host/0`, `celery+amqp://host/vhost`: queues, workers, what runs.

A name's broker, DLQ_<NAME>_BROKER_URL, is looked at by `dlq.connect_monitor(name)`. DLQ_<NAME>_MANAGEMENT_URL
lets RabbitMQ tell of every queue and of alarms. A hand that may revoke has a name of its own, such as
DLQ_WORKERS_URL='celery+redis://host/0'.
"""

from typing import NoReturn

from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.sources.celery_broker.hand import RevokeHand
from dlqanalysis.sources.celery_broker.monitor import CeleryMonitor

__all__ = ["CeleryMonitor", "RevokeHand", "open_hand", "open_monitor", "open_source"]

CAN = {
    "monitor": "depths from the broker; workers and what they hold by asking all of them at once",
    "revoke": "by task id; workers drop it before they begin it, as long as they are not restarted",
    "settle": "whether every worker that answers has the id on its list",
}
CANNOT = {
    "read": "a broker keeps no failures: read the table, the dead-letter queues or the result backend",
    "replay": "from the place where the failure is kept, such as failed_tasks or a dead-letter queue",
    "purge": "Celery's purge deletes waiting work that never ran, and leaves the failed where they are",
    "undo": "a worker forgets a revoke only when it is restarted; send the task again under a new id",
    "outcome": "a revoked task has none: it does not run",
}


def open_source(url: str, name: str = "celery") -> NoReturn:
    """A broker holds no failures to read: says where they are."""
    raise SettingsError(
        f"A Celery broker keeps no failures. Set {variable_of(name)} to the failed_tasks"
        " table (postgresql://), the dead-letter queues (amqp://host/vhost?queue=NAME) or the result backend"
        " (results+redis://). dlq.depths, dlq.workers and dlq.running look at the broker."
    )


def open_monitor(url: str, name: str = "celery") -> CeleryMonitor:
    """What tells of the broker's queues and the workers behind them. Connects when it is first asked."""
    return CeleryMonitor(Address.parse(url), setting(name, "MANAGEMENT_URL"), name)


def open_hand(url: str, name: str = "celery") -> RevokeHand:
    """The hand that tells workers to drop tasks that they have not begun."""
    return RevokeHand(Address.parse(url))
