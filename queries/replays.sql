-- What became of replays, and what can be put away.

-- name: replayed_status_counts(since)
-- Status of the rows replayed lately (default: five minutes). "replayed" says queued, not succeeded: see replayed_outcomes.
SELECT
  status,
  count(*) AS failures,
  max(replayed_at) AS last_replay
FROM failed_tasks
WHERE replayed_at > coalesce(CAST(:since AS timestamptz), now() - interval '5 minutes')
GROUP BY status
ORDER BY failures DESC, status;

-- name: replayed_outcomes(since)
-- What replayed rows did afterwards: the last state of their new task in task_executions, where the row names it.
SELECT
  f.task_name,
  coalesce(e.status, 'no execution seen') AS outcome,
  count(*) AS failures,
  max(e.created_at) AS last_seen
FROM failed_tasks f
LEFT JOIN LATERAL (
  SELECT status, created_at FROM task_executions
  WHERE task_executions.task_id = f.replayed_task_id
  ORDER BY created_at DESC, id DESC LIMIT 1
) e ON true
WHERE f.replayed_at > coalesce(CAST(:since AS timestamptz), now() - interval '1 day')
GROUP BY 1, 2
ORDER BY failures DESC, 1, 2;

-- name: archive_candidates(older_than, queue)
-- Old rows by status and queue (default: 30 days). 'failed' rows among them were never replayed: look before archiving.
SELECT
  status,
  queue_name,
  count(*) AS failures,
  min(failed_at) AS oldest,
  max(failed_at) AS newest
FROM failed_tasks
WHERE failed_at < now() - coalesce(CAST(:older_than AS interval), interval '30 days')
  AND status IN ('failed', 'replayed')
  AND (CAST(:queue AS text) IS NULL OR queue_name = CAST(:queue AS text))
GROUP BY status, queue_name
ORDER BY failures DESC, status, queue_name;
