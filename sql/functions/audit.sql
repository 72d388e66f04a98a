-- Who acts, and the entry of an act in audit_entries. Called by triggers and guarded functions alone.

CREATE OR REPLACE FUNCTION darkroom_applied_schedule() RETURNS scheduled_prices
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stated  CONSTANT text := current_setting('darkroom.schedule', true);
    applied public.scheduled_prices;
BEGIN
    -- A session may state any id. No role can write a row that is settled and has no outcome yet: it
    -- is seen in the transaction of darkroom_apply_scheduled_prices() alone.
    IF stated ~ '^[0-9]{1,18}$' THEN
        SELECT * INTO applied FROM public.scheduled_prices
         WHERE id = stated::bigint AND settled_at IS NOT NULL AND price_id IS NULL
           AND failure IS NULL AND NOT is_revoked;
    END IF;
    RETURN applied;
END $$;
COMMENT ON FUNCTION darkroom_applied_schedule IS
    'The scheduled price that this transaction is applying; null: none.';

CREATE OR REPLACE FUNCTION darkroom_actor() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    applied CONSTANT public.scheduled_prices := public.darkroom_applied_schedule();
BEGIN
    IF applied.id IS NOT NULL THEN
        RETURN applied.scheduled_by;
    END IF;
    IF public.darkroom_trusts_session() THEN
        RETURN left(coalesce(nullif(current_setting('darkroom.actor', true), ''), session_user), 500);
    END IF;
    RETURN session_user;
END $$;
COMMENT ON FUNCTION darkroom_actor() IS
    'Who acts: who scheduled the price that is applied; else darkroom.actor in sessions of our services and of the owner, the login in all others.';

CREATE OR REPLACE FUNCTION darkroom_readable_reason(why text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Spaces, and characters that show nothing: joiners, marks of direction, fillers.
    unseen  CONSTANT text := '[:space:]\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0';
    -- Control characters but tabs and line breaks, and what turns the text after it around.
    turning CONSTANT text := '[\u0001-\u0008\u000b-\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]';
    trimmed CONSTANT text := regexp_replace(why, '^[[:space:]]+|[[:space:]]+$', '', 'g');
BEGIN
    IF length(trimmed) > 500 THEN
        RAISE EXCEPTION 'the reason has % characters; at most 500', length(trimmed)
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_reason_is_short';
    ELSIF trimmed ~ turning THEN
        RAISE EXCEPTION 'the reason has the character U+%, which changes how others are shown: leave it out',
            upper(lpad(to_hex(ascii(substring(trimmed FROM turning))), 4, '0'))
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_reason_is_read_as_stored';
    END IF;
    RETURN CASE WHEN trimmed ~ ('[^' || unseen || ']') THEN trimmed END;
END $$;
COMMENT ON FUNCTION darkroom_readable_reason IS
    'A reason without surrounding spaces; null: it has nothing that can be seen. One of more than 500 characters, or that is not read as it is stored, is refused.';

CREATE OR REPLACE FUNCTION darkroom_write_audit_entry(
    act text, subject text, account text, job uuid, before jsonb, after jsonb
) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_trusted CONSTANT boolean := public.darkroom_trusts_session();
    applied    CONSTANT public.scheduled_prices := public.darkroom_applied_schedule();
    stated     jsonb;
    written    bigint;
BEGIN
    BEGIN
        stated := nullif(current_setting('darkroom.context', true), '')::jsonb;
    EXCEPTION WHEN data_exception THEN
        stated := NULL;  -- whatever the session says, the act is noted
    END;
    IF applied.id IS NOT NULL THEN
        stated := NULL;  -- the session only happens to be the first after its time
    END IF;
    INSERT INTO public.audit_entries
        (act, actor, via, key_prefix, key_role, os_user, origin, account_id, job_id, subject, before,
         after, reason)
    VALUES (
        act, public.darkroom_actor(),
        -- That a key was presented is believed of our services alone.
        CASE WHEN applied.id IS NOT NULL THEN 'schedule'
             WHEN stated ->> 'via' = 'cli' THEN 'cli'
             WHEN is_trusted AND stated ->> 'via' IN ('api', 'console', 'python') THEN stated ->> 'via'
             ELSE 'sql' END,
        CASE WHEN is_trusted THEN left(stated ->> 'key_prefix', 200) END,
        CASE WHEN is_trusted THEN left(stated ->> 'key_role', 200) END,
        left(stated ->> 'os_user', 200), left(stated ->> 'origin', 200),
        account, job, subject, before, after,
        left(nullif(current_setting('darkroom.reason', true), ''), 1000)
    ) RETURNING id INTO written;
    RETURN written;
END $$;
COMMENT ON FUNCTION darkroom_write_audit_entry(text, text, text, uuid, jsonb, jsonb) IS
    'Notes an act, with who, from where and why as far as the session says so and is believed.';

CREATE OR REPLACE FUNCTION darkroom_audit_ledger_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.ledger_entries'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_ledger_entry() is a trigger of ledger_entries alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        CASE WHEN NEW.job_id IS NOT NULL THEN 'job_refunded'
             WHEN NEW.kind = 'grant' THEN 'credits_granted' ELSE 'credits_adjusted' END,
        'ledger_entries ' || NEW.id, NEW.account_id, NEW.job_id,
        jsonb_build_object('balance', NEW.balance_after - NEW.balance_change),
        jsonb_build_object('balance', NEW.balance_after, 'credits', NEW.credits));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_ledger_entry() IS
    'Trigger of ledger_entries: notes who granted, adjusted or refunded credits.';

CREATE OR REPLACE FUNCTION darkroom_audit_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.jobs'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_job() is a trigger of jobs alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM public.darkroom_write_audit_entry(
            'job_retried', 'jobs ' || NEW.id, NEW.account_id, NEW.id, NULL,
            jsonb_build_object('state', NEW.state, 'retry_of', NEW.retry_of,
                               'credits_quoted', NEW.credits_quoted));
    ELSE
        PERFORM public.darkroom_write_audit_entry(
            'job_cancelled', 'jobs ' || NEW.id, NEW.account_id, NEW.id,
            jsonb_build_object('state', OLD.state, 'reason', OLD.reason),
            jsonb_build_object('state', NEW.state, 'reason', NEW.reason)
            || CASE WHEN NEW.cancel_requested_at IS NULL THEN '{}'
                    ELSE jsonb_build_object('cancel_requested_at', NEW.cancel_requested_at) END);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_job() IS
    'Trigger of jobs: notes who ran an ended job again, and which operator cancelled one or requested that.';
