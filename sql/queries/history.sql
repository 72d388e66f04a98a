-- The history of the queue: samples for plots, and the totals of a day.

-- name: sample_history
-- $1 what is known of each Kie account, by its name.
SELECT darkroom_sample_history($1) AS interval_seconds;

-- name: read_history
-- Oldest first. $1 length of the intervals in seconds, $2 how far to look back (seconds).
SELECT starts_at, queued, scheduled, submitting, unknown, generating, held_for_review,
       oldest_waiting_seconds, accepted, submitted, succeeded, failed, cancelled, credits_held, credits_charged,
       wait_p50_seconds, wait_p95_seconds, run_p50_seconds, run_p95_seconds, lag_p50_seconds,
       lag_p95_seconds, polls, kie_accounts
  FROM history_samples
 WHERE interval_seconds = $1 AND starts_at >= now() - make_interval(secs => $2)
 ORDER BY starts_at;

-- name: day_totals
-- What ended since the day began (UTC). Samples of 5 min say what they cover; the rest, which is the
-- last minutes and what no worker has sampled, is counted in jobs.
WITH day AS (
    SELECT date_trunc('day', now(), 'UTC') AS begins
), sample AS (
    SELECT starts_at, starts_at + make_interval(secs => interval_seconds) AS ends_at, succeeded,
           failed, cancelled, credits_charged
      FROM history_samples, day
     WHERE interval_seconds = 300 AND starts_at >= day.begins
), uncovered AS (
    SELECT coalesce(lag(ends_at) OVER (ORDER BY starts_at), day.begins) AS since, starts_at AS until
      FROM sample, day
     UNION ALL
    SELECT coalesce((SELECT max(ends_at) FROM sample), day.begins), 'infinity' FROM day
), part AS (
    SELECT succeeded, failed, cancelled, credits_charged FROM sample
     UNION ALL
    SELECT counted.* FROM uncovered, LATERAL (
        SELECT count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed'),
               count(*) FILTER (WHERE state = 'cancelled'), sum(jobs.credits_charged)
          FROM jobs WHERE finished_at >= uncovered.since AND finished_at < uncovered.until
    ) AS counted
     WHERE uncovered.since < uncovered.until
)
SELECT (SELECT begins FROM day) AS begins, sum(succeeded)::integer AS succeeded,
       sum(failed)::integer AS failed, sum(cancelled)::integer AS cancelled,
       coalesce(sum(credits_charged), 0) AS credits_charged
  FROM part;

-- name: kie_account_names
-- The Kie accounts that live workers have keys of, and the submits per 10 s that they keep to. $1 how
-- long a process counts as alive (seconds).
SELECT ARRAY(SELECT DISTINCT account FROM processes, jsonb_object_keys(key_fingerprints) AS account
              WHERE kind = 'worker' AND stopped_at IS NULL
                AND seen_at > now() - make_interval(secs => $1) ORDER BY account) AS names,
       (SELECT limits ->> 'KIE_SUBMITS_PER_10_SECONDS' FROM processes
         WHERE kind = 'worker' AND stopped_at IS NULL
           AND seen_at > now() - make_interval(secs => $1)
         ORDER BY started_at DESC LIMIT 1)::integer AS submits_per_10_seconds;
