-- The operator's verdict on a submission of unknown outcome.

-- name: task_holder
-- Which other job has this task, as its own or on one of its attempts. $1 task id, $2 job id.
SELECT id AS job_id FROM jobs WHERE provider_task_id = $1 AND id <> $2
 UNION ALL
SELECT job_id FROM job_attempts WHERE provider_task_id = $1 AND job_id <> $2
 LIMIT 1;

-- name: record_resolution
-- Who decided, and why; in the transaction that moves the job. $1 job id, $2 event, $3 attempt,
-- $4 verdict, $5 task id or null, $6 who (null: the session user), $7 why or null.
INSERT INTO job_events (job_id, event, detail)
VALUES ($1, $2, jsonb_build_object('verdict', $4::text, 'by', coalesce($6::text, session_user),
                                   'reason', $7::text, 'provider_task_id', $5::text,
                                   'attempt', $3::integer))
RETURNING id;
