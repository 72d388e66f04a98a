-- Webhooks as callers see them: a secret of the whole account, and every try of a message.

CREATE TABLE webhook_account_secrets (
    account_id            text        PRIMARY KEY REFERENCES accounts (id),
    secret                text        NOT NULL DEFAULT darkroom_new_webhook_secret(),
    previous_secret       text,
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    rotated_at            timestamptz,
    CONSTRAINT an_account_secret_is_standard CHECK (
        secret ~ '^whsec_[A-Za-z0-9+/]{43}=$'
        AND coalesce(previous_secret, secret) ~ '^whsec_[A-Za-z0-9+/]{43}=$'),
    CONSTRAINT a_rotation_leaves_a_previous_account_secret
        CHECK (num_nulls(previous_secret, previous_secret_until, rotated_at) IN (0, 3))
);
COMMENT ON TABLE webhook_account_secrets IS
    'A secret that signs every webhook of an account, beside the secret of the endpoint. Made and revoked by people.';
COMMENT ON COLUMN webhook_account_secrets.account_id IS 'Whose webhooks.';
COMMENT ON COLUMN webhook_account_secrets.secret IS 'Signs every message of the account. A secret.';
COMMENT ON COLUMN webhook_account_secrets.previous_secret IS
    'The secret before the last rotation: signs as well until previous_secret_until. A secret.';
COMMENT ON COLUMN webhook_account_secrets.previous_secret_until IS
    'When the previous secret stops signing.';
COMMENT ON COLUMN webhook_account_secrets.created_at IS 'When it was made.';
COMMENT ON COLUMN webhook_account_secrets.rotated_at IS 'When it was last changed.';

CREATE TABLE webhook_tries (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid        NOT NULL REFERENCES webhook_messages (id) ON DELETE CASCADE,
    at         timestamptz NOT NULL DEFAULT now(),
    status     integer,
    error      text,
    seconds    real        NOT NULL CHECK (seconds >= 0)
);
COMMENT ON TABLE webhook_tries IS
    'Every try to deliver a webhook message, written by the statement that records its result.';
COMMENT ON COLUMN webhook_tries.id IS 'Rises with each try.';
COMMENT ON COLUMN webhook_tries.message_id IS 'What was sent.';
COMMENT ON COLUMN webhook_tries.at IS 'When its result was recorded.';
COMMENT ON COLUMN webhook_tries.status IS 'The HTTP status of the answer; null where none came.';
COMMENT ON COLUMN webhook_tries.error IS 'Why it was not accepted, for people; null where it was.';
COMMENT ON COLUMN webhook_tries.seconds IS 'How long it took, from the name look-up to the answer.';
CREATE INDEX webhook_tries_of_message ON webhook_tries (message_id, id);

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended', 'model_routed', 'images_pruned',
     'account_limits_changed', 'images_retried', 'webhook_secret_created',
     'webhook_secret_revoked')) NOT VALID;

CREATE FUNCTION darkroom_audit_account_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.webhook_account_secrets'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_account_secret() is a trigger of webhook_account_secrets alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        CASE TG_OP WHEN 'INSERT' THEN 'webhook_secret_created' WHEN 'DELETE' THEN 'webhook_secret_revoked'
                   ELSE 'webhook_secret_rotated' END,
        'webhook_account_secrets ' || coalesce(NEW.account_id, OLD.account_id),
        coalesce(NEW.account_id, OLD.account_id), NULL,
        CASE WHEN OLD.account_id IS NOT NULL
             THEN jsonb_build_object('created_at', OLD.created_at, 'rotated_at', OLD.rotated_at) END,
        CASE WHEN NEW.account_id IS NOT NULL
             THEN jsonb_build_object('created_at', NEW.created_at, 'rotated_at', NEW.rotated_at) END);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_account_secret() IS
    'Trigger of webhook_account_secrets: notes who made, rotated or revoked one; no secret is kept here.';
CREATE TRIGGER webhook_account_secrets_note_who
    AFTER INSERT OR DELETE OR UPDATE OF secret ON webhook_account_secrets
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_account_secret();
SELECT darkroom_grant_execute('darkroom_audit_account_secret()', '{}');
