"""A Prometheus, `prometheus+https://host:9090`: metrics, depths out of a metric, alerts that fire.

Reads: DLQ_<NAME>_URL and DLQ_<NAME>_TOKEN, a bearer token, or user:password. Options: `metrics` (which set of
named queries: queues, lists, tasks), and each query's name with PromQL of one's own, such as `depth=my_depth`.
"""

from typing import NoReturn

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import setting, url_of, variable_of
from dlqanalysis.sources.prometheus.client import open_client
from dlqanalysis.sources.prometheus.monitor import PrometheusMonitor, When

__all__ = ["PrometheusMonitor", "metrics", "open_monitor", "open_source"]

CAN = {"monitor": "metrics and depths by query, alerts that fire"}
CANNOT = {
    "read": "metrics count failures and hold none: read them from the system that they are of",
    "replay": "a Prometheus is no queue: connect the hand to the system that they are of",
}


def open_source(url: str, name: str = "prometheus") -> NoReturn:
    """Metrics hold no failures: says what to ask instead."""
    raise SettingsError(
        "A Prometheus holds no failures. Read them from their system; dlq.depths and the monitor's metrics(...)"
        " ask this one."
    )


def open_monitor(url: str, name: str = "prometheus") -> PrometheusMonitor:
    """What tells of metrics. Connects when it is first asked."""
    variable = variable_of(name, "TOKEN")
    client, options = open_client(url, setting(name, "TOKEN"), token_name=variable)
    return PrometheusMonitor(client, options)


def metrics(
    place: "str | PrometheusMonitor",
    what: str,
    since: When = None,
    until: When = None,
    every: str | None = None,
    unit: str | None = None,
) -> pd.DataFrame:
    """Samples of a named query or of PromQL, as a frame of readings.METRICS; see PrometheusMonitor.metrics."""
    if not isinstance(place, str):
        return place.metrics(what, since, until, every, unit)
    name = "prometheus" if "://" in place else place
    with open_monitor(url_of(place), name) as monitor:
        return monitor.metrics(what, since, until, every, unit)
