-- What operators look at.

-- name: queue_snapshot
-- The figures of the first screen in one row. $1 seconds of the recent window.
SELECT measured.*, darkroom_count_scheduled() AS scheduled,
       CASE WHEN EXISTS (SELECT FROM active_pauses)
            THEN (SELECT count(*) FROM jobs
                   WHERE state = 'queued' AND run_at <= now()
                     AND EXISTS (SELECT FROM active_pauses
                                  WHERE scope = 'everything'
                                     OR (scope, value) IN (('model', jobs.model),
                                                           ('account', jobs.account_id))))
            ELSE 0 END AS paused
  FROM darkroom_measure_queue(now() - make_interval(secs => $1), 'infinity') AS measured;

-- name: last_failures
-- The latest to fail first. $1 limit.
SELECT id, account_id, finished_at, reason, message FROM jobs
 WHERE state = 'failed' ORDER BY finished_at DESC, id DESC LIMIT $1;

-- name: jobs_by_provider_account
-- How many open jobs need which Kie account: one has been sent for each, and only the key that sent
-- it can tell what became of it.
SELECT attempt.provider_account AS name, count(*) AS jobs
  FROM jobs
  JOIN job_attempts AS attempt ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
 WHERE jobs.state IN ('submitting', 'unknown', 'generating')
 GROUP BY attempt.provider_account ORDER BY attempt.provider_account;

-- name: database_time
-- The moment, by the clock that decides deadlines, due times and limits.
SELECT clock_timestamp() AS at;

-- name: time_left
-- How long a job that is in one of these states has until its own moments, by Postgres's clock; what
-- has passed is below 0. $1 id, $2 attempt, $3 states.
SELECT extract(epoch FROM due_at - now())::double precision AS due_seconds,
       extract(epoch FROM deadline_at - now())::double precision AS deadline_seconds,
       extract(epoch FROM attempted_at - now())::double precision AS attempted_seconds
  FROM jobs WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[]);
