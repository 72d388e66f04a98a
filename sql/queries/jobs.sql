-- Reading jobs.

-- name: get_job
-- $1 id.
SELECT * FROM jobs WHERE id = $1;

-- name: get_jobs
-- $1 ids.
SELECT * FROM jobs WHERE id = ANY($1::uuid[]);

-- name: jobs_to_run
-- $1 ids: jobs, each with the Kie account of its newest attempt.
SELECT jobs.*, attempt.provider_account
  FROM jobs
  LEFT JOIN job_attempts AS attempt ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
 WHERE jobs.id = ANY($1::uuid[]);

-- name: list_jobs
-- Newest first. $1 account id or null, $2 state or null, $3 only ids below this or null, $4 limit.
SELECT * FROM jobs
 WHERE ($1::text IS NULL OR account_id = $1)
   AND ($2::text IS NULL OR state = $2)
   AND ($3::uuid IS NULL OR id < $3)
 ORDER BY id DESC LIMIT $4;

-- name: list_events
-- $1 job id: its timeline, oldest first.
SELECT id, at, event, detail FROM job_events WHERE job_id = $1 ORDER BY id;

-- name: list_attempts
-- $1 job id: its paid POSTs, oldest first, without their secret tokens.
SELECT number, worker, provider_account, sent_at, answered_at, outcome, provider_task_id, message
  FROM job_attempts WHERE job_id = $1 ORDER BY number;

-- name: list_job_entries
-- $1 job id: what it did to its account, oldest first.
SELECT id, kind, credits, balance_after, held_after, price_id, created_at
  FROM ledger_entries WHERE job_id = $1 ORDER BY id;
