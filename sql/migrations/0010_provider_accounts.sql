-- Several accounts at Kie. A task can be asked about with the key of the account that made it and
-- with no other, so the account is written down with the intent, before the POST.
--
-- Workers of before this file know one account. What they write goes on as its own: the defaults
-- stay, and what they compare with stays unique.

ALTER TABLE job_attempts ADD COLUMN provider_account text NOT NULL DEFAULT 'default'
    CONSTRAINT provider_account_must_be_a_short_name CHECK (provider_account ~ '^[a-z][a-z0-9-]{0,19}$');
COMMENT ON COLUMN job_attempts.provider_account IS
    'Which of our accounts at Kie it was sent with, by its name in KIE_API_KEYS; default: that of KIE_API_KEY. Its task is asked about with this account''s key alone.';

ALTER TABLE provider_balance_checks ADD COLUMN provider_account text NOT NULL DEFAULT 'default'
    CONSTRAINT provider_account_must_be_a_short_name CHECK (provider_account ~ '^[a-z][a-z0-9-]{0,19}$');
COMMENT ON COLUMN provider_balance_checks.provider_account IS
    'Whose balance, by its name in KIE_API_KEYS. Each account has a chain of checks of its own.';
-- The first check of each account follows none; any other check is followed by one at most. One
-- row a minute is no big table, and each file is one transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE provider_balance_checks DROP CONSTRAINT one_check_follows_another;
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
ALTER TABLE provider_balance_checks ADD CONSTRAINT one_check_follows_another UNIQUE (follows);
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX provider_balance_checks_one_first_per_account
    ON provider_balance_checks (provider_account) WHERE follows IS NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX provider_balance_checks_of_account ON provider_balance_checks (provider_account, id DESC);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_admin') THEN
        GRANT SELECT (provider_account) ON job_attempts TO darkroom_admin;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        GRANT SELECT (provider_account) ON job_attempts TO darkroom_readonly;
    END IF;
END $$;
