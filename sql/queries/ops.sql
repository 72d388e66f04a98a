-- What operators look at.

-- name: queue_snapshot
-- The whole first screen in one row. $1 seconds of the recent window.
WITH open_jobs AS (
    SELECT state, count(*) AS jobs
      FROM jobs WHERE state IN ('queued', 'submitting', 'unknown', 'generating') GROUP BY state
), waiting AS (
    -- Those due first and those accepted first: one of both has waited longest. What a moment in the
    -- past was asked for waits since it was accepted.
    SELECT min(greatest(run_at, created_at)) AS since
      FROM ((SELECT run_at, created_at FROM jobs WHERE state = 'queued'
              ORDER BY due_at, id LIMIT 1000)
            UNION ALL
            (SELECT run_at, created_at FROM jobs WHERE state = 'queued'
              ORDER BY id LIMIT 1000)) AS sample
     WHERE run_at <= now()
), recent AS (
    SELECT state, credits_charged,
           CASE WHEN isfinite(submitted_at) AND isfinite(greatest(run_at, created_at))
                THEN greatest(submitted_at - greatest(run_at, created_at), interval '0')
           END AS waited,
           CASE WHEN isfinite(submitted_at) AND isfinite(finished_at)
                THEN greatest(finished_at - submitted_at, interval '0') END AS ran
      FROM jobs WHERE finished_at >= now() - make_interval(secs => $1)
)
SELECT coalesce((SELECT jobs FROM open_jobs WHERE state = 'queued'), 0) AS queued,
       coalesce((SELECT jobs FROM open_jobs WHERE state = 'submitting'), 0) AS submitting,
       coalesce((SELECT jobs FROM open_jobs WHERE state = 'unknown'), 0) AS unknown,
       coalesce((SELECT jobs FROM open_jobs WHERE state = 'generating'), 0) AS generating,
       coalesce(extract(epoch FROM greatest(now() - (SELECT since FROM waiting), interval '0')),
                0)::double precision AS oldest_waiting_seconds,
       (SELECT count(*) FROM recent WHERE state = 'succeeded') AS succeeded,
       (SELECT count(*) FROM recent WHERE state = 'failed') AS failed,
       (SELECT count(*) FROM recent WHERE state = 'cancelled') AS cancelled,
       (SELECT coalesce(sum(credits_charged), 0) FROM recent) AS credits_charged,
       (SELECT coalesce(sum(held), 0) FROM accounts WHERE held > 0) AS credits_held,
       (SELECT extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY waited))
          FROM recent)::double precision AS wait_p50_seconds,
       (SELECT extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY waited))
          FROM recent)::double precision AS wait_p95_seconds,
       (SELECT extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY ran))
          FROM recent)::double precision AS run_p50_seconds,
       (SELECT extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY ran))
          FROM recent)::double precision AS run_p95_seconds;

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
