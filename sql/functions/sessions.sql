-- Logins to the console. Each function writes the audit entry of its act. `by` is who, as one of our
-- programs states it.

CREATE OR REPLACE FUNCTION darkroom_open_session(
    new_id uuid, new_token_sha256 bytea, of_prefix text, lifetime_seconds double precision,
    from_address text, agent text, by jsonb DEFAULT NULL
) RETURNS SETOF console_sessions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[];
    opened console_sessions;
BEGIN
    DELETE FROM console_sessions
     WHERE least(expires_at, ended_at) < now() - interval '30 days';
    -- The lock makes a revocation that is being committed wait, or this see it.
    INSERT INTO console_sessions (id, token_sha256, key_id, expires_at, address, user_agent)
    SELECT new_id, new_token_sha256, api_keys.id, now() + make_interval(secs => lifetime_seconds),
           left(from_address, 200), left(agent, 300)
      FROM api_keys
     WHERE prefix = of_prefix AND revoked_at IS NULL AND role <> 'service'
       FOR SHARE
    RETURNING * INTO opened;
    IF opened.id IS NULL THEN
        RETURN;
    END IF;
    before := darkroom_enter_act(by, NULL);
    PERFORM darkroom_write_audit_entry(
        'session_opened', 'console_sessions ' || opened.id, NULL, NULL, NULL,
        jsonb_build_object('key', of_prefix, 'address', opened.address,
                           'user_agent', opened.user_agent));
    PERFORM darkroom_leave_act(before);
    opened.token_sha256 := NULL;
    RETURN NEXT opened;
END $$;
COMMENT ON FUNCTION darkroom_open_session IS
    'Stores a login to the console with a key that holds and is not for one account. No row: the key is none of these.';

CREATE OR REPLACE FUNCTION darkroom_record_login_failure(
    of_network text, from_address text, agent text, why_refused text, of_prefix text,
    by jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[];
    failed login_failures;
BEGIN
    DELETE FROM login_failures WHERE at < now() - interval '30 days';
    INSERT INTO login_failures (network, address, user_agent, refusal, key_prefix)
    VALUES (left(of_network, 200), left(from_address, 200), left(agent, 300), left(why_refused, 40),
            left(of_prefix, 40))
    RETURNING * INTO failed;
    -- The first of an hour has an entry. Entries stay for ever, and anybody can fail again and again.
    IF NOT EXISTS (SELECT FROM login_failures
                    WHERE network = failed.network AND id <> failed.id
                      AND at > failed.at - interval '1 hour') THEN
        before := darkroom_enter_act(by, NULL);
        PERFORM darkroom_write_audit_entry(
            'login_failed', 'login_failures ' || failed.id, NULL, NULL, NULL,
            jsonb_build_object('address', failed.address, 'user_agent', failed.user_agent,
                               'refusal', failed.refusal, 'key', failed.key_prefix));
        PERFORM darkroom_leave_act(before);
    END IF;
    RETURN failed.id;
END $$;
COMMENT ON FUNCTION darkroom_record_login_failure IS
    'Records a failed login to the console. The first one of a network within an hour has an audit entry. by: from where, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_end_session(
    of_session uuid, by jsonb DEFAULT NULL, of_prefix text DEFAULT NULL
) RETURNS SETOF console_sessions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
    ended  console_sessions;
BEGIN
    UPDATE console_sessions SET ended_at = now(), ended_by = darkroom_actor()
     WHERE id = of_session AND ended_at IS NULL
       AND (of_prefix IS NULL
            OR key_id = (SELECT api_keys.id FROM api_keys WHERE prefix = of_prefix))
    RETURNING * INTO ended;
    IF ended.id IS NOT NULL THEN
        PERFORM darkroom_write_audit_entry(
            'session_ended', 'console_sessions ' || ended.id, NULL, NULL,
            jsonb_build_object('created_at', ended.created_at, 'ended_at', NULL),
            jsonb_build_object('created_at', ended.created_at, 'ended_at', ended.ended_at));
        ended.token_sha256 := NULL;
        RETURN NEXT ended;
    END IF;
    PERFORM darkroom_leave_act(before);
END $$;
-- Before it took of_prefix.
DROP FUNCTION IF EXISTS darkroom_end_session(uuid, jsonb);
COMMENT ON FUNCTION darkroom_end_session IS
    'Ends a login to the console, once: of any key, or of the key with this prefix. No row: it is unknown, of another key, or has ended already.';
