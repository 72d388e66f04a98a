-- The kinds of all open jobs are read by this index alone. It has entries of open jobs only. In a
-- transaction of its own: while it is built, jobs can be read, and are written after it.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_open_by_price ON jobs (model, task, quantity, variant)
    WHERE state IN ('queued', 'submitting', 'unknown', 'generating');
