"""The queries that have names: what they ask, in which unit they answer. Metric names are those of the runbooks.

`rate()` is per second whatever its window is: a figure a minute is 60 times that. A gauge (a depth) has no rate:
its growth is delta() over a window. Ratios of counters are taken over a window too, never over a process's life.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dlqanalysis.errors import QueryError, did_you_mean


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the unit of its value."""

    promql: str
    unit: str  #: 1, ratio, seconds, per_second, per_minute, per_hour
    means: str


#: set -> name -> query. A set is the metrics of one kind of system
SETS: Mapping[str, Mapping[str, Query]] = {
    "queues": {
        "depth": Query(
            'sum by (queue) (queue_depth_total{status="failed"})', "1", "failed jobs, by queue"
        ),
        "waiting": Query(
            'sum by (queue) (queue_depth_total{status="waiting"})', "1", "waiting jobs, by queue"
        ),
        "growth_per_minute": Query(
            'sum by (queue) (delta(queue_depth_total{status="failed"}[5m])) / 5',
            "per_minute",
            "how fast the failed jobs of a queue grow, over five minutes; below 0 they fall",
        ),
        "failures_per_minute": Query(
            "60 * sum by (job) (rate(job_fail_total[5m]))", "per_minute", "failures, by job"
        ),
        "failures_per_hour": Query(
            "sum(increase(job_fail_total[1h]))", "per_hour", "failures in the last hour"
        ),
        "failure_rate": Query(
            "sum(rate(job_fail_total[5m])) / sum(rate(job_latency_seconds_count[5m]))",
            "ratio",
            "failed of all jobs that ended, over five minutes; latency is measured for both",
        ),
        "success_rate": Query(
            "1 - sum(rate(job_fail_total[5m])) / sum(rate(job_latency_seconds_count[5m]))",
            "ratio",
            "what did not fail of all jobs that ended, over five minutes",
        ),
        "processed_per_minute": Query(
            "60 * sum(rate(job_latency_seconds_count[5m]))", "per_minute", "jobs that ended"
        ),
        "p95_latency": Query(
            "histogram_quantile(0.95, sum by (le, job) (rate(job_latency_seconds_bucket[5m])))",
            "seconds",
            "95 of 100 jobs are faster, by job",
        ),
        "p95_http": Query(
            "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
            "seconds",
            "95 of 100 requests to the API are faster",
        ),
    },
    "lists": {
        "depth": Query("tokpulse_dlq_depth", "1", "dead letters, by queue"),
        "growth_per_minute": Query(
            "60 * sum(rate(tokpulse_dlq_messages_total[5m]))", "per_minute", "new dead letters"
        ),
        "failures_per_hour": Query(
            'sum(increase(tokpulse_job_attempts_total{status="failed"}[1h]))',
            "per_hour",
            "failed attempts in the last hour",
        ),
        "failure_rate": Query(
            'sum(rate(tokpulse_job_attempts_total{status="failed"}[5m]))'
            " / sum(rate(tokpulse_job_attempts_total[5m]))",
            "ratio",
            "failed of all attempts, over five minutes",
        ),
        "success_rate": Query(
            'sum(rate(tokpulse_job_processed_total{status="success"}[5m]))'
            " / sum(rate(tokpulse_job_processed_total[5m]))",
            "ratio",
            "successful of all processed, over five minutes",
        ),
        "processed_per_minute": Query(
            "60 * sum(rate(tokpulse_job_processed_total[5m]))", "per_minute", "jobs processed"
        ),
    },
    "tasks": {
        "depth": Query("sum by (priority) (dlq_items_total)", "1", "dead letters, by priority"),
        "growth_per_minute": Query(
            "sum by (priority) (delta(dlq_items_total[5m])) / 5",
            "per_minute",
            "how fast they grow, over five minutes; below 0 they fall",
        ),
        "failures_per_minute": Query(
            "60 * sum(rate(task_failures_total[5m]))", "per_minute", "failed tasks"
        ),
        "failures_per_hour": Query(
            "sum(increase(task_failures_total[1h]))", "per_hour", "failed tasks in the last hour"
        ),
        "retry_success_rate": Query(
            "sum(increase(task_retry_success_total[1h])) / sum(increase(task_retry_attempts_total[1h]))",
            "ratio",
            "successful of all retries, in the last hour",
        ),
        "alerts_per_hour": Query(
            "sum(increase(dlq_alerts_sent_total[1h]))", "per_hour", "alerts sent in the last hour"
        ),
    },
}
DEFAULT = "queues"
NAMES = frozenset(name for queries in SETS.values() for name in queries)


def named(metrics: str = DEFAULT, own: Mapping[str, str] | None = None) -> dict[str, Query]:
    """The queries of a set, with one's own PromQL in the place of some: name -> query. The unit stays."""
    if metrics not in SETS:
        raise QueryError(f"There is no set of metrics '{metrics}'. {did_you_mean(metrics, SETS)}")
    found = dict(SETS[metrics])
    every = {name: query for queries in SETS.values() for name, query in queries.items()}
    for name, promql in (own or {}).items():
        if name not in every:
            raise QueryError(f"There is no query named '{name}'. {did_you_mean(name, every)}")
        found[name] = Query(promql, every[name].unit, every[name].means)
    return found
