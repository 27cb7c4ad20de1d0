-- How the system does around its failures.

-- name: success_rate(since, task_name)
-- Successes, failures and the share of successes a task, lately (default: 24 hours), the worst first.
SELECT
  task_name,
  count(*) FILTER (WHERE status = 'success') AS successes,
  count(*) FILTER (WHERE status = 'failed') AS failures,
  round(
    100.0 * count(*) FILTER (WHERE status = 'success')
    / nullif(count(*) FILTER (WHERE status IN ('success', 'failed')), 0),
    2
  ) AS success_percent
FROM task_executions
WHERE created_at > coalesce(CAST(:since AS timestamptz), now() - interval '24 hours')
  AND (CAST(:task_name AS text) IS NULL OR task_name = CAST(:task_name AS text))
GROUP BY task_name
ORDER BY success_percent NULLS FIRST, task_name;

-- name: task_runs(since, task_name)
-- When each task ran, lately (default: seven days), once a run whatever became of it: for dlq.beat_gaps.
SELECT task_name, created_at AS at
FROM task_executions
WHERE created_at > coalesce(CAST(:since AS timestamptz), now() - interval '7 days')
  AND status IN ('success', 'failed')
  AND (CAST(:task_name AS text) IS NULL OR task_name = CAST(:task_name AS text))
ORDER BY task_name, at;

-- name: successes(since, task_name, limit)
-- Executions that went well, lately (default: seven days, the newest 200,000): for dlq.lift(..., successes=...).
SELECT task_name, queue_name AS queue, worker, created_at AS at
FROM task_executions
WHERE status = 'success'
  AND created_at > coalesce(CAST(:since AS timestamptz), now() - interval '7 days')
  AND (CAST(:task_name AS text) IS NULL OR task_name = CAST(:task_name AS text))
ORDER BY created_at DESC, task_name
LIMIT coalesce(CAST(:limit AS integer), 200000);

-- name: later_successes(since)
-- Failed tasks that went well afterwards, under their own id or their replay's: for dlq.lives(..., executions=...).
SELECT f.task_id, 'success' AS status, max(e.created_at) AS at
FROM failed_tasks f
JOIN LATERAL (
  SELECT created_at FROM task_executions
  WHERE task_executions.task_id IN (f.task_id, f.replayed_task_id)
    AND task_executions.status = 'success'
    AND created_at > f.failed_at
) e ON true
WHERE (CAST(:since AS timestamptz) IS NULL OR f.failed_at >= CAST(:since AS timestamptz))
GROUP BY f.task_id
ORDER BY at, f.task_id;

-- name: active_connections()
-- Sessions of this database server by state, and the longest running statement: look before a bulk replay.
SELECT
  coalesce(state, 'background') AS state,
  count(*) AS connections,
  max(clock_timestamp() - query_start) FILTER (WHERE state = 'active') AS longest,
  CAST(current_setting('max_connections') AS integer) AS allowed
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
GROUP BY 1
ORDER BY connections DESC, 1;

-- name: waiting_locks()
-- Sessions that wait for a lock, and who holds it.
SELECT
  waiting.pid,
  waiting.usename AS who,
  clock_timestamp() - waiting.query_start AS waits,
  left(waiting.query, 200) AS statement,
  pg_blocking_pids(waiting.pid) AS held_by
FROM pg_stat_activity waiting
WHERE cardinality(pg_blocking_pids(waiting.pid)) > 0
ORDER BY waits DESC;
