-- The fair order: what waiting jobs are submitted next. sql/functions/fair_order.sql has the functions.

-- name: choose_jobs
-- $1 how many at most, $2 families whose submits are braked.
SELECT * FROM darkroom_choose_jobs($1, $2);

-- name: take_back_jobs
SELECT * FROM darkroom_take_back_jobs();

-- name: chosen_jobs
-- The chosen jobs, for checking that each has its delivery; the oldest first. $1 only those that were
-- chosen longer ago than this (seconds), $2 limit.
SELECT id, state, due_at, extract(epoch FROM due_at - now())::double precision AS due_in_seconds
  FROM chosen_jobs JOIN jobs ON id = job_id
 WHERE state = 'queued' AND chosen_at <= now() - make_interval(secs => $1)
 ORDER BY chosen_at LIMIT $2;

-- name: jobs_wait
-- Whether a job waits that is due.
SELECT EXISTS (SELECT FROM account_turns WHERE darkroom_waits(priority, account_id)) AS jobs_wait;
