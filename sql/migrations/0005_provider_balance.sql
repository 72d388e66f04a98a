-- What Kie says is left on our account, beside what our attempts explain. Only ever noted: money
-- between Kie and us is mended by people.

CREATE TABLE provider_balance_checks (
    id                  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    follows             bigint      REFERENCES provider_balance_checks (id),
    asked_at            timestamptz NOT NULL,
    at                  timestamptz NOT NULL,
    balance             numeric     NOT NULL,
    measured_from       bigint      REFERENCES provider_balance_checks (id),
    previous_balance    numeric,
    expected_spend_low  numeric,
    expected_spend_high numeric,
    drift               numeric     NOT NULL,
    unexplained         numeric     NOT NULL,
    settled             boolean     NOT NULL,
    verdict             text        NOT NULL,
    -- Two workers at once follow the same check: one row stands, the other is not written.
    CONSTRAINT one_check_follows_another UNIQUE NULLS NOT DISTINCT (follows),
    CONSTRAINT balance_verdict_must_be_known
        CHECK (verdict IN ('first', 'ok', 'drift', 'topped_up', 'unknown')),
    CONSTRAINT asked_before_answered CHECK (asked_at <= at),
    CONSTRAINT only_the_first_has_nothing_before_it CHECK (
        (verdict = 'first') = (follows IS NULL)
        AND num_nulls(follows, measured_from, previous_balance,
                      expected_spend_low, expected_spend_high) IN (0, 5)),
    CONSTRAINT low_is_not_above_high CHECK (expected_spend_low <= expected_spend_high)
);
COMMENT ON TABLE provider_balance_checks IS
    'Kie''s credit balance once a minute, and whether our attempts explain how it moved. Nothing is ever corrected from here.';
COMMENT ON COLUMN provider_balance_checks.id IS 'Rises with time.';
COMMENT ON COLUMN provider_balance_checks.follows IS 'The newest check when Kie was asked; null for the first.';
COMMENT ON COLUMN provider_balance_checks.asked_at IS 'Just before Kie was asked.';
COMMENT ON COLUMN provider_balance_checks.at IS 'Just after Kie had answered: the balance is of a moment between the two.';
COMMENT ON COLUMN provider_balance_checks.balance IS 'Credits left on the Kie account.';
COMMENT ON COLUMN provider_balance_checks.measured_from IS 'The check against which this one is measured: the newest with firm footing (settled, or first, drift, topped_up) of the last hour, else the oldest of that hour, else the newest.';
COMMENT ON COLUMN provider_balance_checks.previous_balance IS 'The balance of that check.';
COMMENT ON COLUMN provider_balance_checks.expected_spend_low IS 'The least that our attempts explain since then; negative where refunds prevail.';
COMMENT ON COLUMN provider_balance_checks.expected_spend_high IS 'The most that they explain: each task that may exist, or may have been refunded, widens the range.';
COMMENT ON COLUMN provider_balance_checks.drift IS 'How far the spend lies outside of that range: above 0, Kie took more than we can explain; below 0, less.';
COMMENT ON COLUMN provider_balance_checks.unexplained IS 'Drift summed since the last alert; beyond KIE_DRIFT_ALERT_CREDITS the verdict is drift, and the next check begins again from 0.';
COMMENT ON COLUMN provider_balance_checks.settled IS 'Whether no charge or refund was on its way at that moment.';
COMMENT ON COLUMN provider_balance_checks.verdict IS
    'first: nothing to compare with; ok: explained; drift: not explained, an alert was logged; topped_up: the balance rose beyond refunds; unknown: within a range too wide to tell.';
CREATE INDEX provider_balance_checks_by_time ON provider_balance_checks (at DESC);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT ON provider_balance_checks TO darkroom_service;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_admin') THEN
        GRANT SELECT ON provider_balance_checks TO darkroom_admin;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        GRANT SELECT ON provider_balance_checks TO darkroom_readonly;
    END IF;
END $$;
