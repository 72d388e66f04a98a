-- Webhooks out: who is told of the end of a job, and what became of the telling. The message is
-- written by the statement that ends the job, so an end without its message cannot be committed.

CREATE FUNCTION darkroom_webhook_endpoint(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(lower(substring(url FROM '^[^/]*//[^/?#]+'))
                    || coalesce(nullif(substring(url FROM '^[^/]*//[^/?#]+([^?#]*)'), ''), '/'), url)
$$;
COMMENT ON FUNCTION darkroom_webhook_endpoint(text) IS
    'What a webhook URL has in common with others that share its secret: scheme, host, port and path, without query and fragment.';

CREATE FUNCTION darkroom_new_webhook_secret() RETURNS text LANGUAGE sql VOLATILE AS $$
    -- The hash of 366 random bits: 32 bytes of which each bit is unpredictable.
    SELECT 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
                                     || uuid_send(gen_random_uuid())), 'base64')
$$;
COMMENT ON FUNCTION darkroom_new_webhook_secret() IS
    'A new secret as Standard Webhooks writes it: whsec_ and the Base64 of 32 random bytes.';

CREATE TABLE webhook_endpoints (
    id                    uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id            text        NOT NULL REFERENCES accounts (id),
    url                   text        NOT NULL,
    secret                text        NOT NULL DEFAULT darkroom_new_webhook_secret(),
    previous_secret       text,
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    rotated_at            timestamptz,
    CONSTRAINT one_endpoint_per_account_and_url UNIQUE (account_id, url),
    CONSTRAINT an_endpoint_url_has_no_query CHECK (url = darkroom_webhook_endpoint(url)),
    CONSTRAINT a_secret_is_standard CHECK (
        secret ~ '^whsec_[A-Za-z0-9+/]{43}=$'
        AND coalesce(previous_secret, secret) ~ '^whsec_[A-Za-z0-9+/]{43}=$'),
    CONSTRAINT a_rotation_leaves_a_previous_secret
        CHECK (num_nulls(previous_secret, previous_secret_until, rotated_at) IN (0, 3))
);
COMMENT ON TABLE webhook_endpoints IS
    'Where an account has webhooks sent, each with a secret of its own. Made by itself with the first job that names it.';
COMMENT ON COLUMN webhook_endpoints.id IS 'The endpoint.';
COMMENT ON COLUMN webhook_endpoints.account_id IS 'Whose endpoint: two accounts that name one URL have two secrets.';
COMMENT ON COLUMN webhook_endpoints.url IS 'Scheme, host, port and path; jobs may add a query of their own.';
COMMENT ON COLUMN webhook_endpoints.secret IS 'Signs every message sent there. A secret.';
COMMENT ON COLUMN webhook_endpoints.previous_secret IS 'The secret before the last rotation: signs as well until previous_secret_until. A secret.';
COMMENT ON COLUMN webhook_endpoints.previous_secret_until IS 'When the previous secret stops signing.';
COMMENT ON COLUMN webhook_endpoints.created_at IS 'When a job first named it.';
COMMENT ON COLUMN webhook_endpoints.rotated_at IS 'When its secret was last changed.';

CREATE TABLE webhook_messages (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id       uuid        NOT NULL REFERENCES jobs (id),
    account_id   text        NOT NULL REFERENCES accounts (id),
    endpoint_id  uuid        NOT NULL REFERENCES webhook_endpoints (id),
    url          text        NOT NULL,
    event        text        NOT NULL,
    state        text        NOT NULL DEFAULT 'pending',
    created_at   timestamptz NOT NULL DEFAULT now(),
    tries        integer     NOT NULL DEFAULT 0 CHECK (tries >= 0),
    next_try_at  timestamptz NOT NULL DEFAULT now(),
    retry_until  timestamptz NOT NULL DEFAULT now() + interval '1 day',
    last_try_at  timestamptz,
    last_status  integer,
    last_error   text,
    delivered_at timestamptz,
    replayed_at  timestamptz,
    CONSTRAINT one_message_per_transition UNIQUE (job_id, event),
    CONSTRAINT webhook_event_must_be_known
        CHECK (event IN ('job.succeeded', 'job.failed', 'job.cancelled')),
    CONSTRAINT webhook_state_must_be_known CHECK (state IN ('pending', 'delivered', 'dead')),
    CONSTRAINT delivered_at_is_set_exactly_when_delivered
        CHECK ((delivered_at IS NOT NULL) = (state = 'delivered'))
);
COMMENT ON TABLE webhook_messages IS
    'One row per end of a job that somebody is to be told of, written by the statement that ended it. What is sent is made of the job''s row.';
