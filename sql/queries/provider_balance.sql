-- Kie's credit balance beside what our attempts explain, for each of our accounts by itself.

-- name: balance_footing
-- Always one row: the moment, the newest check, and the check to measure from. $1 how far to look
-- back for firm footing (seconds), $2 account.
SELECT clock_timestamp() AS asked_at, newest.id AS newest_id, newest.balance AS newest_balance,
       extract(epoch FROM clock_timestamp() - newest.at)::double precision AS age_seconds,
       footing.*
  FROM (VALUES (true)) AS always
  LEFT JOIN LATERAL (
      SELECT id, at, balance FROM provider_balance_checks
       WHERE provider_account = $2 ORDER BY id DESC LIMIT 1
  ) AS newest ON true
  LEFT JOIN LATERAL (
      SELECT id AS from_id, asked_at AS from_asked_at, at AS from_at, balance AS from_balance,
             CASE WHEN verdict = 'drift' THEN 0 ELSE unexplained END AS from_unexplained
        FROM provider_balance_checks AS past
       WHERE past.provider_account = $2
         AND past.at >= least(newest.at, now() - make_interval(secs => $1))
       ORDER BY (settled OR verdict IN ('first', 'drift', 'topped_up')) DESC,
                CASE WHEN settled OR verdict IN ('first', 'drift', 'topped_up') THEN past.id END
                    DESC,
                past.id
       LIMIT 1
  ) AS footing ON true;

-- name: balance_needed
-- The moment, and what Kie will charge for the jobs that wait to be submitted, whichever account
-- takes them.
SELECT clock_timestamp() AS at,
       coalesce(sum(coalesce(routed.provider_credits, pricing.provider_credits,
                             quoted.provider_credits)), 0) AS needed
  FROM jobs
  LEFT JOIN active_routes AS route ON route.model = jobs.model
  LEFT JOIN pricing AS routed
    ON (routed.model, routed.task, routed.quantity, routed.variant)
     = (route.via, jobs.task, jobs.quantity, jobs.variant)
  LEFT JOIN pricing
    ON (pricing.model, pricing.task, pricing.quantity, pricing.variant)
     = (jobs.model, jobs.task, jobs.quantity, jobs.variant)
  LEFT JOIN pricing_history AS quoted ON quoted.id = jobs.quoted_price_id
 WHERE jobs.state = 'queued';

-- name: attempts_that_may_cost
-- The attempts that may have changed Kie's balance since $1, each with Kie's price when it was
-- sent, by the family that sent it. $2 how long after the end of a job Kie may still move credits
-- (seconds), $3 account.
SELECT attempt.sent_at, attempt.answered_at, attempt.outcome, job.state, job.reason,
       job.finished_at,
       (attempt.provider_task_id IS NOT NULL OR late.has_delivered) IS TRUE AS has_task,
       late.has_delivered IS TRUE AS succeeded_late, late.failed_at AS failed_late_at,
       coalesce(CASE WHEN job.state = 'succeeded' AND job.attempt = attempt.number
                     THEN job.consumed_credits END,
                routed.provider_credits, version.provider_credits, quoted.provider_credits) AS credits
  FROM (
      SELECT * FROM jobs WHERE state IN ('submitting', 'unknown', 'generating')
       UNION ALL
      SELECT * FROM jobs
       WHERE finished_at IS NOT NULL AND finished_at >= $1::timestamptz - make_interval(secs => $2)
       UNION ALL
      SELECT * FROM jobs
       WHERE id IN (SELECT job_id FROM late_tasks
                     WHERE outcome = 'failed' AND ended_at >= $1::timestamptz - interval '1 minute')
         AND finished_at < $1::timestamptz - make_interval(secs => $2)
  ) AS job
  JOIN job_attempts AS attempt ON attempt.job_id = job.id AND attempt.provider_account = $3
  LEFT JOIN LATERAL (
      SELECT bool_or(outcome = 'delivered') AS has_delivered,
             max(ended_at) FILTER (WHERE outcome = 'failed') AS failed_at
        FROM late_tasks
       WHERE late_tasks.job_id = attempt.job_id AND late_tasks.attempt = attempt.number
  ) AS late ON true
  LEFT JOIN pricing_history AS routed
    ON (routed.model, routed.task, routed.quantity, routed.variant)
     = (attempt.route, job.task, job.quantity, job.variant)
   AND routed.valid @> attempt.sent_at
  LEFT JOIN pricing_history AS version
    ON (version.model, version.task, version.quantity, version.variant)
     = (job.model, job.task, job.quantity, job.variant)
   AND version.valid @> attempt.sent_at
  JOIN pricing_history AS quoted ON quoted.id = job.quoted_price_id
 WHERE attempt.outcome IS NULL OR attempt.outcome IN ('accepted', 'unknown', 'lost')
    OR late.has_delivered;

-- name: record_balance_check
-- No row back: another worker has checked meanwhile. $1 the newest check when Kie was asked,
-- $2 asked at, $3 at, $4 balance, $5 measured from, $6 previous balance, $7 expected low,
-- $8 expected high, $9 drift, $10 unexplained, $11 settled, $12 verdict, $13 account.
INSERT INTO provider_balance_checks
    (follows, asked_at, at, balance, measured_from, previous_balance, expected_spend_low,
     expected_spend_high, drift, unexplained, settled, verdict, provider_account)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT DO NOTHING
RETURNING id;

-- name: last_balance_checks
-- The newest check of each account, by name, and how many of the last day found drift. $1 the names
-- of accounts; those without a check are among the rows, with nulls.
SELECT account.name, newest.verdict, newest.balance,
       extract(epoch FROM now() - newest.at)::double precision AS age_seconds,
       (SELECT count(*) FROM provider_balance_checks
         WHERE provider_account = account.name
           AND verdict = 'drift' AND at >= now() - interval '1 day') AS drifts
  FROM unnest($1::text[]) AS account (name)
  LEFT JOIN LATERAL (
      SELECT verdict, balance, at FROM provider_balance_checks
       WHERE provider_account = account.name ORDER BY id DESC LIMIT 1
  ) AS newest ON true
 ORDER BY account.name;
