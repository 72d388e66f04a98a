-- Pauses of submits, which operators start and end: over HTTP, by the command line, or in psql:
--
--   SELECT * FROM darkroom_pause('account', 'acme', 'they asked', now() + interval '2 hours');
--   SELECT * FROM darkroom_pause('everything', NULL, 'Kie bills twice');
--   SELECT * FROM active_pauses;
--   SELECT * FROM darkroom_resume(17);
--   SELECT * FROM darkroom_resume_scope('account', 'acme');
--
-- Several pauses may apply to the same jobs. Jobs are submitted again when none of them is active.
-- The trigger of `pauses` records the act and notifies the workers.

-- What a pause applies to must exist, so that a misspelt name does not look like a pause.
CREATE OR REPLACE FUNCTION darkroom_require_pause_value(of_scope text, of_value text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    known text[];
BEGIN
    IF of_scope IS NULL OR of_scope NOT IN ('everything', 'model', 'account', 'kie_account') THEN
        RAISE EXCEPTION 'no scope is named %; a pause is for everything, model, account or kie_account',
            coalesce(quote_literal(left(of_scope, 80)), 'null')
            USING ERRCODE = 'DR001', CONSTRAINT = 'pause_scope_must_be_known';
    ELSIF (of_scope = 'everything') <> (of_value IS NULL) THEN
        RAISE EXCEPTION 'a pause of % has % value', of_scope,
            CASE of_scope WHEN 'everything' THEN 'no' ELSE 'a' END
            USING ERRCODE = 'DR001', CONSTRAINT = 'pause_value_must_fit_its_scope';
    ELSIF of_scope = 'account' AND NOT EXISTS (SELECT FROM accounts WHERE id = of_value) THEN
        RAISE EXCEPTION 'no account has the id %', quote_literal(left(of_value, 80))
            USING ERRCODE = 'DR404';
    ELSIF of_scope = 'model' THEN
        known := ARRAY(SELECT model FROM pricing
                       UNION SELECT of_value FROM jobs WHERE state = 'queued' AND model = of_value
                       ORDER BY 1);
    ELSIF of_scope = 'kie_account' THEN
        -- Workers name their Kie accounts when they start. One without keys uses `default`.
        known := ARRAY(SELECT jsonb_object_keys(key_fingerprints) FROM processes
                       UNION SELECT attempt.provider_account
                         FROM jobs JOIN job_attempts AS attempt
                           ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
                        WHERE jobs.state IN ('submitting', 'unknown', 'generating')
                          AND attempt.provider_account IS NOT NULL
                        ORDER BY 1);
        known := CASE WHEN known = '{}' THEN ARRAY['default'] ELSE known END;
    END IF;
    IF known IS NOT NULL AND NOT of_value = ANY(known) THEN
        RAISE EXCEPTION 'no % is named %; there is: %', replace(of_scope, 'kie_account', 'Kie account'),
            quote_literal(left(of_value, 80)), array_to_string(known, ', ')
            USING ERRCODE = 'DR001', CONSTRAINT = 'pause_value_must_be_known';
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_require_pause_value IS
    'Refuses a scope that is not known, and a value that does not exist.';

CREATE OR REPLACE FUNCTION darkroom_pause(
    of_scope text, of_value text, why text, ends_at timestamptz DEFAULT NULL, by jsonb DEFAULT NULL
) RETURNS SETOF pauses
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[];
    made   pauses;
BEGIN
    why := darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'a pause needs a reason of 1 to 500 characters'
            USING ERRCODE = 'DR001', CONSTRAINT = 'pause_reason_must_be_given';
    ELSIF ends_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the end, %, has passed: it is % now', ends_at, clock_timestamp()
            USING ERRCODE = 'DR001', CONSTRAINT = 'pause_must_end_after_its_start';
    END IF;
    PERFORM darkroom_require_pause_value(of_scope, of_value);
    -- One at a time, so that a call that is repeated at once still makes one pause.
    LOCK TABLE pauses IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO made FROM pauses
     WHERE id IN (SELECT id FROM active_pauses) AND scope = of_scope
       AND value IS NOT DISTINCT FROM of_value AND reason = why
       AND (until IS NULL OR until >= ends_at)
     ORDER BY id LIMIT 1;
    IF NOT FOUND THEN
        before := darkroom_enter_act(by, why);
        INSERT INTO pauses (scope, value, reason, paused_by, until)
        VALUES (of_scope, of_value, why, darkroom_actor(), ends_at) RETURNING * INTO made;
        PERFORM darkroom_leave_act(before);
    END IF;
    RETURN NEXT made;
END $$;
COMMENT ON FUNCTION darkroom_pause IS
    'Pauses submits and returns the pause: SELECT * FROM darkroom_pause(''account'', ''acme'', ''why'', now() + interval ''1 hour''). Where an active pause has the same scope, value and reason and does not end sooner, it returns that one. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_resume(of_pause bigint, by jsonb DEFAULT NULL) RETURNS SETOF pauses
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    UPDATE pauses SET resumed_at = clock_timestamp(), resumed_by = darkroom_actor()
     WHERE id = of_pause AND resumed_at IS NULL AND (until IS NULL OR until > clock_timestamp());
    PERFORM darkroom_leave_act(before);
    RETURN QUERY SELECT * FROM pauses WHERE id = of_pause;
END $$;
COMMENT ON FUNCTION darkroom_resume IS
    'Ends a pause and returns it; a pause that has ended is not changed. No row: no pause has this id. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_resume_scope(
    of_scope text, of_value text, by jsonb DEFAULT NULL
) RETURNS SETOF pauses
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[];
BEGIN
    PERFORM darkroom_require_pause_value(of_scope, of_value);
    before := darkroom_enter_act(by, NULL);
    RETURN QUERY
    UPDATE pauses SET resumed_at = clock_timestamp(), resumed_by = darkroom_actor()
     WHERE scope = of_scope AND value IS NOT DISTINCT FROM of_value
       AND resumed_at IS NULL AND (until IS NULL OR until > clock_timestamp())
    RETURNING *;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_resume_scope IS
    'Ends every active pause of exactly this scope and value, and returns them; no row where there is none. by: who, as one of our programs states it.';

