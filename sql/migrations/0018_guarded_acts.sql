-- What operators do, as guarded functions: who acts comes as an argument, and each is one transition.
-- A database role needs no right to write accounts, prices, keys or jobs for it.

-- Accounts and their credits, as operators change them.

-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS public.grant_credits(text, numeric, text);

CREATE OR REPLACE FUNCTION public.grant_credits(
    to_account text, credits numeric, reason text, allow_debt boolean DEFAULT false,
    by jsonb DEFAULT NULL
) RETURNS public.accounts
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    account public.accounts;
    before  text[];
BEGIN
    IF credits IS NULL OR NOT (abs(credits) <= 1000000000) OR credits = 0 THEN
        RAISE EXCEPTION 'credits must be a number other than 0, at most 1000000000, not %', credits
            USING ERRCODE = 'DR001';
    END IF;
    IF coalesce(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'a grant needs a reason' USING ERRCODE = 'DR001';
    END IF;
    UPDATE public.accounts SET balance = balance + grant_credits.credits
     WHERE id = to_account RETURNING * INTO account;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account has the id %', to_account USING ERRCODE = 'DR404';
    END IF;
    IF credits < 0 AND account.available < 0 AND allow_debt IS NOT TRUE THEN
        RAISE EXCEPTION 'account % has % credits available, of which % cannot be taken without a debt',
            to_account, trim_scale(account.available - credits), trim_scale(-credits)
            USING ERRCODE = 'DR001', CONSTRAINT = 'an_adjustment_leaves_no_debt',
                  HINT = 'To leave the account in debt: grant_credits(account, credits, reason, allow_debt => true).';
    END IF;
    before := public.darkroom_enter_act(by, btrim(reason));
    INSERT INTO public.ledger_entries
        (account_id, kind, credits, balance_change, held_change, balance_after, held_after, reason)
    VALUES (to_account, CASE WHEN credits > 0 THEN 'grant' ELSE 'adjustment' END, credits, credits, 0,
            account.balance, account.held, btrim(reason));
    PERFORM public.darkroom_leave_act(before);
    RETURN account;
END $$;
COMMENT ON FUNCTION public.grant_credits(text, numeric, text, boolean, jsonb) IS
    'Adds credits to an account, with a reason: SELECT grant_credits(''acme'', 100, ''invoice 17''); negative credits write an adjustment, which leaves a debt only with allow_debt => true. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.grant_credits(text, numeric, text, boolean, jsonb)',
    '{darkroom_service, darkroom_api, darkroom_admin, darkroom_billing}');

CREATE OR REPLACE FUNCTION public.darkroom_create_account(
    wanted text, credits numeric DEFAULT 0, by jsonb DEFAULT NULL
) RETURNS SETOF public.accounts
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before  text[] := public.darkroom_enter_act(by, NULL);
    created boolean;
BEGIN
    INSERT INTO public.accounts (id) VALUES (wanted) ON CONFLICT (id) DO NOTHING;
    created := FOUND;
    PERFORM public.darkroom_leave_act(before);
    IF NOT created THEN
        RETURN;
    END IF;
    IF credits <> 0 THEN
        PERFORM public.grant_credits(wanted, credits, 'granted when the account was created', false, by);
    END IF;
    RETURN QUERY SELECT * FROM public.accounts WHERE id = wanted;
END $$;
COMMENT ON FUNCTION public.darkroom_create_account(text, numeric, jsonb) IS
    'Creates an account, with credits if asked, and returns it; no row where it exists already. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_create_account(text, numeric, jsonb)',
    '{darkroom_service, darkroom_api, darkroom_admin, darkroom_billing}');

-- Prices, as programs change them; people may UPDATE pricing as well.

CREATE OR REPLACE FUNCTION public.darkroom_set_price(
    of_model text, of_task text, of_quantity integer, to_credits numeric, why text,
    by jsonb DEFAULT NULL
) RETURNS SETOF public.pricing
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[] := public.darkroom_enter_act(by, why);
BEGIN
    RETURN QUERY
    UPDATE public.pricing SET credits = to_credits
     WHERE model = of_model AND task = of_task AND quantity = of_quantity
    RETURNING *;
    PERFORM public.darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION public.darkroom_set_price(text, text, integer, numeric, text, jsonb) IS
    'Changes what one row of pricing charges, and returns it; no row where there is none. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_set_price(text, text, integer, numeric, text, jsonb)',
    '{darkroom_service, darkroom_api, darkroom_admin, darkroom_pricing}');

-- API keys, as operators make and revoke them. The hash of a key never leaves its table by these.

