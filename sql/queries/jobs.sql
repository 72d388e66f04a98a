-- Reading jobs.

-- name: get_job
-- $1 id.
SELECT * FROM jobs WHERE id = $1;

-- name: get_jobs
-- $1 ids. Newest first.
SELECT * FROM jobs WHERE id = ANY($1::uuid[]) ORDER BY id DESC;

-- name: job_states
-- $1 ids. Who waits asks for no more, as a request and its notes may be long. `is_announced`: the end
-- does not wait for copies of images any more.
SELECT id, state, (images_due_at > now()) IS NOT TRUE AS is_announced,
       cancel_requested_at IS NOT NULL AS is_cancel_requested
  FROM jobs WHERE id = ANY($1::uuid[]);

-- name: jobs_to_run
-- $1 ids: jobs, each with the Kie account of its newest attempt, whether it is queued and a pause
-- applies to it, and the route in force for its model (null: its own family).
SELECT jobs.*, attempt.provider_account,
       (SELECT via FROM active_routes WHERE active_routes.model = jobs.model) AS route_in_force,
       jobs.state = 'queued' AND EXISTS (
           SELECT FROM active_pauses
            WHERE scope = 'everything'
               OR (scope, value) IN (('model', jobs.model), ('account', jobs.account_id))) AS is_paused
  FROM jobs
  LEFT JOIN job_attempts AS attempt ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
 WHERE jobs.id = ANY($1::uuid[]);

-- name: list_jobs
-- A page of a list, newest first: as many jobs as there may be and as fit; the first always fits.
-- In every row: its place, and how many were found, which is one more than $2 where there are more.
-- $1 only ids below this or null, $2 how many at most, $3 and $4 whether requests and metadata are
-- wanted (else they come empty), $5 how many bytes of text, $6 the filter (JSON text; see
-- sql/functions/filtered_jobs.sql).
WITH found AS MATERIALIZED (
    SELECT darkroom_find_jobs($6::text::jsonb, $1, $2::bigint + 1) AS id
), wanted AS (
    SELECT id, account_id, model, task, quantity, variant, state, reason, message, progress,
           provider_task_id, result_urls, late_result_urls, credits_quoted, credits_charged,
           price_id, attempt, priority, run_at, due_at, created_at, attempted_at, submitted_at,
           deadline_at, finished_at, idempotency_key, webhook_url, retry_of, route, images,
           images_due_at, cancel_requested_at, pruned_at,
           CASE WHEN $3::boolean THEN request ELSE '{}' END AS request,
           CASE WHEN $4::boolean THEN metadata ELSE '{}' END AS metadata
      FROM found JOIN jobs USING (id)
), sized AS (
    SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
           sum(800 + octet_length(request::text) + octet_length(metadata::text)
               + coalesce(octet_length(message), 0)
               + octet_length(array_to_string(result_urls || late_result_urls, ''))
               + octet_length(images::text)) OVER newest
               AS bytes_so_far
      FROM wanted WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM sized
 WHERE place <= $2 AND (place = 1 OR bytes_so_far <= $5::bigint)
 ORDER BY id DESC;

-- name: count_jobs
-- How many jobs match a filter, by state and reason. $1 the filter (JSON text).
SELECT (counted).state, (counted).reason, (counted).jobs
  FROM (SELECT darkroom_count_jobs($1::text::jsonb) AS counted) AS counts;

-- name: cancel_job
-- Cancels a queued job, or requests the cancel of one that is at Kie. $1 id, $2 who (JSON text; null:
-- the caller). No row back: it has ended, or its cancel was requested before.
SELECT * FROM darkroom_cancel_job($1, $2::text::jsonb);

-- name: list_events
-- $1 job id: its timeline, oldest first.
SELECT id, at, event, detail FROM job_events WHERE job_id = $1 ORDER BY id;

-- name: list_attempts
-- $1 job id: its paid POSTs, oldest first, without their secret tokens. What Kie says that the task cost
-- is that of the newest, beside what the price of the job says.
SELECT one.number, one.worker, one.provider_account, one.route, one.sent_at, one.answered_at, one.outcome,
       one.provider_task_id, one.message, jobs.consumed_credits,
       version.provider_credits AS expected_credits
  FROM job_attempts AS one
  LEFT JOIN jobs_masked AS jobs ON jobs.id = one.job_id AND jobs.attempt = one.number
  LEFT JOIN pricing_history AS version ON version.id = jobs.price_id
 WHERE one.job_id = $1 ORDER BY one.number;

-- name: list_job_entries
-- $1 job id: what it did to its account, oldest first.
SELECT id, kind, credits, balance_after, held_after, price_id, created_at
  FROM ledger_entries WHERE job_id = $1 ORDER BY id;

-- name: list_retries
-- $1 job id: the jobs that repeat its request, oldest first. There is one, except for jobs that older
-- versions retried several times.
SELECT id, state, reason, created_at, credits_quoted, credits_charged
  FROM jobs_masked WHERE retry_of = $1 ORDER BY id;
