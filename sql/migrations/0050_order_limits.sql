-- Two limits of an order that only our programs checked, and endpoints of webhook URLs of any length.

CREATE FUNCTION darkroom_refuse_order() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(NEW.webhook_url) > 8192 THEN
        RAISE EXCEPTION 'webhook_url is % characters long; at most 8192 are allowed',
            length(NEW.webhook_url)
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_webhook_url_is_bounded';
    END IF;
    RAISE EXCEPTION 'run_at % must be at most 366 days from now', NEW.run_at
        USING ERRCODE = 'DR001', CONSTRAINT = 'run_at_is_near';
END
$$;
COMMENT ON FUNCTION darkroom_refuse_order() IS
    'Trigger: refuses a job that is scheduled too far ahead, or whose webhook URL is too long.';
SELECT darkroom_grant_execute('darkroom_refuse_order()', '{}');
CREATE TRIGGER jobs_order_is_bounded BEFORE INSERT ON jobs FOR EACH ROW
    WHEN (NEW.run_at > now() + interval '366 days' OR length(NEW.webhook_url) > 8192)
    EXECUTE FUNCTION darkroom_refuse_order();

-- An index holds 2,704 bytes a row at most. A URL may be longer, so its hash is unique.
CREATE FUNCTION darkroom_text_hash(text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8'))
$$;
COMMENT ON FUNCTION darkroom_text_hash(text) IS
    'SHA-256 of a text, for indexes on texts that may be longer than a row of an index.';
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX webhook_endpoints_of_account
    ON webhook_endpoints (account_id, darkroom_text_hash(url));
-- The index takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE webhook_endpoints DROP CONSTRAINT one_endpoint_per_account_and_url;

CREATE OR REPLACE FUNCTION darkroom_require_webhook_endpoint(of_account text, webhook_url text)
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    wanted CONSTANT text := darkroom_webhook_endpoint(webhook_url);
    known  uuid;
BEGIN
    SELECT id INTO known FROM webhook_endpoints
     WHERE account_id = of_account AND darkroom_text_hash(url) = darkroom_text_hash(wanted);
    IF known IS NULL THEN
        INSERT INTO webhook_endpoints (account_id, url) VALUES (of_account, wanted)
            ON CONFLICT (account_id, darkroom_text_hash(url)) DO NOTHING RETURNING id INTO known;
    END IF;
    IF known IS NULL THEN
        SELECT id INTO known FROM webhook_endpoints
         WHERE account_id = of_account AND darkroom_text_hash(url) = darkroom_text_hash(wanted);
    END IF;
    RETURN known;
END $$;

CREATE OR REPLACE FUNCTION darkroom_create_webhook_endpoint(
    of_account text, webhook_url text, by jsonb DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
    wanted CONSTANT text := darkroom_webhook_endpoint(webhook_url);
    made   uuid;
BEGIN
    INSERT INTO webhook_endpoints (account_id, url) VALUES (of_account, wanted)
        ON CONFLICT (account_id, darkroom_text_hash(url)) DO NOTHING RETURNING id INTO made;
    IF made IS NOT NULL THEN
        PERFORM darkroom_write_audit_entry(
            'webhook_endpoint_created', 'webhook_endpoints ' || made, of_account, NULL, NULL,
            jsonb_build_object('url', wanted));
    END IF;
    PERFORM darkroom_leave_act(before);
    RETURN darkroom_require_webhook_endpoint(of_account, webhook_url);
END $$;

CREATE OR REPLACE FUNCTION darkroom_rotate_webhook_secret(
    of_account text, webhook_url text, overlap_seconds double precision, by jsonb DEFAULT NULL
) RETURNS SETOF webhook_endpoints
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    UPDATE webhook_endpoints AS endpoint
       SET secret = darkroom_new_webhook_secret(), previous_secret = endpoint.secret,
           previous_secret_until = now() + make_interval(secs => overlap_seconds),
           rotated_at = now()
     WHERE endpoint.account_id = of_account
       AND darkroom_text_hash(endpoint.url) = darkroom_text_hash(darkroom_webhook_endpoint(webhook_url))
    RETURNING endpoint.*;
    PERFORM darkroom_leave_act(before);
END $$;
