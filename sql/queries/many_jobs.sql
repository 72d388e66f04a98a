-- Acts on many jobs at once: which jobs, what they cost, and the cancel.

-- name: find_job_ids
-- The newest first. $1 the filter (JSON text; see sql/functions/filtered_jobs.sql), $2 only ids below this
-- or null, $3 how many at most.
SELECT darkroom_find_jobs($1::text::jsonb, $2, $3::bigint) AS id;

-- name: cost_of_jobs
-- What their cancels would release, how many would only be requested, and what their retries would
-- hold, by account. $1 ids.
SELECT jobs.account_id, count(*) AS jobs,
       coalesce(sum(jobs.credits_quoted) FILTER (WHERE jobs.state = 'queued'), 0) AS credits_released,
       count(*) FILTER (WHERE jobs.state IN ('submitting', 'unknown', 'generating')
                          AND jobs.cancel_requested_at IS NULL) AS requested,
       coalesce(sum(pricing.credits), 0) AS credits_now,
       count(*) FILTER (WHERE pricing.price_id IS NULL) AS jobs_without_price, accounts.available
  FROM jobs
  JOIN accounts ON accounts.id = jobs.account_id
  LEFT JOIN pricing USING (model, task, quantity, variant)
 WHERE jobs.id = ANY($1::uuid[])
 GROUP BY jobs.account_id, accounts.available
 ORDER BY jobs.account_id;

-- name: cancel_jobs
-- Cancels jobs, or requests that. $1 ids, $2 who (JSON text; null: the caller). No row for a job that has
-- ended, or whose cancel was requested before.
SELECT * FROM darkroom_cancel_jobs($1::uuid[], $2::text::jsonb);

-- name: find_retries
-- $1 job ids: the jobs that repeat their requests, one for each.
SELECT DISTINCT ON (retry_of) * FROM jobs WHERE retry_of = ANY($1::uuid[])
 ORDER BY retry_of, retry_number;
