-- A grant that is repeated with its idempotency key is stored once.

ALTER TABLE ledger_entries ADD COLUMN idempotency_key text;
COMMENT ON COLUMN ledger_entries.idempotency_key IS
    'What the caller of a grant calls it by: the same key of the same account names the same entry. Null without one, and for the entries of jobs.';
-- Every row satisfies it, since the column is new.
ALTER TABLE ledger_entries ADD CONSTRAINT a_key_names_a_grant CHECK (
    idempotency_key IS NULL
    OR (job_id IS NULL AND kind IN ('grant', 'adjustment')
        AND length(idempotency_key) BETWEEN 1 AND 255)) NOT VALID;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX ledger_entries_one_per_key ON ledger_entries (account_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- Made again with one more argument, in sql/functions/grants.sql.
-- squawk-ignore ban-drop-function
DROP FUNCTION grant_credits(text, numeric, text, boolean, jsonb);
