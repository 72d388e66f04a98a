-- The limits of an account: how they are set, and what an enqueue must satisfy. In psql:
--
--   SELECT * FROM darkroom_set_account_limits('acme', '{"weight": 2, "max_queued_jobs": 500}', 'why');
--   SELECT * FROM darkroom_set_account_limits('acme', '{"max_queued_jobs": null}');
--   UPDATE accounts SET max_priority = 'low' WHERE id = 'acme';
--
-- The trigger of `accounts` records each change, whoever makes it.

CREATE OR REPLACE FUNCTION darkroom_set_account_limits(
    of_account text, limits jsonb, why text DEFAULT NULL, by jsonb DEFAULT NULL
) RETURNS SETOF accounts
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before  text[];
    known   CONSTANT text[] := '{weight, max_open_jobs, max_queued_jobs, max_credits_per_day, max_priority}';
    unknown text := (SELECT string_agg(quote_literal(left(key, 80)), ', ' ORDER BY key)
                       FROM jsonb_object_keys(limits) AS key WHERE key <> ALL(known));
BEGIN
    IF unknown IS NOT NULL OR coalesce(limits, '{}') = '{}' THEN
        RAISE EXCEPTION '% is no limit of an account; there are: %', coalesce(unknown, 'nothing'),
            array_to_string(known, ', ') USING ERRCODE = 'DR001';
    END IF;
    before := darkroom_enter_act(by, darkroom_readable_reason(why));
    RETURN QUERY
    UPDATE accounts
       SET weight = CASE WHEN limits ? 'weight' THEN (limits ->> 'weight')::numeric ELSE weight END,
           max_open_jobs = CASE WHEN limits ? 'max_open_jobs'
                                THEN (limits ->> 'max_open_jobs')::integer ELSE max_open_jobs END,
           max_queued_jobs = CASE WHEN limits ? 'max_queued_jobs'
                                  THEN (limits ->> 'max_queued_jobs')::integer ELSE max_queued_jobs END,
           max_credits_per_day = CASE WHEN limits ? 'max_credits_per_day'
                                      THEN (limits ->> 'max_credits_per_day')::numeric
                                      ELSE max_credits_per_day END,
           max_priority = CASE WHEN limits ? 'max_priority' THEN limits ->> 'max_priority'
                               ELSE max_priority END
     WHERE id = of_account
    RETURNING accounts.*;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account has the id %', of_account USING ERRCODE = 'DR404';
    END IF;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_set_account_limits IS
    'Sets the limits that the JSON object names, and no others; null is no limit. Returns the account: SELECT * FROM darkroom_set_account_limits(''acme'', ''{"max_queued_jobs": 500}'', ''why''). by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_allowed_priority(asked text, highest text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ranks CONSTANT text[] := '{high, normal, low}';
BEGIN
    RETURN ranks[greatest(array_position(ranks, asked), array_position(ranks, highest))];
END $$;
COMMENT ON FUNCTION darkroom_allowed_priority IS
    'The priority that was asked for, or the highest that is allowed where that is lower.';

CREATE OR REPLACE FUNCTION darkroom_refuse_priority(of_account text, asked text) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    highest CONSTANT text := (SELECT max_priority FROM accounts WHERE id = of_account);
BEGIN
    RAISE EXCEPTION 'account % may not ask for the priority %; the highest is %', of_account, asked, highest
        USING ERRCODE = 'DR403', DETAIL = jsonb_build_object(
            'account_id', of_account, 'asked', asked, 'allowed', highest)::text;
END $$;
COMMENT ON FUNCTION darkroom_refuse_priority IS
    'Aborts an enqueue of service keys that ask for a priority above max_priority, so that its jobs, holds and entries vanish together.';

-- Called by an enqueue that has stored its jobs and locked the account: what it counts includes them,
-- and no other enqueue of the account is between its count and its commit. As a volatile function it
-- reads what others have committed while the enqueue waited for the lock.
CREATE OR REPLACE FUNCTION darkroom_require_limits(
    of_account text, new_jobs bigint, new_credits numeric
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE
    account accounts;
    queued  bigint;
    next_day CONSTANT timestamptz := date_trunc('day', now(), 'UTC') + interval '24 hours';
BEGIN
    SELECT * INTO STRICT account FROM accounts WHERE id = of_account;
    IF account.max_queued_jobs IS NOT NULL THEN
        SELECT count(*) INTO queued FROM jobs WHERE account_id = of_account AND state = 'queued';
        IF queued > account.max_queued_jobs THEN
            RAISE EXCEPTION 'account % has % jobs queued; with % more it exceeds its limit of %', of_account,
                queued - new_jobs, new_jobs, account.max_queued_jobs
                USING ERRCODE = 'DR429', DETAIL = jsonb_build_object(
                    'account_id', of_account, 'limit', 'max_queued_jobs', 'allowed', account.max_queued_jobs,
                    'used', queued - new_jobs, 'asked', new_jobs)::text;
        END IF;
    END IF;
    IF account.day_credits > account.max_credits_per_day AND new_credits > 0 THEN
        RAISE EXCEPTION 'the jobs that account % placed today hold or cost % credits; with % more it exceeds its limit of %',
            of_account, account.day_credits - new_credits, new_credits, account.max_credits_per_day
            USING ERRCODE = 'DR429', DETAIL = jsonb_build_object(
                'account_id', of_account, 'limit', 'max_credits_per_day',
                'allowed', account.max_credits_per_day::text,
                'used', (account.day_credits - new_credits)::text, 'asked', new_credits::text,
                'resets_at', next_day, 'seconds', extract(epoch FROM next_day - now()))::text;
    END IF;
    RETURN false;
END $$;
COMMENT ON FUNCTION darkroom_require_limits IS
    'Aborts an enqueue that exceeds max_queued_jobs or max_credits_per_day, so that its jobs, holds and entries vanish together. Scheduled jobs count as queued.';
DROP FUNCTION IF EXISTS darkroom_require_limits(text, bigint, numeric, text);
