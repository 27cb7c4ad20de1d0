-- Your named queries, as methods of dlq.queries(source); a sentence each, SELECTs only, bound parameters.
-- DLQ_QUERIES names this folder. Those of the kit stand in kit/, to read: they are there without being named.

-- name: oldest_open_failures(limit)
-- The failures that have waited longest.
SELECT id, task_name, queue_name, failed_at
FROM failed_tasks
WHERE status = 'failed'
ORDER BY failed_at
LIMIT coalesce(CAST(:limit AS integer), 20);
