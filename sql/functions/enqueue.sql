-- The way in: one statement stores the jobs, holds their credits and writes the ledger. The functions
-- are of the kind that sql/functions/transitions.sql describes.

-- name: enqueue_job
-- Stores one job with its hold. $1 id, $2 account id, $3 model, $4 task, $5 quantity, $6 request (JSON
-- text), $7 idempotency key, $8 metadata (JSON text), $9 webhook URL, $10 priority, $11 run_at (null:
-- now), $12 retry_of, $13 variant, $14 what becomes of a priority above the account's max_priority:
-- 'refuse', 'lower' (it becomes max_priority), or null (it stays). Returns what only the database knows;
-- no row where the idempotency key already names a job, none where $12 has been retried, and none where
-- there is no price. Refuses with DR404 where there is no such account, with DR402 where it has too few
-- credits available, and as darkroom_require_limits() does where a limit of the account is exceeded.
-- `enqueue_jobs` of one job does the same, a third slower: it sorts and adds up.
CREATE OR REPLACE FUNCTION darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid,
    text DEFAULT '', text DEFAULT NULL)
RETURNS TABLE (id uuid, credits_quoted numeric, price_id bigint, created_at timestamptz, metadata jsonb,
               priority text, never boolean, is_chosen boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM darkroom_apply_scheduled_prices();
    RETURN QUERY
    WITH new_job AS (
        INSERT INTO jobs (id, account_id, model, task, quantity, variant, request, idempotency_key,
                          metadata, webhook_url, priority, run_at, due_at, retry_of, credits_quoted,
                          quoted_price_id, price_id)
        SELECT $1, $2, model, task, quantity, variant, $6::text::jsonb, $7, $8::text::jsonb, $9,
               coalesce((SELECT darkroom_allowed_priority($10, max_priority) FROM accounts
                          WHERE $14 = 'lower' AND id = $2 AND max_priority <> 'high'), $10),
               coalesce($11, now()), greatest($11, now()), $12, credits, price_id, price_id
          FROM pricing WHERE model = $3 AND task = $4 AND quantity = $5 AND variant = $13
            ON CONFLICT DO NOTHING
        RETURNING id, account_id, credits_quoted, price_id, created_at, metadata, priority, due_at
    ), placed AS (
        UPDATE accounts
           SET held = held + credits_quoted,
               -- A transaction of the day before comes too late for its day, and is counted in none.
               day_credits = CASE WHEN now() < day_started_at THEN day_credits
                                  WHEN day_started_at < date_trunc('day', now(), 'UTC') THEN credits_quoted
                                  ELSE day_credits + credits_quoted END,
               day_started_at = greatest(day_started_at, date_trunc('day', now(), 'UTC'))
          FROM new_job
         WHERE accounts.id = new_job.account_id AND accounts.available >= credits_quoted
        RETURNING accounts.balance, accounts.held, day_credits, max_open_jobs, max_queued_jobs,
                  max_credits_per_day, max_priority
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id)
        SELECT account_id, id, 'hold', credits_quoted, 0, credits_quoted, balance, held, price_id
          FROM new_job, placed
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, 'enqueued', jsonb_build_object('credits_quoted', credits_quoted, 'price_id', price_id)
          FROM new_job
    ), chosen AS (
        INSERT INTO chosen_jobs (job_id)
        SELECT id FROM new_job, placed
         WHERE due_at <= now() AND max_open_jobs IS NULL AND darkroom_places_without_wait() > 0
        RETURNING job_id
    ), turn AS (
        -- After the lock of the account: see darkroom_forget_turns().
        INSERT INTO account_turns (account_id, priority)
        SELECT account_id, priority FROM new_job, placed WHERE NOT EXISTS (SELECT FROM chosen)
            ON CONFLICT DO NOTHING
    )
    SELECT id, credits_quoted, price_id, created_at, nullif(metadata, '{}') AS metadata, priority,
           -- The hold found no room, or a limit is exceeded: raising takes everything above back.
           CASE WHEN NOT EXISTS (SELECT FROM placed)
                THEN darkroom_refuse_credits(account_id, credits_quoted)
                WHEN $14 = 'refuse' AND EXISTS (
                         SELECT FROM placed
                          WHERE max_priority <> 'high'
                            AND priority <> darkroom_allowed_priority(priority, max_priority))
                THEN darkroom_refuse_priority(account_id, priority)
                WHEN EXISTS (SELECT FROM placed
                              WHERE max_queued_jobs IS NOT NULL OR day_credits > max_credits_per_day)
                THEN darkroom_require_limits(account_id, 1, credits_quoted) END AS never,
           EXISTS (SELECT FROM chosen) AS is_chosen
      FROM new_job;