-- Brakes are in Redis, where workers apply them. Their end by a person is an act, and is recorded here.
CREATE OR REPLACE FUNCTION darkroom_record_brake_end(
    of_kie_account text, brakes jsonb, why text, by jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before  text[];
    written bigint;
BEGIN
    why := darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'the end of a brake needs a reason' USING ERRCODE = 'DR001';
    END IF;
    before := darkroom_enter_act(by, why);
    written := darkroom_write_audit_entry(
        'queue_resumed', 'brake of Kie account ' || of_kie_account, NULL, NULL,
        jsonb_build_object('brakes', brakes), NULL);
    PERFORM darkroom_leave_act(before);
    RETURN written;
END $$;
COMMENT ON FUNCTION darkroom_record_brake_end IS
    'Records that a person ended the brakes of a Kie account, which are in Redis. by: who, as one of our programs states it.';

-- The evidence of some alerts is in Redis. That a person deals with it is an act, and is recorded here.
CREATE OR REPLACE FUNCTION darkroom_record_acknowledgement(
    of_alert text, evidence jsonb, by jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before  text[];
    written bigint;
BEGIN
    before := darkroom_enter_act(by, NULL);
    written := darkroom_write_audit_entry(
        'alert_acknowledged', 'alert ' || of_alert, NULL, NULL, evidence, NULL);
    PERFORM darkroom_leave_act(before);
    RETURN written;
END $$;
COMMENT ON FUNCTION darkroom_record_acknowledgement IS
    'Records that a person acknowledged an alert, and its evidence, which is deleted from Redis. by: who, as one of our programs states it.';
