-- Indexes by which lists of jobs are filtered (sql/functions/filtered_jobs.sql) have more of what lists are
-- filtered by, so that no row is read for a job that does not match: two filters that many jobs match
-- each, and few both, took up to a second with a million jobs. No index is added. Those of reasons and
-- priorities cover few jobs. That of models is wider by 10 bytes in each of its entries.

-- With the state: otherwise the newest jobs, which wait, are read to find the last that failed.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_of_task;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_task ON jobs (model, task, state, id DESC);

-- Only jobs that failed, were cancelled, or wait for a reason.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_of_reason;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_reason ON jobs (reason, id DESC) INCLUDE (state, model, task, priority)
    WHERE reason IS NOT NULL;

-- Only jobs of another priority than the usual one.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_of_priority;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_priority ON jobs (priority, id DESC) INCLUDE (state, reason, model, task)
    WHERE priority <> 'normal';
