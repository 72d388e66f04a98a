-- The way in: one statement stores the jobs, holds their credits and writes the ledger. The functions
-- are of the kind that sql/functions/transitions.sql describes.

-- name: enqueue_job
-- Stores one job with its hold. $1 id, $2 account id, $3 model, $4 task, $5 quantity, $6 request (JSON
-- text), $7 idempotency key, $8 metadata (JSON text), $9 webhook URL, $10 priority, $11 run_at (null:
-- now), $12 retry_of, $13 variant. Returns what only the database knows; no row where the idempotency key
-- already names a job, none where $12 has been retried, and none where there is no price. Refuses with
-- DR404 where there is no such account, with DR402 where it has too few credits available. `enqueue_jobs`
-- of one job does the same, a third slower: it sorts and adds up.
CREATE OR REPLACE FUNCTION darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid,
    text DEFAULT '')
RETURNS TABLE (id uuid, credits_quoted numeric, price_id bigint, created_at timestamptz, metadata jsonb,
               never boolean, is_chosen boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM darkroom_apply_scheduled_prices();
    RETURN QUERY
    WITH new_job AS (
        INSERT INTO jobs (id, account_id, model, task, quantity, variant, request, idempotency_key,
                          metadata, webhook_url, priority, run_at, due_at, retry_of, credits_quoted,
                          quoted_price_id, price_id)
        SELECT $1, $2, model, task, quantity, variant, $6::text::jsonb, $7, $8::text::jsonb, $9, $10,
               coalesce($11, now()), greatest($11, now()), $12, credits, price_id, price_id
          FROM pricing WHERE model = $3 AND task = $4 AND quantity = $5 AND variant = $13
            ON CONFLICT DO NOTHING
        RETURNING id, account_id, credits_quoted, price_id, created_at, metadata, priority, due_at
    ), placed AS (
        UPDATE accounts SET held = held + credits_quoted
          FROM new_job
         WHERE accounts.id = new_job.account_id AND accounts.available >= credits_quoted
        RETURNING accounts.balance, accounts.held, max_open_jobs
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
    SELECT id, credits_quoted, price_id, created_at, nullif(metadata, '{}') AS metadata,
           -- The hold found no room: raising takes everything above back.
           CASE WHEN NOT EXISTS (SELECT FROM placed)
                THEN darkroom_refuse_credits(account_id, credits_quoted) END AS never,
           EXISTS (SELECT FROM chosen) AS is_chosen
      FROM new_job;
END $$;
-- Before it took $13; a call without it finds the function above.
DROP FUNCTION IF EXISTS darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid);
COMMENT ON FUNCTION darkroom_enqueue_job IS
    'For the API: stores one job with its hold.';

-- name: enqueue_jobs
-- Stores jobs with their holds, all or none, in the order given. $1 ids, $2 account ids, $3 models, $4
-- tasks, $5 quantities, $6 requests (JSON text), $7 idempotency keys, $8 metadata (JSON text), $9 webhook
-- URLs, $10 priorities, $11 run_at (null: now), $12 retry_of, $13 variants (null: none has one). One row
-- back per job stored, in no order, with what only the database knows: none for what an idempotency key
-- already names, none for the retry of a job that has one, and none for what has no price. Refuses with
-- DR404 where there is no such account, with DR402 where one has too few credits available. Keys, retries
-- and accounts are taken in their own order, whatever the order asked: two calls that share several would
-- otherwise wait for each other for ever. Nothing of thousands is joined with thousands that the planner
-- takes for a handful: it would compare each with each.
CREATE OR REPLACE FUNCTION darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[], text[] DEFAULT NULL)
RETURNS TABLE (id uuid, credits_quoted numeric, price_id bigint, created_at timestamptz, metadata jsonb,
               is_chosen boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM darkroom_apply_scheduled_prices();
    RETURN QUERY
    WITH asked AS (
        SELECT id, account_id, model, task, quantity, request, idempotency_key, metadata, webhook_url,
               priority, run_at, retry_of, coalesce(variant, '') AS variant, position
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[],
                      $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::uuid[],
                      $13::text[])
               WITH ORDINALITY
            AS a (id, account_id, model, task, quantity, request, idempotency_key, metadata,
                  webhook_url, priority, run_at, retry_of, variant, position)
    ), priced AS (
        SELECT asked.*, pricing.price_id, pricing.credits
          FROM asked JOIN pricing USING (model, task, quantity, variant)
    ), new_job AS (
        INSERT INTO jobs (id, account_id, model, task, quantity, variant, request, idempotency_key,
                          metadata, webhook_url, priority, run_at, due_at, retry_of, credits_quoted,
                          quoted_price_id, price_id)
        SELECT id, account_id, model, task, quantity, variant, request::jsonb, idempotency_key,
               metadata::jsonb, webhook_url, priority, coalesce(run_at, now()),
               greatest(run_at, now()), retry_of, credits, price_id, price_id
          FROM priced ORDER BY account_id, idempotency_key, retry_of, position
            ON CONFLICT DO NOTHING
        RETURNING id, account_id, credits_quoted, price_id, created_at, metadata, priority, due_at
    ), needed AS (
        SELECT account_id, sum(credits_quoted) AS credits FROM new_job GROUP BY account_id
    ), locked AS (
        SELECT id FROM accounts WHERE id IN (SELECT account_id FROM needed) ORDER BY id
           FOR NO KEY UPDATE
    ), placed AS (
        UPDATE accounts SET held = held + needed.credits
          FROM needed
         WHERE accounts.id = needed.account_id AND accounts.available >= needed.credits
           -- Counting them locks them all, in order, before the first is changed.
           AND (SELECT count(*) FROM locked) > 0
        RETURNING accounts.id, accounts.balance, accounts.held - needed.credits AS held_before,
                  max_open_jobs
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
        SELECT new_job.id FROM new_job JOIN placed ON placed.id = account_id
         WHERE due_at <= now() AND max_open_jobs IS NULL
         ORDER BY array_position('{high,normal,low}', priority), new_job.id
         LIMIT darkroom_places_without_wait()
        RETURNING job_id
    ), turn AS (
        -- After the lock of the account: see darkroom_forget_turns().
        INSERT INTO account_turns (account_id, priority)
        SELECT DISTINCT account_id, priority FROM new_job JOIN placed ON placed.id = account_id
         WHERE new_job.id NOT IN (SELECT job_id FROM chosen)
         ORDER BY priority, account_id
            ON CONFLICT DO NOTHING
    ), refused AS (
        -- The hold of some account found no room: raising takes everything above back.
        SELECT bool_or(darkroom_refuse_credits(account_id, credits)) AS never
          FROM needed WHERE account_id NOT IN (SELECT id FROM placed)
    )
    SELECT id, credits_quoted, price_id, created_at, nullif(metadata, '{}') AS metadata,
           id IN (SELECT job_id FROM chosen) AS is_chosen
      FROM refused, new_job;
END $$;
DROP FUNCTION IF EXISTS darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[]);
COMMENT ON FUNCTION darkroom_enqueue_jobs IS
    'For the API: stores jobs with their holds, all or none.';
