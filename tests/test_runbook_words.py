"""The failures that the five runbooks describe, in the words that their systems use: each is judged, and named by
what it depends on."""

import pytest

import dlqanalysis as dlq
from dlqanalysis.patterns import DEPENDENCIES

#: runbook and scenario, exception type, message -> class, what it depends on (database, external, broker, or none)
WORDS = (
    # 1.08, 1.15: databases
    ("1 database timeout", "Error", "connection timeout: could not connect to postgres at db:5432", "transient", ""),
    ("1 database timeout", "PrismaClientInitializationError", "Can't reach database server at `db:5432`", "transient", "database"),
    ("1 database pool", "PrismaClientKnownRequestError", "P2024: Timed out fetching a new connection from the connection pool", "transient", "database"),
    ("1 database lost", "Error", "Connection terminated unexpectedly", "transient", ""),
    ("4 database in tasks", "OperationalError", "server closed the connection unexpectedly", "transient", "database"),
    ("4 database in tasks", "OperationalError", 'FATAL:  sorry, too many clients already', "transient", "database"),
    ("4 database in tasks", "OperationalError", 'FATAL:  password authentication failed for user "app"', "permanent", "database"),
    # 1.08, 1.16: somebody else's service
    ("1 WhatsApp 429", "AxiosError", "Request failed with status code 429", "transient", "external"),
    ("1 CGB API", "AxiosError", "Request failed with status code 503", "transient", "external"),
    ("1 CGB API", "Error", "connect ECONNREFUSED 10.0.0.5:443", "transient", "external"),
    ("1 Slack", "Error", "An API error occurred: ratelimited", "transient", "external"),
    ("1 Slack", "Error", "An API error occurred: invalid_auth", "permanent", "external"),
    # 1.08, 4.06: the broker
    ("1 Redis", "Error", "connect ECONNREFUSED 127.0.0.1:6379", "transient", ""),
    ("1 Redis", "MaxRetriesPerRequestError", "Reached the max retries per request limit (which is 20)", "transient", "broker"),
    ("1 Redis", "Error", "Connection is closed.", "transient", "broker"),
    ("1 Redis", "ReplyError", "READONLY You can't write against a read only replica.", "transient", "broker"),
    ("4 broker", "OperationalError", "Error 111 connecting to redis:6379. Connection refused.", "transient", "broker"),
    ("4 broker", "AMQPConnectionError", "Connection reset by peer", "transient", "broker"),
    ("4 broker", "AccessRefused", "(0, 0): (403) ACCESS_REFUSED - Login was refused", "permanent", "broker"),
    # 1.18, 4.12: memory
    ("1 PDF jobs", "RangeError", "JavaScript heap out of memory", "permanent", ""),
    ("4 memory", "WorkerLostError", "Worker exited prematurely: signal 9 (SIGKILL) Job: 12.", "transient", ""),
    # 2.01, 2.09: what stands in the lists
    ("2 retries", "MaxRetriesExceeded", "max retries exceeded", "unknown", ""),
    ("2 invalid payload", "SyntaxError", "Unexpected token } in JSON at position 12", "data", ""),
    ("2 schema", "ValidationError", "Schema validation failed: $.shop is required", "data", ""),
    ("2 timeout", "Error", "Timeout after 30000ms", "transient", ""),
    # 4.19: limits
    ("4 soft limit", "SoftTimeLimitExceeded", "SoftTimeLimitExceeded()", "transient", "external"),
    ("4 hard limit", "TimeLimitExceeded", "TimeLimitExceeded(3600,)", "transient", "external"),
)  # fmt: skip


def judged(kind, message):
    failures = dlq.from_records(
        [{"source": "x", "failure_id": "1", "exception_type": kind, "exception_message": message}]
    )
    return dlq.classify(failures).iloc[0]


@pytest.mark.parametrize(("where", "kind", "message", "verdict", "cause"), WORDS)
def test_the_scenarios_of_the_runbooks_are_judged(where, kind, message, verdict, cause):
    row = judged(kind, message)
    assert row["failure_class"] == verdict, (where, row["rule"], row["why"])
    if cause:
        assert row["rule"] in DEPENDENCIES[cause], (where, row["rule"])


def test_groups_say_what_they_depend_on_and_each_is_planned_by_itself():
    """A plan for each dependency has a gate and a breaker of its own: one service that is ill stops no other."""
    rows = [("OperationalError", "server closed the connection unexpectedly"),
            ("AxiosError", "Request failed with status code 503"), ("KeyError", "'margins'")]  # fmt: skip
    failures = dlq.from_records(
        {"source": "x", "failure_id": str(n), "task_name": "a", "exception_type": kind, "exception_message": text,
         "args": [n], "payload_state": "complete"}
        for n, (kind, text) in enumerate(rows * 2)
    )  # fmt: skip
    failures = failures.pipe(dlq.classify).pipe(dlq.fingerprint)
    groups = dlq.groups(failures)
    assert set(groups["dependency"]) == {"database", "external", ""}
    mine = groups.loc[groups["dependency"] == "external", "fingerprint"]
    made = dlq.plan(failures[failures["fingerprint"].isin(mine)], reason="x", limit=9)
    assert set(made.chosen["rule"]) == {"http-server-error"} and len(made.chosen) == 2
