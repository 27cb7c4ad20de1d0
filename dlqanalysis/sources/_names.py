"""What other systems call the columns of the frame: shared by the sources that meet tables of strangers."""

#: frame column -> (names that say it plainly, the first found is taken; names that count only when one is there)
NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "failure_id": (("failure_id", "id", "failed_task_id"), ("pk", "uuid", "row_id")),
    "task_id": (
        ("task_id", "celery_task_id", "original_task_id"),
        ("celery_id", "task_uuid", "uuid", "job_id", "message_id"),
    ),
    "task_name": (("task_name", "task"), ("name", "task_path", "job_name", "task_type")),
    "queue": (("queue_name", "queue"), ("original_queue", "source_queue", "routing_key")),
    "status": (("status",), ("state", "dlq_status")),
    "priority": (("priority",), ()),
    "args": (("args", "task_args"), ("positional_args", "arguments")),
    "kwargs": (("kwargs", "task_kwargs"), ("keyword_args", "named_args", "params")),
    "exception_type": (
        ("exception_type", "exc_type", "exception_class", "error_type", "error_class"),
        ("exception_name", "exc_name", "error_name"),
    ),
    "exception_message": (
        ("exception_message", "exc_message", "error_message"),
        ("exception_msg", "error_msg", "exception", "error", "message", "reason", "last_error"),
    ),
    "traceback": (
        ("traceback", "stack_trace", "stacktrace", "exception_traceback"),
        ("exc_traceback", "error_traceback", "einfo", "stack"),
    ),
    "retries": (
        ("retries_attempted", "retries", "retry_count"),
        ("attempts", "num_retries", "attempt_count"),
    ),
    "max_retries": (("max_retries",), ("retry_limit", "max_attempts")),
    "enqueued_at": (("enqueued_at", "queued_at"), ("sent_at", "received_at", "published_at")),
    "first_failed_at": (("first_failed_at",), ("first_failure_at",)),
    "failed_at": (
        ("failed_at", "failure_time"),
        ("failed_on", "failure_at", "date_failed", "created_at", "date_done", "created",
         "timestamp", "occurred_at", "inserted_at"),
    ),
    "replayed_at": (("replayed_at",), ("last_replayed_at", "requeued_at")),
    "expires_at": (("expires_at",), ("expires",)),
    "worker": (("worker",), ("worker_name", "hostname", "worker_hostname")),
    "idempotency_key": (("idempotency_key",), ("dedup_key", "dedupe_key")),
    "trace_id": (("trace_id",), ("traceparent", "correlation_id")),
    "raw": (("body",), ("raw_body", "message_body", "raw_message")),
}  # fmt: skip
