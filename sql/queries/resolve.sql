-- The operator's verdict on a submission of unknown outcome.

-- name: task_holder
-- Which other job has this task, as its own or on one of its attempts. $1 task id, $2 job id.
SELECT id AS job_id FROM jobs WHERE provider_task_id = $1 AND id <> $2
 UNION ALL
SELECT job_id FROM job_attempts WHERE provider_task_id = $1 AND job_id <> $2
 LIMIT 1;

-- What is written, and its parameters, is in sql/functions/operator_resolutions.sql. Who: JSON text; null: the
-- session user.

-- name: resolve_unknown
-- $1 job id, $2 attempt, $3 task id (null: none was made), $4 deadline (seconds), $5 why, $6 who.
SELECT * FROM darkroom_resolve_unknown($1, $2, $3, $4, $5, $6::text::jsonb);

-- name: settle_held
-- $1 job id, $2 attempt, $3 image URLs (none: there are no images), $4 charge basis, $5 why, $6 who,
-- $7 for how long the end waits for copies (seconds; null: none are made).
SELECT * FROM darkroom_settle_held($1, $2, $3, $4, $5, $6::text::jsonb, $7);

-- name: settle_late
-- $1 job id, $2 attempt, $3 task id, $4 image URLs (none: there are no images), $5 why, $6 who,
-- $7 whether copies are made.
SELECT * FROM darkroom_settle_late($1, $2, $3, $4, $5, $6::text::jsonb, $7);
