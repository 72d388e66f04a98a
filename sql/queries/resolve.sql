-- The operator's verdict on a submission of unknown outcome.

-- name: task_holder
-- Which other job has this task, as its own or on one of its attempts. $1 task id, $2 job id.
SELECT id AS job_id FROM jobs WHERE provider_task_id = $1 AND id <> $2
 UNION ALL
SELECT job_id FROM job_attempts WHERE provider_task_id = $1 AND job_id <> $2
 LIMIT 1;

-- name: record_resolution
-- Who decided, and why; in the transaction that moves the job. $1 job id, $2 attempt, $3 verdict,
-- $4 task id or null, $5 why or null, $6 who (JSON text; null: the session user).
SELECT darkroom_record_resolution($1, $2, $3, $4, $5, $6::text::jsonb) AS id;
