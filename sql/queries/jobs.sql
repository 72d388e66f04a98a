-- Reading jobs.

-- name: get_job
-- $1 id.
SELECT * FROM jobs WHERE id = $1;

-- name: get_jobs
-- $1 ids.
SELECT * FROM jobs WHERE id = ANY($1::uuid[]);

-- name: job_states
-- $1 ids. Who waits asks for no more, as a request and its notes may be long.
SELECT id, state FROM jobs WHERE id = ANY($1::uuid[]);

-- name: jobs_to_run
-- $1 ids: jobs, each with the Kie account of its newest attempt.
SELECT jobs.*, attempt.provider_account
  FROM jobs
  LEFT JOIN job_attempts AS attempt ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
 WHERE jobs.id = ANY($1::uuid[]);

-- Lists, newest first; a statement for each set of filters: one for all of them is planned without
-- knowing which are given, and then goes through every job there is. So would `=` where what is
-- asked for is rare among the newest: the order of an array of one is that of its own index alone.

-- name: list_jobs
-- $1 only ids below this or null, $2 limit.
SELECT * FROM jobs
 WHERE id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ORDER BY id DESC LIMIT $2;

-- name: list_jobs_of_account
-- $1 only ids below this or null, $2 limit, $3 account id.
SELECT * FROM jobs
 WHERE account_id = ANY(ARRAY[$3::text]) AND id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
 ORDER BY account_id, id DESC LIMIT $2;

-- name: list_jobs_in_state
-- $1 only ids below this or null, $2 limit, $3 state.
SELECT * FROM jobs
 WHERE state = ANY(ARRAY[$3::text]) AND id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
 ORDER BY state, id DESC LIMIT $2;

-- name: list_jobs_of_account_in_state
-- $1 only ids below this or null, $2 limit, $3 account id, $4 state.
SELECT * FROM jobs
 WHERE account_id = ANY(ARRAY[$3::text]) AND state = $4
   AND id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
 ORDER BY account_id, id DESC LIMIT $2;

-- name: cancel_job
-- Takes a queued job back. $1 id, $2 who (JSON text; null: the caller). No row back: it is not queued.
SELECT * FROM darkroom_cancel_job($1, $2::text::jsonb);

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
