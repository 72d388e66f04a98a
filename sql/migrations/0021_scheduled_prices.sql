-- Price changes that take hold at a time, and refunds, which are adjustments that cite their job.

-- Scheduled prices ---------------------------------------------------------------------------

CREATE TABLE scheduled_prices (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    task             text        NOT NULL,
    quantity         integer     NOT NULL,
    credits          numeric     NOT NULL,
    provider_credits numeric,
    takes_effect_at  timestamptz NOT NULL,
    reason           text        NOT NULL,
    scheduled_by     text        NOT NULL DEFAULT session_user,
    scheduled_at     timestamptz NOT NULL DEFAULT now(),
    is_revoked       boolean     NOT NULL DEFAULT false,
    settled_at       timestamptz,
    settled_by       text,
    price_id         bigint      REFERENCES pricing_history (id),
    failure          text,
    CONSTRAINT scheduled_credits_must_be_0_to_1000000 CHECK (credits >= 0 AND credits <= 1000000),
    CONSTRAINT scheduled_provider_credits_must_be_0_to_1000000
        CHECK (provider_credits >= 0 AND provider_credits <= 1000000),
    CONSTRAINT a_scheduled_price_has_a_reason CHECK (btrim(reason) <> ''),
    CONSTRAINT what_is_not_settled_has_no_outcome
        CHECK (settled_at IS NOT NULL OR (price_id IS NULL AND failure IS NULL AND NOT is_revoked)),
    CONSTRAINT a_scheduled_price_has_one_outcome
        CHECK (num_nonnulls(price_id, failure, nullif(is_revoked, false)) <= 1)
);
COMMENT ON TABLE scheduled_prices IS
    'Changes of prices that take hold by themselves at their time. Insert a row to schedule one; UPDATE ... SET is_revoked = true to revoke it until then. Rows are kept.';
COMMENT ON COLUMN scheduled_prices.id IS 'Rises with each row.';
COMMENT ON COLUMN scheduled_prices.model IS 'As in pricing, which must have the row.';
COMMENT ON COLUMN scheduled_prices.task IS 'As in pricing.';
COMMENT ON COLUMN scheduled_prices.quantity IS 'As in pricing.';
COMMENT ON COLUMN scheduled_prices.credits IS 'What an account is charged from then on.';
COMMENT ON COLUMN scheduled_prices.provider_credits IS 'What Kie charges from then on; null: as before.';
COMMENT ON COLUMN scheduled_prices.takes_effect_at IS
    'The first enqueue or settlement at or after this time is priced by it; a worker applies it within seconds if there is none.';
COMMENT ON COLUMN scheduled_prices.reason IS 'Why; it becomes the reason in pricing_history. Required.';
COMMENT ON COLUMN scheduled_prices.scheduled_by IS
    'Who scheduled it, as in pricing.updated_by; kept by trigger. It becomes changed_by in pricing_history.';
COMMENT ON COLUMN scheduled_prices.scheduled_at IS 'When the row was made; kept by trigger.';
COMMENT ON COLUMN scheduled_prices.is_revoked IS 'Set it to true to revoke the change before its time.';
COMMENT ON COLUMN scheduled_prices.settled_at IS 'When it was applied, revoked or failed; null: it waits.';
COMMENT ON COLUMN scheduled_prices.settled_by IS 'Who revoked it; of an applied one, who scheduled it.';
COMMENT ON COLUMN scheduled_prices.price_id IS 'The version in pricing_history that it opened.';
COMMENT ON COLUMN scheduled_prices.failure IS 'Why it was not applied at its time.';
CREATE UNIQUE INDEX scheduled_prices_waiting
    ON scheduled_prices (takes_effect_at, model, task, quantity) WHERE settled_at IS NULL;
CREATE INDEX scheduled_prices_by_version ON scheduled_prices (price_id) WHERE price_id IS NOT NULL;

-- Refunds ------------------------------------------------------------------------------------

-- The rule before allowed less, so every row satisfies this one: nothing needs to be validated. The
-- unique index on (job_id, kind) makes a second refund of a job impossible.
-- squawk-ignore ban-drop-constraint
ALTER TABLE ledger_entries DROP CONSTRAINT job_kinds_have_a_job;
ALTER TABLE ledger_entries ADD CONSTRAINT job_kinds_have_a_job CHECK (CASE kind
    WHEN 'grant'      THEN job_id IS NULL
    WHEN 'adjustment' THEN job_id IS NULL OR credits > 0
    WHEN 'hold'       THEN job_id IS NOT NULL
    WHEN 'release'    THEN job_id IS NOT NULL
    WHEN 'capture'    THEN job_id IS NOT NULL
END) NOT VALID;
COMMENT ON COLUMN ledger_entries.job_id IS
    'The job that holds, releases or captures; of an adjustment, the job whose charge it refunds. Null for grants and other adjustments.';

-- What is noted ------------------------------------------------------------------------------

-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded')) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT via_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT via_must_be_known
    CHECK (via IN ('api', 'cli', 'python', 'sql', 'schedule')) NOT VALID;
COMMENT ON COLUMN audit_entries.via IS
    'By what: api, cli, python, sql, or schedule, where a scheduled price took hold.';
