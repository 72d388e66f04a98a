-- Several Kie accounts: which of them an attempt was paid from. A task is only ever asked about
-- with the key of that account. No key is stored, only the name that the settings give it.

ALTER TABLE jobs ADD COLUMN provider_account text;
COMMENT ON COLUMN jobs.provider_account IS
    'The Kie account of the newest attempt, by its name in KIE_API_KEYS; default: the one of KIE_API_KEY. Null until the first attempt, and for attempts older than this column, which were made with KIE_API_KEY.';

ALTER TABLE job_attempts ADD COLUMN provider_account text;
COMMENT ON COLUMN job_attempts.provider_account IS
    'The Kie account that this POST was sent with; null: the one of KIE_API_KEY.';

ALTER TABLE provider_balance_checks ADD COLUMN provider_account text NOT NULL DEFAULT 'default';
COMMENT ON COLUMN provider_balance_checks.provider_account IS
    'The Kie account whose balance it is, by its name in KIE_API_KEYS; default: the one of KIE_API_KEY.';
-- One chain of checks per account.
ALTER TABLE provider_balance_checks DROP CONSTRAINT one_check_follows_another;
ALTER TABLE provider_balance_checks ADD CONSTRAINT one_check_follows_another
    UNIQUE NULLS NOT DISTINCT (provider_account, follows);
CREATE INDEX provider_balance_checks_of_account
    ON provider_balance_checks (provider_account, id DESC);
