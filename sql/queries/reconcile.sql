-- What the reconciler asks: which rows should be moving.

-- name: open_jobs_after
-- A page of open jobs in id order, for checking that each has its delivery.
-- $1 only ids above this, $2 limit, $3 only rows untouched for this many seconds.
SELECT id, state, due_at FROM jobs
 WHERE state IN ('queued', 'submitting', 'unknown', 'generating')
   AND id > $1 AND updated_at <= now() - make_interval(secs => $3)
 ORDER BY id LIMIT $2;

-- name: fresh_open_jobs
-- Jobs that changed lately and should have a delivery. $1 not longer ago than this (seconds),
-- $2 not more lately than this (seconds), so that a delivery under way is not raced; $3 limit.
SELECT id, state, due_at FROM jobs
 WHERE state IN ('queued', 'generating')
   AND updated_at >= now() - make_interval(secs => $1)
   AND updated_at <= now() - make_interval(secs => $2)
 ORDER BY updated_at DESC LIMIT $3;

-- name: overdue_unknown_jobs
-- Unknown submissions whose newest attempt is older than $1 seconds; $2 limit.
SELECT id, attempt FROM jobs
 WHERE state = 'unknown' AND attempted_at <= now() - make_interval(secs => $1)
 ORDER BY attempted_at LIMIT $2;
