-- Reading jobs as logins that may not read prompts. The columns are those of jobs.sql; what is masked
-- comes empty.

-- name: get_masked_job
-- $1 id.
SELECT *, '{}'::text[] AS result_urls, NULL::text[] AS late_result_urls, '[]'::jsonb AS images,
       '{}'::jsonb AS metadata, NULL::text AS idempotency_key, NULL::text AS webhook_url,
       NULL::timestamptz AS images_due_at
  FROM jobs_masked WHERE id = $1;

-- name: list_masked_jobs
-- A page of a list. The parameters are those of list_jobs; $4 has no effect, as there is no metadata.
WITH found AS MATERIALIZED (
    SELECT darkroom_find_masked_jobs($6::text::jsonb, $1, $2::bigint + 1) AS id
), wanted AS (
    SELECT id, account_id, model, task, quantity, variant, state, reason, message, progress,
           provider_task_id, '{}'::text[] AS result_urls, NULL::text[] AS late_result_urls,
           credits_quoted, credits_charged, price_id, attempt, priority, run_at, due_at, created_at,
           attempted_at, submitted_at, deadline_at, finished_at, NULL::text AS idempotency_key,
           NULL::text AS webhook_url, retry_of, route, '[]'::jsonb AS images,
           NULL::timestamptz AS images_due_at, cancel_requested_at, pruned_at,
           CASE WHEN $3::boolean THEN request ELSE '{}' END AS request, '{}'::jsonb AS metadata
      FROM found JOIN jobs_masked USING (id)
), sized AS (
    SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
           sum(800 + octet_length(request::text) + coalesce(octet_length(message), 0)) OVER newest
               AS bytes_so_far
      FROM wanted WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM sized
 WHERE place <= $2 AND (place = 1 OR bytes_so_far <= $5::bigint) AND $4::boolean IS NOT NULL
 ORDER BY id DESC;

-- name: count_masked_jobs
-- How many jobs match a filter, by state and reason. $1 the filter (JSON text).
SELECT (counted).state, (counted).reason, (counted).jobs
  FROM (SELECT darkroom_count_masked_jobs($1::text::jsonb) AS counted) AS counts;