CREATE OR REPLACE FUNCTION public.darkroom_create_key(
    new_id uuid, new_prefix text, new_sha256 bytea, new_role text, of_account text, new_name text,
    by jsonb DEFAULT NULL
) RETURNS SETOF public.api_keys
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[] := public.darkroom_enter_act(by, NULL);
    made   public.api_keys;
BEGIN
    INSERT INTO public.api_keys (id, prefix, secret_sha256, role, account_id, name, created_by)
    VALUES (new_id, new_prefix, new_sha256, new_role, of_account, new_name, public.darkroom_actor())
    RETURNING * INTO made;
    PERFORM public.darkroom_leave_act(before);
    made.secret_sha256 := NULL;
    RETURN NEXT made;
END $$;
COMMENT ON FUNCTION public.darkroom_create_key(uuid, text, bytea, text, text, text, jsonb) IS
    'Stores a new API key by its hash. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_create_key(uuid, text, bytea, text, text, text, jsonb)', '{darkroom_admin}');

CREATE OR REPLACE FUNCTION public.darkroom_revoke_key(
    of_prefix text, of_id uuid, by jsonb DEFAULT NULL
) RETURNS SETOF public.api_keys
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before  text[] := public.darkroom_enter_act(by, NULL);
    revoked public.api_keys;
BEGIN
    UPDATE public.api_keys SET revoked_at = coalesce(revoked_at, now())
     WHERE prefix = of_prefix OR id = of_id
    RETURNING * INTO revoked;
    PERFORM public.darkroom_leave_act(before);
    IF revoked.id IS NOT NULL THEN
        revoked.secret_sha256 := NULL;
        RETURN NEXT revoked;
    END IF;
END $$;
COMMENT ON FUNCTION public.darkroom_revoke_key(text, uuid, jsonb) IS
    'Revokes a key, by its prefix or its id, once; again, it changes nothing. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_revoke_key(text, uuid, jsonb)', '{darkroom_admin}');

-- Webhook endpoints and messages, as operators change them. Jobs make endpoints by themselves.

CREATE OR REPLACE FUNCTION public.darkroom_create_webhook_endpoint(
    of_account text, webhook_url text, by jsonb DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
    wanted CONSTANT text := darkroom_webhook_endpoint(webhook_url);
    made   uuid;
BEGIN
    INSERT INTO webhook_endpoints (account_id, url) VALUES (of_account, wanted)
        ON CONFLICT (account_id, url) DO NOTHING RETURNING id INTO made;
    IF made IS NOT NULL THEN
        PERFORM darkroom_write_audit_entry(
            'webhook_endpoint_created', 'webhook_endpoints ' || made, of_account, NULL, NULL,
            jsonb_build_object('url', wanted));
    END IF;
    PERFORM darkroom_leave_act(before);
    RETURN darkroom_require_webhook_endpoint(of_account, webhook_url);
END $$;
COMMENT ON FUNCTION public.darkroom_create_webhook_endpoint(text, text, jsonb) IS
    'Makes the endpoint of an account for a webhook URL before a job names it, or finds it. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_create_webhook_endpoint(text, text, jsonb)',
    '{darkroom_service, darkroom_api}');

CREATE OR REPLACE FUNCTION public.darkroom_rotate_webhook_secret(
    of_account text, webhook_url text, overlap_seconds double precision, by jsonb DEFAULT NULL
) RETURNS SETOF public.webhook_endpoints
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    UPDATE webhook_endpoints AS endpoint
       SET secret = darkroom_new_webhook_secret(), previous_secret = endpoint.secret,
           previous_secret_until = now() + make_interval(secs => overlap_seconds),
           rotated_at = now()
     WHERE endpoint.account_id = of_account AND endpoint.url = darkroom_webhook_endpoint(webhook_url)
    RETURNING endpoint.*;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION public.darkroom_rotate_webhook_secret(text, text, double precision, jsonb) IS
    'Gives an endpoint a new secret, beside which the old one signs for so many seconds; no row where there is no such endpoint. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_rotate_webhook_secret(text, text, double precision, jsonb)',
    '{darkroom_service, darkroom_api}');

