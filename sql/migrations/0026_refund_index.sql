-- The margin of a period subtracts its refunds, which are few among all entries.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ledger_entries_refunds ON ledger_entries (created_at)
    WHERE kind = 'adjustment' AND job_id IS NOT NULL;