END $$;
-- Before it took $13 and $14; a call without them finds the function above.
DROP FUNCTION IF EXISTS darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid);
DROP FUNCTION IF EXISTS darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid, text);
COMMENT ON FUNCTION darkroom_enqueue_job IS
    'For the API: stores one job with its hold.';

-- name: enqueue_jobs
-- Stores jobs with their holds, all or none, in the order given. $1 ids, $2 account ids, $3 models, $4
-- tasks, $5 quantities, $6 requests (JSON text), $7 idempotency keys, $8 metadata (JSON text), $9 webhook
-- URLs, $10 priorities, $11 run_at (null: now), $12 retry_of, $13 variants (null: none has one), $14 what
-- becomes of priorities above max_priority, as above (null: each stays). One row back per job stored, in
-- no order, with what only the database knows: none for what an idempotency key already names, none for
-- the retry of a job that has one, and none for what has no price. Refuses with DR404 where there is no
-- such account, with DR402 where one has too few credits available, and as darkroom_require_limits()
-- does. Keys, retries and accounts are taken in their own order, whatever the order asked: two calls that
-- share several would otherwise wait for each other for ever. Nothing of thousands is joined with
-- thousands that the planner takes for a handful: it would compare each with each.
CREATE OR REPLACE FUNCTION darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[], text[] DEFAULT NULL, text[] DEFAULT NULL)
RETURNS TABLE (id uuid, credits_quoted numeric, price_id bigint, created_at timestamptz, metadata jsonb,
               priority text, is_chosen boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM darkroom_apply_scheduled_prices();
    RETURN QUERY
    WITH asked AS (
        SELECT id, account_id, model, task, quantity, request, idempotency_key, metadata, webhook_url,
               priority, run_at, retry_of, coalesce(variant, '') AS variant, above_maximum, position
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[],
                      $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::uuid[],
                      $13::text[], $14::text[])
               WITH ORDINALITY
            AS a (id, account_id, model, task, quantity, request, idempotency_key, metadata,
                  webhook_url, priority, run_at, retry_of, variant, above_maximum, position)
    ), allowed AS MATERIALIZED (
        -- Of the accounts whose priorities are limited: in general none.
        SELECT id, max_priority FROM accounts
         WHERE max_priority <> 'high'
           AND id IN (SELECT account_id FROM asked WHERE above_maximum IS NOT NULL)
    ), priced AS (
        SELECT asked.*, pricing.price_id, pricing.credits,
               darkroom_allowed_priority(priority, max_priority) AS allowed_priority
          FROM asked JOIN pricing USING (model, task, quantity, variant)
          LEFT JOIN allowed ON allowed.id = account_id AND above_maximum IS NOT NULL
    ), too_high AS (
        SELECT account_id, array_agg(id) AS ids, max(priority) AS priority
          FROM priced WHERE above_maximum = 'refuse' AND priority <> allowed_priority
         GROUP BY account_id
    ), new_job AS (
        INSERT INTO jobs (id, account_id, model, task, quantity, variant, request, idempotency_key,
                          metadata, webhook_url, priority, run_at, due_at, retry_of, credits_quoted,
                          quoted_price_id, price_id)
        SELECT id, account_id, model, task, quantity, variant, request::jsonb, idempotency_key,
               metadata::jsonb, webhook_url,
               CASE above_maximum WHEN 'lower' THEN coalesce(allowed_priority, priority)
                                  ELSE priority END, coalesce(run_at, now()),
               greatest(run_at, now()), retry_of, credits, price_id, price_id
          FROM priced ORDER BY account_id, idempotency_key, retry_of, position
            ON CONFLICT DO NOTHING
        RETURNING id, account_id, credits_quoted, price_id, created_at, metadata, priority, due_at
    ), needed AS (
        SELECT account_id, count(*) AS jobs, sum(credits_quoted) AS credits
          FROM new_job GROUP BY account_id
    ), locked AS (
        SELECT id FROM accounts WHERE id IN (SELECT account_id FROM needed) ORDER BY id
           FOR NO KEY UPDATE
    ), placed AS (
        UPDATE accounts
           SET held = held + needed.credits,
               day_credits = CASE WHEN now() < day_started_at THEN day_credits
                                  WHEN day_started_at < date_trunc('day', now(), 'UTC') THEN needed.credits
                                  ELSE day_credits + needed.credits END,
               day_started_at = greatest(day_started_at, date_trunc('day', now(), 'UTC'))
          FROM needed
         WHERE accounts.id = needed.account_id AND accounts.available >= needed.credits
           -- Counting them locks them all, in order, before the first is changed.
           AND (SELECT count(*) FROM locked) > 0
        RETURNING accounts.id, accounts.balance, accounts.held - needed.credits AS held_before,
                  max_open_jobs,
                  needed.jobs, needed.credits,
                  max_queued_jobs IS NOT NULL OR day_credits > max_credits_per_day AS is_limited
    ), line AS (
        -- Each account's jobs, behind a line that says how it stood before them.
        SELECT id AS account_id, NULL::uuid AS job_id, NULL::numeric AS credits, NULL::bigint AS price_id,
               balance, held_before
          FROM placed
        UNION ALL
        SELECT account_id, id, credits_quoted, price_id, NULL, NULL FROM new_job
    ), reckoned AS (
        SELECT account_id, job_id, credits, price_id, first_value(balance) OVER down_to_it AS balance,
               first_value(held_before) OVER down_to_it + sum(credits) OVER down_to_it AS held
          FROM line
        WINDOW down_to_it AS (PARTITION BY account_id ORDER BY job_id NULLS FIRST ROWS UNBOUNDED PRECEDING)
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id)
        SELECT account_id, job_id, 'hold', credits, 0, credits, balance, held, price_id
          FROM reckoned WHERE job_id IS NOT NULL ORDER BY account_id, job_id
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, 'enqueued', jsonb_build_object('credits_quoted', credits_quoted, 'price_id', price_id)
          FROM new_job
    ), chosen AS (
        INSERT INTO chosen_jobs (job_id)
        SELECT id FROM (SELECT id, account_id FROM new_job WHERE due_at <= now()
                         ORDER BY array_position('{high,normal,low}', priority), id
                         LIMIT darkroom_places_without_wait()) AS first
         WHERE (SELECT max_open_jobs FROM accounts WHERE accounts.id = account_id) IS NULL
        RETURNING job_id
    ), turn AS (
        -- After the lock of the account: see darkroom_forget_turns().
        INSERT INTO account_turns (account_id, priority)
        SELECT DISTINCT account_id, priority FROM new_job
         WHERE id NOT IN (SELECT job_id FROM chosen) AND (SELECT count(*) FROM placed) > 0
         ORDER BY priority, account_id
            ON CONFLICT DO NOTHING
    ), refused AS (
        -- The hold of some account found no room: raising takes everything above back.
        SELECT bool_or(darkroom_refuse_credits(account_id, credits)) AS never
          FROM needed WHERE account_id NOT IN (SELECT id FROM placed)
    ), refused_priority AS (
        SELECT bool_or(darkroom_refuse_priority(account_id, priority)) AS never
          FROM too_high WHERE EXISTS (SELECT FROM new_job WHERE id = ANY(ids))
    ), limited AS (
        SELECT bool_or(darkroom_require_limits(id, jobs, credits)) AS never
          FROM placed WHERE is_limited
    )
    SELECT new_job.id, credits_quoted, price_id, created_at, nullif(metadata, '{}') AS metadata, priority,
           new_job.id IN (SELECT job_id FROM chosen) AS is_chosen
      FROM refused, refused_priority, limited, new_job;
END $$;
DROP FUNCTION IF EXISTS darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[]);
DROP FUNCTION IF EXISTS darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[], text[]);
COMMENT ON FUNCTION darkroom_enqueue_jobs IS
    'For the API: stores jobs with their holds, all or none.';
