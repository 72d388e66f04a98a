-- The job's life: one guarded statement per event of shared/domain/lifecycle.py, with the money
-- inside. `from` and `to` states are handed in from that table. No row back means that somebody
-- else moved the job first, and that nothing at all was written.

-- name: claim_job
-- Commits the intent to POST; two seconds are allowed for the worker's clock. $1 id, $2 from states, $3 to state, $4 token, $5 worker, $6 event.
WITH moved AS (
    UPDATE jobs
       SET state = $3, attempt = attempt + 1, attempted_at = now(), reason = NULL, message = NULL,
           updated_at = now()
     WHERE id = $1 AND state = ANY($2::text[]) AND due_at <= now() + interval '2 seconds'
    RETURNING *
), attempted AS (
    INSERT INTO job_attempts (job_id, number, token, worker, sent_at)
    SELECT id, attempt, $4, $5, attempted_at FROM moved
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $6, jsonb_build_object('attempt', attempt, 'worker', $5::text) FROM moved
)
SELECT * FROM moved;

-- name: record_submitted
-- Stores the task id. $1 id, $2 attempt, $3 from states, $4 to state, $5 task id,
-- $6 deadline in seconds from now, $7 event.
WITH moved AS (
    UPDATE jobs
       SET state = $4, provider_task_id = $5, submitted_at = now(),
           deadline_at = now() + make_interval(secs => $6), reason = NULL, message = NULL,
           updated_at = now()
     WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
    RETURNING *
), attempted AS (
    UPDATE job_attempts SET outcome = 'accepted', provider_task_id = $5, answered_at = now()
      FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $7, jsonb_build_object('provider_task_id', $5::text, 'attempt', attempt) FROM moved
)
SELECT * FROM moved;

-- name: record_stray_task
-- Keeps a task id that came back for an attempt whose job had moved on: evidence, no more.
-- $1 job id, $2 attempt, $3 task id.
UPDATE job_attempts SET provider_task_id = $3, answered_at = coalesce(answered_at, now())
 WHERE job_id = $1 AND number = $2 AND provider_task_id IS NULL
RETURNING job_id;

-- name: record_deferred
-- Back to the queue after an answer that proves no task exists. $1 id, $2 attempt, $3 from states,
-- $4 to state, $5 reason, $6 message, $7 delay in seconds, $8 event.
WITH moved AS (
    UPDATE jobs
       SET state = $4, reason = $5, message = $6, due_at = now() + make_interval(secs => $7),
           updated_at = now()
     WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
    RETURNING *
), attempted AS (
    UPDATE job_attempts SET outcome = 'deferred', message = $6, answered_at = now()
      FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $8, jsonb_build_object('reason', $5::text, 'message', $6::text,
                                      'delay_seconds', $7::double precision) FROM moved
)
SELECT * FROM moved;

-- name: record_unknown
-- The POST may have created a task. $1 id, $2 attempt, $3 from states, $4 to state, $5 reason,
-- $6 message, $7 event.
WITH moved AS (
    UPDATE jobs SET state = $4, reason = $5, message = $6, updated_at = now()
     WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
    RETURNING *
), attempted AS (
    UPDATE job_attempts SET outcome = 'unknown', message = $6, answered_at = now()
      FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $7, jsonb_build_object('reason', $5::text, 'message', $6::text) FROM moved
)
SELECT * FROM moved;

-- name: record_progress
-- $1 id, $2 attempt, $3 from states, $4 progress, $5 event. The one write that need not be on disk
-- before anybody goes on: after a power cut, the next poll says it again.
WITH lazily AS (
    SELECT set_config('synchronous_commit', 'off', true)
), moved AS (
    UPDATE jobs SET progress = $4, updated_at = now()
      FROM lazily
     WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
    RETURNING id
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $5, jsonb_build_object('progress', $4::double precision) FROM moved
)
SELECT id FROM moved;

