-- Indexes by which lists of jobs are filtered (sql/functions/filtered_jobs.sql). Each costs an entry for
-- each version of a job's row that it covers, about five in the life of a job. Three replace others and
-- add no entry, and the new ones cover few rows where that is possible.

-- With the state, by which an account's jobs are filtered most, and the reason, so that jobs are
-- counted without their rows.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_of_account;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_account_in_state ON jobs (account_id, state, id DESC) INCLUDE (reason);
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_of_state;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_state ON jobs (state, id DESC) INCLUDE (reason);

-- The key first: it is found without its account.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_idempotency_key;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX jobs_idempotency_key ON jobs (idempotency_key, account_id)
    WHERE idempotency_key IS NOT NULL;

-- Only jobs that failed, were cancelled, or wait for a reason.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_reason ON jobs (reason, id DESC) WHERE reason IS NOT NULL;

-- One entry for each version of every job.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_task ON jobs (model, task, id DESC);

-- Only jobs of another priority than the usual one.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_priority ON jobs (priority, id DESC) WHERE priority <> 'normal';

-- Only jobs with metadata: an entry for each key.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_by_metadata ON jobs USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}';

-- Only tasks that came late.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX late_tasks_of_task ON late_tasks (provider_task_id);