CREATE OR REPLACE FUNCTION public.darkroom_replay_webhooks(
    of_message uuid, of_account text, at_most integer, by jsonb DEFAULT NULL
) RETURNS SETOF public.webhook_messages
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    IF of_message IS NOT NULL THEN
        RETURN QUERY
        UPDATE webhook_messages
           SET state = 'pending', tries = 0, next_try_at = now(),
               retry_until = now() + interval '1 day', delivered_at = NULL, replayed_at = now()
         WHERE id = of_message
        RETURNING *;
    ELSE
        RETURN QUERY
        WITH anew AS (
            UPDATE webhook_messages
               SET state = 'pending', tries = 0, next_try_at = now(),
                   retry_until = now() + interval '1 day', replayed_at = now()
             WHERE state = 'dead' AND id IN (
                       SELECT id FROM webhook_messages
                        WHERE state = 'dead' AND account_id = of_account
                        ORDER BY created_at LIMIT at_most FOR UPDATE SKIP LOCKED)
            RETURNING *
        ), told AS (
            SELECT id, pg_notify('darkroom_webhooks', id || ' ' || endpoint_id) FROM anew
        )
        SELECT anew.* FROM anew JOIN told USING (id);
    END IF;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION public.darkroom_replay_webhooks(uuid, text, integer, jsonb) IS
    'Has one message, or the oldest dead ones of an account, sent anew with another day each, and returns them; the workers are told of the dead ones. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_replay_webhooks(uuid, text, integer, jsonb)',
    '{darkroom_service, darkroom_api}');

-- Jobs, as callers and operators take them back and end doubts about them.

CREATE OR REPLACE FUNCTION public.darkroom_cancel_job(wanted uuid, by jsonb DEFAULT NULL)
RETURNS SETOF public.jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_operator CONSTANT boolean := coalesce((by ->> 'is_operator')::boolean, false);
    why         CONSTANT text := CASE WHEN is_operator THEN 'cancelled_by_operator'
                                      ELSE 'cancelled_by_caller' END;
    sentence    CONSTANT text := CASE WHEN is_operator THEN 'cancelled by an operator'
                                      ELSE 'cancelled by the caller' END;
    before      text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs
           SET state = 'cancelled', reason = why, message = sentence, finished_at = now(),
               updated_at = now()
         WHERE id = wanted AND state = 'queued'
        RETURNING *
    ), account AS (
        UPDATE accounts SET held = held - moved.credits_quoted
          FROM moved WHERE accounts.id = moved.account_id
        RETURNING accounts.id, accounts.balance, accounts.held
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id, reason)
        SELECT account.id, moved.id, 'release', credits_quoted, 0, -credits_quoted,
               account.balance, account.held, moved.price_id, why
          FROM moved JOIN account ON account.id = moved.account_id
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, 'cancelled', jsonb_build_object('reason', why, 'message', sentence) FROM moved
    )
    SELECT * FROM moved;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION public.darkroom_cancel_job(uuid, jsonb) IS
    'Takes a queued job back and releases its hold; no row where it is not queued. by: who, as one of our programs states it; with is_operator, the job says that an operator did it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_cancel_job(uuid, jsonb)', '{darkroom_service, darkroom_api}');

CREATE OR REPLACE FUNCTION public.darkroom_record_resolution(
    of_job uuid, of_attempt integer, verdict text, task_id text, why text, by jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before  text[] := darkroom_enter_act(by, why);
    written bigint;
    job     jobs;
    is_late boolean;
BEGIN
    SELECT * INTO STRICT job FROM jobs WHERE id = of_job;
    -- Of a job that had ended before, the verdict is about a task that came late.
    is_late := coalesce(job.finished_at < now(), false);
    INSERT INTO job_events (job_id, event, detail)
    VALUES (of_job, 'resolved_by_operator',
            jsonb_build_object('verdict', verdict, 'by', darkroom_actor(), 'reason', why,
                               'provider_task_id', task_id, 'attempt', of_attempt))
    RETURNING id INTO written;
    PERFORM darkroom_write_audit_entry(
        'job_resolved', 'jobs ' || of_job, job.account_id, of_job,
        CASE WHEN is_late THEN jsonb_build_object('state', job.state, 'late_task', 'in doubt')
             WHEN verdict IN ('submitted', 'lost') THEN jsonb_build_object('state', 'unknown')
             ELSE jsonb_build_object('state', 'generating', 'reason', 'result_unreadable') END,
        CASE WHEN is_late THEN jsonb_build_object(
                 'state', job.state, 'late_task', verdict, 'provider_task_id', task_id)
             ELSE jsonb_build_object(
                 'state', job.state, 'reason', job.reason, 'verdict', verdict,
                 'provider_task_id', task_id, 'credits_charged', job.credits_charged) END);
    PERFORM darkroom_leave_act(before);
    RETURN written;
END $$;
COMMENT ON FUNCTION public.darkroom_record_resolution(uuid, integer, text, text, text, jsonb) IS
    'Writes down who ended the doubt about a job, in the transaction that moves it. by: who, as one of our programs states it.';
SELECT public.darkroom_grant_execute(
    'public.darkroom_record_resolution(uuid, integer, text, text, text, jsonb)',
    '{darkroom_service, darkroom_api}');