-- name: settle_job
-- Success: state, images, charge, account and ledger in one statement.
-- $1 id, $2 attempt, $3 from states, $4 to state, $5 image URLs, $6 quantity delivered,
-- $7 charge basis, $8 message, $9 event.
-- Fewer images than asked are charged by the row of what was delivered, where there is one. Where
-- pricing has lost its row, the price of the hold stands, and `price_row_missing` says so.
WITH job AS (
    SELECT model, task, quantity, quoted_price_id, created_at FROM jobs WHERE id = $1
), offer AS (
    SELECT 'current' AS basis, pricing.price_id, pricing.credits, pricing.quantity
      FROM job JOIN pricing USING (model, task)
     WHERE pricing.quantity IN (job.quantity, $6::integer)
    UNION ALL
    SELECT 'quoted', version.id, version.credits, version.quantity
      FROM job JOIN pricing_history AS version USING (model, task)
     WHERE version.id = job.quoted_price_id
        OR (version.quantity = $6 AND job.quantity <> $6 AND version.valid @> job.created_at)
), best AS (
    SELECT DISTINCT ON (basis) basis, price_id, credits
      FROM offer ORDER BY basis, (quantity = $6) DESC
), price AS (
    SELECT price_id, credits FROM best
     ORDER BY CASE WHEN $7::text = 'lower_of' THEN credits END,
              (basis = $7) DESC, basis DESC
     LIMIT 1
), moved AS (
    UPDATE jobs
       SET state = $4, progress = 1, result_urls = $5, credits_charged = price.credits,
           price_id = price.price_id, charge_basis = $7, reason = NULL, message = $8,
           finished_at = now(), updated_at = now()
      FROM price
     WHERE jobs.id = $1 AND jobs.attempt = $2 AND jobs.state = ANY($3::text[])
    RETURNING jobs.*
), account AS (
    UPDATE accounts
       SET balance = balance - moved.credits_charged, held = held - moved.credits_quoted
      FROM moved WHERE accounts.id = moved.account_id
    RETURNING accounts.id, accounts.balance, accounts.held
), entry AS (
    INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                balance_after, held_after, price_id)
    SELECT account.id, moved.id, 'capture', credits_charged, -credits_charged, -credits_quoted,
           account.balance, account.held, moved.price_id
      FROM moved JOIN account ON account.id = moved.account_id
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $9, jsonb_build_object('images', cardinality(result_urls),
                                      'credits_charged', credits_charged, 'price_id', price_id)
      FROM moved
)
SELECT moved.*, NOT EXISTS (SELECT FROM best WHERE basis = 'current') AS price_row_missing
  FROM moved;

-- name: release_job
-- The end without images: state, release and ledger in one statement. $1 id, $2 attempt,
-- $3 from states, $4 to state, $5 reason, $6 message, $7 what becomes of the newest attempt
-- (null: nothing), $8 event.
WITH moved AS (
    UPDATE jobs
       SET state = $4, reason = $5, message = $6, finished_at = now(), updated_at = now()
     WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
    RETURNING *
), attempted AS (
    UPDATE job_attempts
       SET outcome = $7, message = $6, answered_at = coalesce(answered_at, now())
      FROM moved
     WHERE job_attempts.job_id = moved.id AND number = moved.attempt AND $7::text IS NOT NULL
), account AS (
    UPDATE accounts SET held = held - moved.credits_quoted
      FROM moved WHERE accounts.id = moved.account_id
    RETURNING accounts.id, accounts.balance, accounts.held
), entry AS (
    INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                balance_after, held_after, price_id, reason)
    SELECT account.id, moved.id, 'release', credits_quoted, 0, -credits_quoted,
           account.balance, account.held, moved.price_id, $5
      FROM moved JOIN account ON account.id = moved.account_id
), event AS (
    INSERT INTO job_events (job_id, event, detail)
    SELECT id, $8, jsonb_build_object('reason', $5::text, 'message', $6::text) FROM moved
)
SELECT * FROM moved;

-- name: find_claim
-- The claim that a lost connection left in doubt. $1 job id, $2 token, $3 state it must be in.
SELECT jobs.* FROM jobs
  JOIN job_attempts ON job_attempts.job_id = jobs.id AND job_attempts.number = jobs.attempt
 WHERE jobs.id = $1 AND job_attempts.token = $2 AND jobs.state = $3;
