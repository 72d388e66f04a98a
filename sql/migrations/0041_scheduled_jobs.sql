-- Jobs that are scheduled: queued, and their run_at has not come. They are no backlog.

-- Only a job that was placed with a later run_at has an entry, so every other pays nothing for it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_scheduled ON jobs (id DESC) INCLUDE (run_at)
    WHERE state = 'queued' AND run_at > created_at;

ALTER TABLE history_samples ADD COLUMN scheduled integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN history_samples.queued IS
    'Queued jobs: those that waited to be submitted, and the scheduled ones.';
COMMENT ON COLUMN history_samples.scheduled IS
    'Those of queued whose run_at had not come. Queued less these waited.';
COMMENT ON COLUMN jobs.run_at IS
    'When the job was asked for, as given: not submitted before. While it is later than now, a queued job is scheduled and does not wait. A time in the past means now.';
