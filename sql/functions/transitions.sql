-- The job's life: one guarded statement per event of shared/domain/lifecycle.py, with the money
-- inside. `from` and `to` states are handed in from that table. No row back for a job means that
-- somebody else moved it first, and that nothing at all was written for it.
--
-- The four that every job goes through (claim, submitted, progress, settle) take many jobs at once:
-- what comes together is one statement and one commit. All of it is written or, on an error, nothing.
-- A job stands in one call once. Such a call waits for locks no longer than it is told ('200ms', '0'
-- for as long as it takes), so that one row that somebody holds keeps nobody else's jobs up.
--
-- Each acts with its owner's rights: sql/rights.sql says who may call it, and no role may write these
-- tables in any other way. plpgsql, because it keeps the plans of its statements; parameters have no
-- names, so that no column is ever taken for one.

-- name: claim_jobs
-- Commits the intent to POST, with which Kie account and by which route, of jobs that are due by this
-- clock, to which no active pause applies, and whose route is the one in force for their model.
-- $1 lock timeout, $2 ids, $3 tokens, $4 accounts, $5 from states, $6 to state, $7 worker, $8 event,
-- $9 routes (null for a model's own family). A worker that knows no routes sends no $9; its attempts go
-- by the model's own family.
CREATE OR REPLACE FUNCTION darkroom_claim_jobs(
    text, uuid[], text[], text[], text[], text, text, text, text[] DEFAULT NULL)
RETURNS TABLE (id uuid, attempt integer, attempted_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH lock_limit AS MATERIALIZED (
        SELECT set_config('lock_timeout', $1, true)
    ), asked AS (
        SELECT a.* FROM lock_limit, unnest($2::uuid[], $3::text[], $4::text[], $9::text[])
            AS a (id, token, account, route)
    ), paused AS MATERIALIZED (
        SELECT scope, value FROM active_pauses
    ), routed AS MATERIALIZED (
        SELECT model, via FROM active_routes
    ), moved AS (
        UPDATE jobs
           SET state = $6, attempt = attempt + 1, attempted_at = now(), reason = NULL, message = NULL,
               route = asked.route, updated_at = now()
          FROM asked
         WHERE jobs.id = asked.id AND state = ANY($5::text[])
           AND due_at <= now()
           AND NOT EXISTS (SELECT FROM paused
                            WHERE scope = 'everything'
                               OR (scope, value) IN (('model', jobs.model), ('account', account_id),
                                                     ('kie_account', asked.account)))
           AND ($9 IS NULL
                OR asked.route IS NOT DISTINCT FROM (SELECT via FROM routed
                                                      WHERE routed.model = jobs.model))
        RETURNING jobs.id, jobs.attempt, jobs.attempted_at, asked.token, asked.account, asked.route
    ), attempted AS (
        INSERT INTO job_attempts (job_id, number, token, worker, sent_at, provider_account, route)
        SELECT id, attempt, token, $7, attempted_at, account, route FROM moved
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $8, jsonb_build_object('attempt', attempt, 'worker', $7::text)
                       || CASE WHEN route IS NULL THEN '{}' ELSE jsonb_build_object('route', route) END
          FROM moved
    ), taken AS (
        DELETE FROM chosen_jobs USING moved WHERE job_id = moved.id
    )
    SELECT id, attempt, attempted_at FROM moved;
END $$;
-- Before it took $9; a call without it finds the function above.
DROP FUNCTION IF EXISTS darkroom_claim_jobs(text, uuid[], text[], text[], text[], text, text, text);
COMMENT ON FUNCTION darkroom_claim_jobs IS
    'For workers: commits the intent to POST, before it is sent.';

-- name: record_submitted
-- Stores the task ids. $1 lock timeout, $2 ids, $3 attempts, $4 task ids, $5 from states, $6 to state,
-- $7 deadline in seconds from now, $8 event.
CREATE OR REPLACE FUNCTION darkroom_record_submitted(
    text, uuid[], integer[], text[], text[], text, double precision, text)
RETURNS TABLE (id uuid, submitted_at timestamptz, deadline_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH lock_limit AS MATERIALIZED (
        SELECT set_config('lock_timeout', $1, true)
    ), asked AS (
        SELECT a.* FROM lock_limit, unnest($2::uuid[], $3::integer[], $4::text[])
            AS a (id, attempt, task_id)
    ), moved AS (
        UPDATE jobs
           SET state = $6, provider_task_id = asked.task_id, submitted_at = now(),
               deadline_at = now() + make_interval(secs => $7), reason = NULL, message = NULL,
               updated_at = now()
          FROM asked
         WHERE jobs.id = asked.id AND jobs.attempt = asked.attempt AND state = ANY($5::text[])
        RETURNING jobs.id, jobs.attempt, jobs.provider_task_id, jobs.submitted_at, jobs.deadline_at
    ), attempted AS (
        UPDATE job_attempts
           SET outcome = 'accepted', provider_task_id = moved.provider_task_id, answered_at = now()
          FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $8, jsonb_build_object('provider_task_id', provider_task_id, 'attempt', attempt)
          FROM moved
    )
    SELECT id, submitted_at, deadline_at FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_record_submitted IS
    'For workers: stores the ids of tasks that Kie accepted.';

-- name: record_stray_task
-- Keeps a task id that came back for an attempt whose job had moved on, and has the task checked once
-- the job has ended. $1 job id, $2 attempt, $3 task id.
CREATE OR REPLACE FUNCTION darkroom_record_stray_task(uuid, integer, text)
RETURNS TABLE (job_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH noted AS (
        INSERT INTO late_tasks (job_id, attempt, provider_task_id)
        SELECT job_id, number, $3 FROM job_attempts
         WHERE number = $2 AND job_id = $1 AND provider_task_id IS DISTINCT FROM $3
            ON CONFLICT (job_id, attempt, provider_task_id) DO UPDATE SET is_claimed = false
         WHERE late_tasks.outcome IS NULL
    )
    UPDATE job_attempts SET provider_task_id = $3, answered_at = coalesce(answered_at, now())
     WHERE job_id = $1 AND number = $2 AND provider_task_id IS NULL
    RETURNING job_id;
END $$;
COMMENT ON FUNCTION darkroom_record_stray_task IS
    'For workers: keeps a task id that came after its job had moved on.';

-- name: record_deferred
-- Back to the queue after an answer that proves no task exists. $1 id, $2 attempt, $3 from states,
-- $4 to state, $5 reason, $6 message, $7 delay in seconds, $8 event. There is no delay where the
-- endpoint was wrong and the model has another route since. A job whose cancel was requested is not
-- queued again: it ends as cancelled, and its hold is released.
CREATE OR REPLACE FUNCTION darkroom_record_deferred(
    uuid, integer, text[], text, text, text, double precision, text)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs
           SET state = CASE WHEN cancel_requested_at IS NULL THEN $4 ELSE 'cancelled' END,
               reason = coalesce(cancel_reason, $5),
               message = CASE WHEN cancel_requested_at IS NULL THEN $6
                              ELSE CASE cancel_reason WHEN 'cancelled_by_operator'
                                        THEN 'cancelled by an operator' ELSE 'cancelled by the caller' END
                                   || '; the attempt created no task' END,
               finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
               due_at = now() + make_interval(secs => CASE
                   WHEN $5 IN ('wrong_endpoint', 'model_gone')
                        AND route IS DISTINCT FROM (SELECT via FROM active_routes
                                                     WHERE active_routes.model = jobs.model)
                   THEN 0 ELSE $7 END),
               updated_at = now()
         WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
        RETURNING *
    ), attempted AS (
        UPDATE job_attempts SET outcome = 'deferred', message = $6, answered_at = now()
          FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
    ), chosen AS (
        -- Its turn was counted, and its delivery is still there.
        INSERT INTO chosen_jobs (job_id) SELECT id FROM moved WHERE state <> 'cancelled'
            ON CONFLICT DO NOTHING
    ), account AS (
        UPDATE accounts
           SET held = held - moved.credits_quoted,
               day_credits = day_credits - CASE WHEN moved.created_at >= day_started_at
                                                THEN moved.credits_quoted ELSE 0 END
          FROM moved WHERE accounts.id = moved.account_id AND moved.state = 'cancelled'
        RETURNING accounts.id, accounts.balance, accounts.held
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id, reason)
        SELECT account.id, moved.id, 'release', credits_quoted, 0, -credits_quoted,
               account.balance, account.held, moved.price_id, moved.reason
          FROM moved JOIN account ON account.id = moved.account_id
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, CASE state WHEN 'cancelled' THEN 'cancelled_on_deferral' ELSE $8 END,
               jsonb_build_object('reason', reason, 'message', message)
               || CASE state WHEN 'cancelled' THEN '{}'
                  ELSE jsonb_build_object('delay_seconds', $7::double precision) END
          FROM moved
    )
    SELECT * FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_record_deferred IS
    'For workers: puts a job back into the queue whose attempt created nothing, or ends it if its cancel was requested.';

-- name: record_unknown
-- The POST may have created a task. $1 id, $2 attempt, $3 from states, $4 to state, $5 reason,
-- $6 message, $7 event, $8 how old the attempt must be (seconds) where its worker counts as lost.
CREATE OR REPLACE FUNCTION darkroom_record_unknown(
    uuid, integer, text[], text, text, text, text, double precision)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs SET state = $4, reason = $5, message = $6, updated_at = now()
         WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
           AND ($5 <> 'worker_lost' OR attempted_at <= now() - make_interval(secs => $8))
        RETURNING *
    ), attempted AS (
        UPDATE job_attempts SET outcome = 'unknown', message = $6, answered_at = now()
          FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $7, jsonb_build_object('reason', $5::text, 'message', $6::text) FROM moved
    )
    SELECT * FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_record_unknown IS
    'For workers: notes that an attempt may have created a task.';

-- name: record_progress
-- $1 lock timeout, $2 ids, $3 attempts, $4 progress of each, $5 from states, $6 event. The one write
-- that need not be on disk before anybody goes on: after a power cut, the next poll says it again.
CREATE OR REPLACE FUNCTION darkroom_record_progress(
    text, uuid[], integer[], double precision[], text[], text)
RETURNS TABLE (id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH lock_limit AS MATERIALIZED (
        SELECT set_config('lock_timeout', $1, true), set_config('synchronous_commit', 'off', true)
    ), asked AS (
        SELECT a.* FROM lock_limit, unnest($2::uuid[], $3::integer[], $4::double precision[])
            AS a (id, attempt, progress)
    ), moved AS (
        UPDATE jobs SET progress = asked.progress, updated_at = now()
          FROM asked
         WHERE jobs.id = asked.id AND jobs.attempt = asked.attempt AND state = ANY($5::text[])
        RETURNING jobs.id, jobs.progress
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $6, jsonb_build_object('progress', progress) FROM moved
    )
    SELECT id FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_record_progress IS
    'For workers: stores how far tasks have come.';

-- name: hold_for_review
-- Kie reports a success that cannot be read: the hold stays. Once for each reason: no row back where
-- the job is held for it already. $1 id, $2 attempt, $3 from states, $4 to state, $5 reason,
-- $6 message, $7 Kie's answer (for operators: the attempt keeps it), $8 event.
CREATE OR REPLACE FUNCTION darkroom_hold_for_review(uuid, integer, text[], text, text, text, text, text)
RETURNS TABLE (id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs SET state = $4, reason = $5, message = $6, updated_at = now()
         WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[]) AND reason IS DISTINCT FROM $5
        RETURNING *
    ), attempted AS (
        UPDATE job_attempts SET message = $7
          FROM moved WHERE job_attempts.job_id = moved.id AND number = moved.attempt
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $8, jsonb_build_object('reason', $5::text, 'message', $6::text) FROM moved
    )
    SELECT id FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_hold_for_review IS
    'For workers: keeps the hold of a job whose success cannot be read.';

-- name: settle_jobs
-- Success: state, images, charge, account and ledger in one statement.
-- $1 lock timeout, $2 ids, $3 attempts, $4 image URLs (a JSON array each), $5 quantities delivered,
-- $6 messages, $7 from states, $8 to state, $9 charge basis, $10 event, $11 when Kie was done with each,
-- $12 for how long the ends are not announced while the images are copied (seconds; null: they are not
-- copied), $13 what Kie says that each cost.
-- Fewer images than asked are charged by the row of what was delivered, of the same variant, where there
-- is one. Where
-- pricing has lost its row, the price of the hold stands, and `price_row_missing` says so.
-- Jobs come before accounts, and accounts in their own order: who moves several never waits for
-- somebody who waits for him. Each entry shows the account as it stood right after it.
CREATE OR REPLACE FUNCTION darkroom_settle_jobs(
    text, uuid[], integer[], text[], integer[], text[], text[], text, text, text,
    timestamptz[] DEFAULT NULL, double precision DEFAULT NULL, numeric[] DEFAULT NULL)
RETURNS TABLE (id uuid, submitted_at timestamptz, finished_at timestamptz, credits_charged numeric,
               price_id bigint, price_row_missing boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM darkroom_apply_scheduled_prices();
    RETURN QUERY
    WITH lock_limit AS MATERIALIZED (
        SELECT set_config('lock_timeout', $1, true)
    ), asked AS (
        SELECT a.* FROM lock_limit, unnest($2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::text[],
                                         $11::timestamptz[], $13::numeric[])
            AS a (id, attempt, result_urls, delivered, message, provider_finished_at, consumed_credits)
    ), job AS (
        SELECT jobs.id, asked.attempt, asked.result_urls, asked.delivered, asked.message,
               asked.provider_finished_at, asked.consumed_credits, jobs.model, jobs.task,
               jobs.quantity, jobs.variant,
               jobs.quoted_price_id, jobs.created_at
          FROM asked JOIN jobs ON jobs.id = asked.id
    ), offer AS (
        SELECT job.id, 'current' AS basis, pricing.price_id, pricing.credits,
               pricing.quantity = job.delivered AS fits
          FROM job JOIN pricing USING (model, task, variant)
         WHERE pricing.quantity IN (job.quantity, job.delivered)
        UNION ALL
        SELECT job.id, 'quoted', version.id, version.credits, version.quantity = job.delivered
          FROM job JOIN pricing_history AS version ON version.id = job.quoted_price_id
        UNION ALL
        SELECT job.id, 'quoted', version.id, version.credits, true
          FROM job JOIN pricing_history AS version
            ON (version.model, version.task, version.quantity, version.variant)
             = (job.model, job.task, job.delivered, job.variant)
           AND version.valid @> job.created_at
         WHERE job.quantity <> job.delivered
    ), best AS (
        SELECT DISTINCT ON (id, basis) id, basis, price_id, credits
          FROM offer ORDER BY id, basis, fits DESC
    ), price AS (
        SELECT DISTINCT ON (id) id, price_id, credits FROM best
         ORDER BY id, CASE WHEN $9::text = 'lower_of' THEN credits END,
                  (basis = $9) DESC, basis DESC
    ), moved AS (
        UPDATE jobs
           SET state = $8, progress = 1, credits_charged = price.credits, price_id = price.price_id,
               result_urls = ARRAY(SELECT jsonb_array_elements_text(job.result_urls::jsonb)),
               charge_basis = $9, reason = NULL, message = job.message, finished_at = now(),
               provider_finished_at = job.provider_finished_at,
               consumed_credits = job.consumed_credits,
               images_due_at = now() + make_interval(secs => $12),
               images = CASE WHEN $12 IS NULL THEN jobs.images ELSE darkroom_show_new_images(
                            ARRAY(SELECT jsonb_array_elements_text(job.result_urls::jsonb))) END,
               updated_at = now()
          FROM price JOIN job USING (id)
         WHERE jobs.id = price.id AND jobs.attempt = job.attempt AND jobs.state = ANY($7::text[])
        RETURNING jobs.id, jobs.account_id, jobs.credits_quoted, jobs.credits_charged, jobs.price_id,
                  jobs.submitted_at, jobs.finished_at, jobs.attempt, jobs.provider_task_id,
                  jobs.result_urls, jobs.images_due_at, cardinality(jobs.result_urls) AS images,
                  jobs.created_at
    ), kept AS (
        INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url, announce_at)
        SELECT moved.id, image.position, attempt, provider_task_id, image.url, images_due_at
          FROM moved, unnest(result_urls) WITH ORDINALITY AS image (url, position)
         WHERE $12 IS NOT NULL
    ), total AS (
        SELECT account_id, sum(credits_charged) AS charged, sum(credits_quoted) AS quoted,
               bool_or(credits_charged <> credits_quoted) AS differs
          FROM moved GROUP BY account_id
    ), locked AS (
        SELECT id FROM accounts WHERE id IN (SELECT account_id FROM total) ORDER BY id
           FOR NO KEY UPDATE
    ), account AS (
        UPDATE accounts
           SET balance = balance - total.charged, held = held - total.quoted,
               day_credits = day_credits + CASE WHEN differs THEN
                   (SELECT coalesce(sum(credits_charged - credits_quoted), 0) FROM moved
                     WHERE moved.account_id = accounts.id AND moved.created_at >= day_started_at)
                   ELSE 0 END
          FROM total JOIN locked ON locked.id = total.account_id
         WHERE accounts.id = total.account_id
        RETURNING accounts.id, accounts.balance, accounts.held
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id)
        SELECT account.id, moved.id, 'capture', credits_charged, -credits_charged, -credits_quoted,
               account.balance + coalesce(sum(credits_charged) OVER later, 0),
               account.held + coalesce(sum(credits_quoted) OVER later, 0), moved.price_id
          FROM moved JOIN account ON account.id = moved.account_id
        WINDOW later AS (PARTITION BY account.id ORDER BY moved.id DESC
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
         ORDER BY moved.id
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, $10, jsonb_build_object('images', images, 'credits_charged', credits_charged,
                                           'price_id', price_id)
                        || CASE WHEN $12 IS NULL THEN '{}'
                                ELSE jsonb_build_object('images_due_at', images_due_at) END
          FROM moved
    )
    SELECT id, submitted_at, finished_at, credits_charged, price_id,
           NOT EXISTS (SELECT FROM best WHERE best.id = moved.id AND basis = 'current')
               AS price_row_missing
      FROM moved;
END $$;
-- Before it took $11, $12 and $13; a call without them finds the function above.
DROP FUNCTION IF EXISTS darkroom_settle_jobs(
    text, uuid[], integer[], text[], integer[], text[], text[], text, text, text);
DROP FUNCTION IF EXISTS darkroom_settle_jobs(
    text, uuid[], integer[], text[], integer[], text[], text[], text, text, text, timestamptz[]);
DROP FUNCTION IF EXISTS darkroom_settle_jobs(
    text, uuid[], integer[], text[], integer[], text[], text[], text, text, text, timestamptz[],
    double precision);
COMMENT ON FUNCTION darkroom_settle_jobs IS
    'For workers: ends jobs with their images and charges them, once.';

-- name: release_job
-- The end without images: state, release and ledger in one statement. $1 id, $2 attempt,
-- $3 from states, $4 to state, $5 reason, $6 message, $7 what becomes of the newest attempt
-- (null: nothing), $8 event. By its deadline a job ends only where that has passed by this clock,
-- whatever the worker's says; and one that is held for an operator by no deadline, whatever the
-- worker remembers.
CREATE OR REPLACE FUNCTION darkroom_release_job(uuid, integer, text[], text, text, text, text, text)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs
           SET state = $4, reason = $5, message = $6, finished_at = now(), updated_at = now()
         WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[])
           AND ($5 <> 'deadline_exceeded' OR deadline_at <= now())
           AND ($5 <> 'deadline_exceeded' OR reason IS DISTINCT FROM 'result_unreadable')
        RETURNING *
    ), attempted AS (
        UPDATE job_attempts
           SET outcome = $7, message = $6, answered_at = coalesce(answered_at, now())
          FROM moved
         WHERE job_attempts.job_id = moved.id AND number = moved.attempt AND $7::text IS NOT NULL
    ), account AS (
        UPDATE accounts
           SET held = held - moved.credits_quoted,
               day_credits = day_credits - CASE WHEN moved.created_at >= day_started_at
                                                THEN moved.credits_quoted ELSE 0 END
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
END $$;
COMMENT ON FUNCTION darkroom_release_job IS
    'Ends a job without images and releases its hold, once.';

-- name: held_rows
-- Which of these jobs and of their accounts another session holds: asked after a statement has waited
-- for a lock in vain. What it locks it lets go at once. $1 job ids.
CREATE OR REPLACE FUNCTION darkroom_held_rows(uuid[])
RETURNS TABLE (id uuid, account_id text, job_is_held boolean, account_is_held boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH job AS MATERIALIZED (
        SELECT id, account_id FROM jobs WHERE id = ANY($1::uuid[])
    ), free_job AS MATERIALIZED (
        SELECT id FROM jobs WHERE id IN (SELECT id FROM job) FOR NO KEY UPDATE SKIP LOCKED
    ), free_account AS MATERIALIZED (
        SELECT id FROM accounts WHERE id IN (SELECT account_id FROM job) FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT id, account_id, id NOT IN (SELECT id FROM free_job) AS job_is_held,
           account_id NOT IN (SELECT id FROM free_account) AS account_is_held
      FROM job;
END $$;
COMMENT ON FUNCTION darkroom_held_rows IS
    'For workers: which rows of these jobs another session has locked.';
