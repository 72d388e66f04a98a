-- What the reconciler asks: which rows should be moving.

-- name: open_jobs_after
-- A page of the jobs that are being submitted or generated, for checking that each has its delivery; in
-- the order of the index of open jobs, because in that of ids it would go through all that ever ended.
-- Who moves to an earlier place meanwhile has changed lately, and is found as such. $1 state, $2 due_at
-- and $3 id after which to begin, $4 limit, $5 only rows untouched for this many seconds.
SELECT id, state, due_at, extract(epoch FROM due_at - now())::double precision AS due_in_seconds
  FROM jobs
 WHERE state IN ('submitting', 'generating')
   AND (state, due_at, id) > ($1, $2, $3) AND updated_at <= now() - make_interval(secs => $5)
 ORDER BY state, due_at, id LIMIT $4;

-- name: fresh_open_jobs
-- Generating jobs that changed lately and should have a delivery. $1 not longer ago than this
-- (seconds), $2 not more lately than this (seconds), so that a delivery under way is not raced; $3 limit.
SELECT id, state, due_at, extract(epoch FROM due_at - now())::double precision AS due_in_seconds
  FROM jobs
 WHERE state = 'generating' AND updated_at >= now() - make_interval(secs => $1)
   AND updated_at <= now() - make_interval(secs => $2)
 ORDER BY updated_at DESC LIMIT $3;

-- name: overdue_unknown_jobs
-- Unknown submissions whose newest attempt is older than $1 seconds; $2 limit.
SELECT id, attempt FROM jobs
 WHERE state = 'unknown' AND attempted_at <= now() - make_interval(secs => $1)
 ORDER BY attempted_at LIMIT $2;

-- name: compare_event_mark
-- $1 the id of an event that was there at the last look, $2 when it happened, as text; both NULL
-- at the first look. Whether it is still there, and the newest event now: an event that is gone
-- was lost with the server that had it, unless it is old enough to have been pruned.
SELECT $1::bigint IS NULL OR $2::text::timestamptz < now() - interval '1 day' OR EXISTS (
           SELECT FROM job_events WHERE id = $1 AND at = $2::text::timestamptz) AS is_there,
       newest.id AS newest_id, newest.at::text AS newest_at
  FROM (VALUES (1)) AS one
  LEFT JOIN LATERAL (SELECT id, at FROM job_events ORDER BY id DESC LIMIT 1) AS newest ON true;

-- name: missing_jobs
-- $1 job ids: those that no job has.
SELECT wanted.id FROM unnest($1::uuid[]) AS wanted(id)
 WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = wanted.id);
