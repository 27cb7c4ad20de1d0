-- The records that failed tasks work on and leave behind: properties and communications.

-- name: related_records(id, field)
-- The property that one failure works on, found by a field of its kwargs (default: property_id). No row: it is gone.
SELECT p.*
FROM properties p
WHERE CAST(p.id AS text) = (
  SELECT CAST(kwargs AS jsonb) ->> coalesce(CAST(:field AS text), 'property_id')
  FROM failed_tasks
  WHERE CAST(id AS text) = CAST(:id AS text)
);

-- name: existing_properties(ids)
-- Which of these property ids still exist.
SELECT CAST(id AS text) AS id
FROM properties
WHERE CAST(id AS text) = ANY (CAST(:ids AS text[]));

-- name: duplicate_communications(since, property_id)
-- Messages sent more than once for the same property and template on one day (UTC), with the ids after the first.
SELECT
  property_id,
  template_id,
  CAST(created_at AS date) AS day,
  count(*) AS sent,
  min(id) AS first_id,
  (array_agg(id ORDER BY id))[2:] AS later_ids,
  min(created_at) AS first_sent,
  max(created_at) AS last_sent
FROM communications
WHERE (CAST(:since AS timestamptz) IS NULL OR created_at >= CAST(:since AS timestamptz))
  AND (CAST(:property_id AS bigint) IS NULL OR property_id = CAST(:property_id AS bigint))
GROUP BY property_id, template_id, CAST(created_at AS date)
HAVING count(*) > 1
ORDER BY sent DESC, property_id, template_id;

-- name: communications_recent(since, property_id, limit)
-- What was sent lately (default: the last hour), for one property or all: a replay should have added one, not two.
SELECT *
FROM communications
WHERE created_at > coalesce(CAST(:since AS timestamptz), now() - interval '1 hour')
  AND (CAST(:property_id AS bigint) IS NULL OR property_id = CAST(:property_id AS bigint))
ORDER BY created_at DESC
LIMIT coalesce(CAST(:limit AS integer), 100);

-- name: communication_keys(since)
-- The business keys of what was sent lately (default: 30 days), for telling whether a failed task did its work.
SELECT
  idempotency_key AS key,
  count(*) AS times,
  max(created_at) AS last_sent
FROM communications
WHERE idempotency_key IS NOT NULL
  AND created_at >= coalesce(CAST(:since AS timestamptz), now() - interval '30 days')
GROUP BY idempotency_key
ORDER BY last_sent DESC, key;