COMMENT ON COLUMN webhook_messages.id IS 'Receivers see it as webhook-id, msg_ and its 32 digits, the same for every try.';
COMMENT ON COLUMN webhook_messages.job_id IS 'The job that ended.';
COMMENT ON COLUMN webhook_messages.account_id IS 'Whose job.';
COMMENT ON COLUMN webhook_messages.endpoint_id IS 'Whose secret signs it.';
COMMENT ON COLUMN webhook_messages.url IS 'The whole URL, as the job was given it. Its query may be a secret.';
COMMENT ON COLUMN webhook_messages.event IS 'job.succeeded, job.failed or job.cancelled.';
COMMENT ON COLUMN webhook_messages.state IS 'pending: it will be sent; delivered: the receiver took it; dead: given up, replayed only by hand.';
COMMENT ON COLUMN webhook_messages.created_at IS 'When the job ended; the timestamp in the body.';
COMMENT ON COLUMN webhook_messages.tries IS 'How often it was sent, since the last replay.';
COMMENT ON COLUMN webhook_messages.next_try_at IS 'Not sent before this moment, while it is pending.';
COMMENT ON COLUMN webhook_messages.retry_until IS 'When the last try is made: a day after the end, or after the last replay.';
COMMENT ON COLUMN webhook_messages.last_try_at IS 'When it was last sent.';
COMMENT ON COLUMN webhook_messages.last_status IS 'The HTTP status of the last answer; null where none came.';
COMMENT ON COLUMN webhook_messages.last_error IS 'Why the last try failed, for people; never what the receiver wrote.';
COMMENT ON COLUMN webhook_messages.delivered_at IS 'When the receiver took it.';
COMMENT ON COLUMN webhook_messages.replayed_at IS 'When an operator last had it sent anew.';
CREATE INDEX webhook_messages_pending ON webhook_messages (next_try_at, id) WHERE state = 'pending';
CREATE INDEX webhook_messages_dead ON webhook_messages (account_id, created_at) WHERE state = 'dead';
CREATE INDEX webhook_messages_by_time ON webhook_messages (created_at DESC, id DESC);
CREATE INDEX webhook_messages_of_account ON webhook_messages (account_id, created_at DESC, id DESC);

-- Nobody waits for anybody here: whoever stores or ends a job has locked its account's row first,
-- in the order of accounts, and an endpoint belongs to one account.
CREATE FUNCTION darkroom_require_webhook_endpoint(of_account text, webhook_url text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    wanted text := darkroom_webhook_endpoint(webhook_url);
    known  uuid;
BEGIN
    SELECT id INTO known FROM webhook_endpoints WHERE account_id = of_account AND url = wanted;
    IF known IS NULL THEN
        INSERT INTO webhook_endpoints (account_id, url) VALUES (of_account, wanted)
            ON CONFLICT (account_id, url) DO NOTHING RETURNING id INTO known;
    END IF;
    IF known IS NULL THEN
        SELECT id INTO known FROM webhook_endpoints WHERE account_id = of_account AND url = wanted;
    END IF;
    RETURN known;
END $$;
COMMENT ON FUNCTION darkroom_require_webhook_endpoint(text, text) IS
    'The endpoint of an account for a webhook URL, made where there is none yet.';

CREATE FUNCTION darkroom_note_webhook_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM darkroom_require_webhook_endpoint(NEW.account_id, NEW.webhook_url);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_note_webhook_endpoint() IS
    'Trigger: a job that names a webhook URL makes its endpoint, so that its secret can be asked for before the first message.';

CREATE FUNCTION darkroom_write_webhook_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    endpoint uuid := darkroom_require_webhook_endpoint(NEW.account_id, NEW.webhook_url);
    message  uuid;
BEGIN
    INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event)
    VALUES (NEW.id, NEW.account_id, endpoint, NEW.webhook_url, 'job.' || NEW.state)
    RETURNING id INTO message;
    PERFORM pg_notify('darkroom_webhooks', message || ' ' || endpoint);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_write_webhook_message() IS
    'Trigger: the statement that ends a job writes the message that tells of it, and names it and its endpoint to the workers at commit.';

-- Jobs without a webhook pay for a comparison, no more.
CREATE TRIGGER jobs_name_their_webhook_endpoint AFTER INSERT ON jobs FOR EACH ROW
    WHEN (NEW.webhook_url IS NOT NULL)
    EXECUTE FUNCTION darkroom_note_webhook_endpoint();
CREATE TRIGGER jobs_tell_their_end AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.webhook_url IS NOT NULL AND NEW.state IN ('succeeded', 'failed', 'cancelled')
          AND OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION darkroom_write_webhook_message();

DO $$
DECLARE
    reader text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT ON webhook_endpoints, webhook_messages TO darkroom_service;
        GRANT UPDATE (secret, previous_secret, previous_secret_until, rotated_at)
            ON webhook_endpoints TO darkroom_service;
        GRANT UPDATE (state, tries, next_try_at, retry_until, last_try_at, last_status, last_error,
                      delivered_at, replayed_at) ON webhook_messages TO darkroom_service;
    END IF;
    FOREACH reader IN ARRAY ARRAY['darkroom_admin', 'darkroom_readonly'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader);
        -- Secrets are not among these columns, nor are whole URLs, whose query may be one.
        EXECUTE format('GRANT SELECT (id, account_id, url, previous_secret_until, created_at,
                                      rotated_at) ON webhook_endpoints TO %I', reader);
        EXECUTE format('GRANT SELECT (id, job_id, account_id, endpoint_id, event, state, created_at,
                                      tries, next_try_at, retry_until, last_try_at, last_status,
                                      last_error, delivered_at, replayed_at)
                        ON webhook_messages TO %I', reader);
    END LOOP;
END $$;
