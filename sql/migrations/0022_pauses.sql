-- Pauses of submits, set by a person: for everything, a model, an account or a Kie account. A pause is
-- a row, so a Redis that loses its data loses no pause.

CREATE TABLE pauses (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text        NOT NULL,
    value      text,
    reason     text        NOT NULL,
    paused_by  text        NOT NULL,
    paused_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    until      timestamptz,
    resumed_at timestamptz,
    resumed_by text,
    CONSTRAINT pause_scope_must_be_known
        CHECK (scope IN ('everything', 'model', 'account', 'kie_account')),
    CONSTRAINT pause_value_must_fit_its_scope CHECK ((scope = 'everything') = (value IS NULL)),
    CONSTRAINT pause_reason_must_be_given CHECK (btrim(reason) <> '' AND length(reason) <= 500),
    CONSTRAINT pause_must_end_after_its_start CHECK (until > paused_at),
    CONSTRAINT resume_must_name_who CHECK ((resumed_at IS NULL) = (resumed_by IS NULL))
);
COMMENT ON TABLE pauses IS
    'Pauses of submits, set by a person. A job to which any active pause applies is not claimed. A pause ends at until, or when it is resumed. Rows stay as history.';
COMMENT ON COLUMN pauses.id IS 'Rises with each pause.';
COMMENT ON COLUMN pauses.scope IS
    'Whose submits are paused: everything, model, account, or kie_account (one of our accounts at Kie).';
COMMENT ON COLUMN pauses.value IS
    'The model, the account or the Kie account; null where the scope is everything.';
COMMENT ON COLUMN pauses.reason IS 'Why, in the words of who paused.';
COMMENT ON COLUMN pauses.paused_by IS 'Who paused, as audit_entries.actor has it.';
COMMENT ON COLUMN pauses.paused_at IS 'Since when, by Postgres''s clock.';
COMMENT ON COLUMN pauses.until IS 'When the pause ends by itself, by Postgres''s clock; null: never.';
COMMENT ON COLUMN pauses.resumed_at IS 'When a person ended it; null: nobody did.';
COMMENT ON COLUMN pauses.resumed_by IS 'Who ended it, as audit_entries.actor has it.';
CREATE INDEX pauses_not_resumed ON pauses (scope, value) WHERE resumed_at IS NULL;

CREATE VIEW active_pauses AS
SELECT id, scope, value, reason, paused_by, paused_at, until FROM pauses
 WHERE resumed_at IS NULL AND (until IS NULL OR until > now());
COMMENT ON VIEW active_pauses IS 'The pauses that hold now, by Postgres''s clock.';
COMMENT ON COLUMN active_pauses.id IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.scope IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.value IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.reason IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.paused_by IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.paused_at IS 'As in pauses.';
COMMENT ON COLUMN active_pauses.until IS 'As in pauses.';

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed')) NOT VALID;

CREATE FUNCTION darkroom_audit_pause() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.pauses'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_pause() is a trigger of pauses alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        CASE WHEN NEW.resumed_at IS NULL THEN 'queue_paused' ELSE 'queue_resumed' END,
        'pauses ' || NEW.id, CASE WHEN NEW.scope = 'account' THEN NEW.value END, NULL,
        CASE WHEN TG_OP = 'UPDATE' THEN jsonb_build_object(
            'scope', OLD.scope, 'value', OLD.value, 'until', OLD.until, 'reason', OLD.reason,
            'paused_by', OLD.paused_by) END,
        jsonb_build_object(
            'scope', NEW.scope, 'value', NEW.value, 'until', NEW.until,
            'resumed_at', NEW.resumed_at));
    -- Workers read the pauses when they are notified, and every few seconds.
    PERFORM pg_notify('darkroom_pauses', NEW.id::text);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_pause() IS
    'Trigger of pauses: records who paused or resumed, and notifies the workers.';
CREATE TRIGGER pauses_note_who AFTER INSERT OR UPDATE ON pauses
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_pause();
SELECT darkroom_grant_execute('darkroom_audit_pause()', '{}');
