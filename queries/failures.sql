-- What failed, how often, since when. `failed_tasks` has the runbook's column names here, whatever yours are called.

-- name: failure_summary(since, until, queue, status)
-- Failures by task and exception type, the most frequent first.
SELECT
  task_name,
  exception_type,
  count(*) AS failures,
  min(failed_at) AS first_failure,
  max(failed_at) AS last_failure
FROM failed_tasks
WHERE status = coalesce(CAST(:status AS text), 'failed')
  AND (CAST(:since AS timestamptz) IS NULL OR failed_at >= CAST(:since AS timestamptz))
  AND (CAST(:until AS timestamptz) IS NULL OR failed_at < CAST(:until AS timestamptz))
  AND (CAST(:queue AS text) IS NULL OR queue_name = CAST(:queue AS text))
GROUP BY task_name, exception_type
ORDER BY failures DESC, task_name, exception_type;

-- name: top_messages(since, until, queue, task_name, limit)
-- The most frequent exception messages of each task, word for word.
SELECT
  task_name,
  exception_message,
  count(*) AS failures,
  max(failed_at) AS last_failure
FROM failed_tasks
WHERE status = 'failed'
  AND (CAST(:since AS timestamptz) IS NULL OR failed_at >= CAST(:since AS timestamptz))
  AND (CAST(:until AS timestamptz) IS NULL OR failed_at < CAST(:until AS timestamptz))
  AND (CAST(:queue AS text) IS NULL OR queue_name = CAST(:queue AS text))
  AND (CAST(:task_name AS text) IS NULL OR task_name = CAST(:task_name AS text))
GROUP BY task_name, exception_message
ORDER BY failures DESC, task_name, exception_message
LIMIT coalesce(CAST(:limit AS integer), 20);

-- name: high_retries(at_least, since, limit)
-- Failures that were tried often before they gave up, the latest first; three attempts are many.
SELECT
  id,
  task_id,
  task_name,
  queue_name,
  retries_attempted,
  exception_type,
  exception_message,
  failed_at
FROM failed_tasks
WHERE retries_attempted >= coalesce(CAST(:at_least AS integer), 3)
  AND (CAST(:since AS timestamptz) IS NULL OR failed_at >= CAST(:since AS timestamptz))
ORDER BY failed_at DESC NULLS LAST, id DESC
LIMIT coalesce(CAST(:limit AS integer), 10);

-- name: one_task(id)
-- Everything about one failure, by its row id or by its task id; a task that failed twice has two rows.
SELECT
  id,
  task_id,
  task_name,
  queue_name,
  status,
  args,
  kwargs,
  exception_type,
  exception_message,
  traceback,
  retries_attempted,
  failed_at,
  replayed_at
FROM failed_tasks
WHERE CAST(id AS text) = CAST(:id AS text) OR task_id = CAST(:id AS text)
ORDER BY failed_at;

-- name: failures_by_hour(since, until, queue, task_name)
-- Failures an hour, by task: when it began, and whether it has stopped.
SELECT
  date_trunc('hour', failed_at) AS hour,
  task_name,
  count(*) AS failures
FROM failed_tasks
WHERE (CAST(:since AS timestamptz) IS NULL OR failed_at >= CAST(:since AS timestamptz))
  AND (CAST(:until AS timestamptz) IS NULL OR failed_at < CAST(:until AS timestamptz))
  AND (CAST(:queue AS text) IS NULL OR queue_name = CAST(:queue AS text))
  AND (CAST(:task_name AS text) IS NULL OR task_name = CAST(:task_name AS text))
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: depth(queue)
-- How many failures each queue holds, by status, and how old the oldest is.
SELECT
  queue_name,
  status,
  count(*) AS failures,
  min(failed_at) AS oldest,
  max(failed_at) AS newest
FROM failed_tasks
WHERE (CAST(:queue AS text) IS NULL OR queue_name = CAST(:queue AS text))
GROUP BY queue_name, status
ORDER BY failures DESC, queue_name, status;
