-- What an account may use: its weight in the fair order, how many jobs and credits, and which priority.
-- Constant defaults and checks that are not validated: nothing is rewritten or read.

ALTER TABLE accounts
    ADD COLUMN weight numeric NOT NULL DEFAULT 1,
    ADD COLUMN max_open_jobs integer,
    ADD COLUMN max_queued_jobs integer,
    ADD COLUMN max_credits_per_day numeric,
    ADD COLUMN max_priority text NOT NULL DEFAULT 'high',
    ADD COLUMN day_credits numeric NOT NULL DEFAULT 0,
    ADD COLUMN day_started_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT weight_must_be_from_0_01_to_1000
        CHECK (weight >= 0.01 AND weight <= 1000) NOT VALID,
    ADD CONSTRAINT max_open_jobs_must_be_at_least_1 CHECK (max_open_jobs >= 1) NOT VALID,
    ADD CONSTRAINT max_queued_jobs_must_not_be_negative CHECK (max_queued_jobs >= 0) NOT VALID,
    ADD CONSTRAINT max_credits_per_day_must_not_be_negative
        CHECK (max_credits_per_day >= 0 AND max_credits_per_day < 'Infinity') NOT VALID,
    ADD CONSTRAINT max_priority_must_be_high_normal_or_low
        CHECK (max_priority IN ('high', 'normal', 'low')) NOT VALID,
    ADD CONSTRAINT day_credits_must_not_be_negative
        CHECK (day_credits >= 0 AND day_credits < 'Infinity') NOT VALID;
COMMENT ON COLUMN accounts.weight IS
    'The account''s share of the submits while others wait too: one with weight 2 gets twice as many as one with weight 1. 0.01 to 1000.';
COMMENT ON COLUMN accounts.max_open_jobs IS
    'How many of its jobs may be submitting, unknown or generating at once; null: no limit.';
COMMENT ON COLUMN accounts.max_queued_jobs IS
    'How many of its jobs may be queued, scheduled ones included, for a new one to be stored; null: no limit.';
COMMENT ON COLUMN accounts.max_credits_per_day IS
    'What the jobs placed in one day (UTC) may hold and cost together; null: no limit.';
COMMENT ON COLUMN accounts.max_priority IS
    'The highest priority that its service keys may ask for: high, normal or low.';
COMMENT ON COLUMN accounts.day_credits IS
    'What the jobs placed since day_started_at hold or were charged; failed and cancelled ones are not in it. Never write it by hand.';
COMMENT ON COLUMN accounts.day_started_at IS
    'Since when day_credits is counted: the midnight (UTC) before the newest enqueue, or the creation of the account or of this column, if later.';

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended', 'model_routed', 'images_pruned',
     'account_limits_changed')) NOT VALID;

CREATE FUNCTION darkroom_audit_account_limits() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    limits CONSTANT text[] := '{weight, max_open_jobs, max_queued_jobs, max_credits_per_day, max_priority}';
    before jsonb;
    after  jsonb;
BEGIN
    IF TG_RELID <> 'public.accounts'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_account_limits() is a trigger of accounts alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    SELECT jsonb_object_agg(key, was.value), jsonb_object_agg(key, since.value)
      INTO before, after
      FROM jsonb_each(to_jsonb(OLD)) AS was JOIN jsonb_each(to_jsonb(NEW)) AS since USING (key)
     WHERE key = ANY(limits) AND was.value <> since.value;
    IF after IS NOT NULL THEN
        PERFORM public.darkroom_write_audit_entry(
            'account_limits_changed', 'accounts ' || NEW.id, NEW.id, NULL, before, after);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_account_limits() IS
    'Trigger of accounts: records who changed which limits, as they were and as they are since.';
CREATE TRIGGER accounts_note_limits
    AFTER UPDATE OF weight, max_open_jobs, max_queued_jobs, max_credits_per_day, max_priority ON accounts
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_account_limits();
SELECT darkroom_grant_execute('darkroom_audit_account_limits()', '{}');
