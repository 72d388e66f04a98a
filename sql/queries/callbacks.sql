-- Callbacks: stored before Kie is answered, handled after.

-- name: receive_callback
-- Stores a callback, or counts it again. $1 token, $2 task id, $3 most tasks per token. No row
-- back: no attempt has this token, or too many different tasks were named for it.
INSERT INTO callback_inbox (token, provider_task_id)
SELECT token, $2 FROM job_attempts
 WHERE token = $1
   AND (SELECT count(*) FROM callback_inbox
         WHERE token = $1 AND provider_task_id <> $2) < $3
    ON CONFLICT (token, provider_task_id) DO UPDATE SET times = callback_inbox.times + 1
RETURNING id, times, handled_at IS NOT NULL AS is_handled;

-- name: attempt_of_token
-- $1 token: a row where an attempt has it.
SELECT 1 AS found FROM job_attempts WHERE token = $1;

-- name: callback_by_id
-- $1 id: a callback with the attempt and job that its token names. It is unhandled, or was handled
-- before the job ended without images, and has come again.
SELECT inbox.id, inbox.token, inbox.provider_task_id AS claimed_task_id, attempt.job_id,
       attempt.number, attempt.outcome, attempt.provider_account, attempt.route
  FROM callback_inbox AS inbox JOIN job_attempts AS attempt USING (token)
  JOIN jobs ON jobs.id = attempt.job_id
 WHERE inbox.id = $1
   AND (inbox.handled_at IS NULL
        OR (jobs.state = 'failed' AND inbox.verdict IN ('hastened', 'confirmed', 'late')));

-- name: unhandled_callbacks
-- Oldest first. $1 not more lately than this (seconds), $2 limit. What could not be judged within
-- an hour stays unhandled for people to see, but Kie is not asked about it for ever.
SELECT id FROM callback_inbox
 WHERE handled_at IS NULL AND received_at <= now() - make_interval(secs => $1)
   AND received_at > now() - interval '1 hour'
 ORDER BY received_at LIMIT $2;

-- name: jobs_with_unhandled_callbacks
-- Asked only while a sweep takes long: whose evidence may still lie in the inbox.
SELECT DISTINCT attempt.job_id
  FROM callback_inbox AS inbox JOIN job_attempts AS attempt USING (token)
 WHERE inbox.handled_at IS NULL AND inbox.received_at > now() - interval '1 hour';

-- name: judge_callback
-- $1 id, $2 verdict. No row back: somebody else has judged it for good.
UPDATE callback_inbox SET verdict = $2, handled_at = now()
 WHERE id = $1 AND (handled_at IS NULL OR verdict IN ('hastened', 'confirmed', 'late'))
RETURNING id;

-- name: callback_of_attempt
-- $1 job id, $2 attempt: whether Kie has called back about it.
SELECT inbox.id FROM job_attempts AS attempt JOIN callback_inbox AS inbox USING (token)
 WHERE attempt.job_id = $1 AND attempt.number = $2 LIMIT 1;
