-- The way in: the calls of sql/functions/enqueue.sql, which has the statements and says what the
-- parameters are.

-- name: enqueue_job
SELECT * FROM darkroom_enqueue_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: enqueue_jobs
SELECT * FROM darkroom_enqueue_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: find_by_idempotency_key
-- $1 account id, $2 key: the job that this key names.
SELECT * FROM jobs WHERE account_id = $1 AND idempotency_key = $2;

-- name: find_retry
-- $1 job id: the job that repeats its request, if there is one.
SELECT * FROM jobs WHERE retry_of = $1 ORDER BY retry_number LIMIT 1;

-- name: notify_dispatch
-- Tells the workers, at commit, that rows wait for their delivery. Used where the
-- caller commits, since nobody else knows when that is.
SELECT pg_notify('darkroom_dispatch', '');

-- name: notify_echo
-- $1 the token of a worker's listening connection, which is alive if it hears this.
SELECT pg_notify('darkroom_echo', $1);
