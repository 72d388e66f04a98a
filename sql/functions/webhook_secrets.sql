-- The secret of an account that signs all of its webhooks, beside those of its endpoints.

CREATE OR REPLACE FUNCTION darkroom_create_account_secret(of_account text, by jsonb DEFAULT NULL)
RETURNS SETOF webhook_account_secrets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    INSERT INTO webhook_account_secrets (account_id) VALUES (of_account)
        ON CONFLICT (account_id) DO NOTHING;
    PERFORM darkroom_leave_act(before);
    RETURN QUERY SELECT * FROM webhook_account_secrets WHERE account_id = of_account;
END $$;
COMMENT ON FUNCTION darkroom_create_account_secret IS
    'Makes the secret that signs all webhooks of an account, or finds it. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_rotate_account_secret(
    of_account text, overlap_seconds double precision, by jsonb DEFAULT NULL
) RETURNS SETOF webhook_account_secrets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    UPDATE webhook_account_secrets AS one
       SET secret = darkroom_new_webhook_secret(), previous_secret = one.secret,
           previous_secret_until = now() + make_interval(secs => overlap_seconds),
           rotated_at = now()
     WHERE one.account_id = of_account
    RETURNING one.*;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_rotate_account_secret IS
    'Gives an account a new webhook secret, beside which the old one signs for so many seconds; no row where it has none. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_revoke_account_secret(of_account text, by jsonb DEFAULT NULL)
RETURNS SETOF webhook_account_secrets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    DELETE FROM webhook_account_secrets AS one WHERE one.account_id = of_account RETURNING one.*;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_revoke_account_secret IS
    'Ends the webhook secret of an account at once; no row where it has none. by: who, as one of our programs states it.';
