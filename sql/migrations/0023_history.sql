-- History of the queue for plots, and when Kie was done with a task.

ALTER TABLE jobs ADD COLUMN provider_finished_at timestamptz;
COMMENT ON COLUMN jobs.provider_finished_at IS
    'When Kie was done with the task, by Kie''s clock; null where the job did not succeed or Kie did not say. finished_at less this is the lag.';

CREATE TABLE history_samples (
    interval_seconds       integer          NOT NULL,
    starts_at              timestamptz      NOT NULL,
    sampled_at             timestamptz      NOT NULL DEFAULT now(),
    queued                 integer          NOT NULL,
    submitting             integer          NOT NULL,
    unknown                integer          NOT NULL,
    generating             integer          NOT NULL,
    held_for_review        integer          NOT NULL,
    oldest_waiting_seconds double precision NOT NULL,
    accepted               integer          NOT NULL,
    submitted              integer          NOT NULL,
    succeeded              integer          NOT NULL,
    failed                 integer          NOT NULL,
    cancelled              integer          NOT NULL,
    credits_held           numeric          NOT NULL,
    credits_charged        numeric          NOT NULL,
    wait_p50_seconds       double precision,
    wait_p95_seconds       double precision,
    run_p50_seconds        double precision,
    run_p95_seconds        double precision,
    lag_p50_seconds        double precision,
    lag_p95_seconds        double precision,
    polls                  integer,
    polls_by_process       jsonb            NOT NULL,
    kie_accounts           jsonb            NOT NULL,
    PRIMARY KEY (interval_seconds, starts_at),
    CONSTRAINT interval_must_be_sampled CHECK (interval_seconds IN (15, 300)),
    CONSTRAINT start_must_be_a_multiple_of_the_interval
        CHECK (mod(extract(epoch FROM starts_at), interval_seconds) = 0)
);
COMMENT ON TABLE history_samples IS
    'One row per interval of 15 s (kept for 25 hours) and of 5 min (kept for 8 days), written by one of the workers after the interval. An interval without a row was not sampled. Nothing of a job depends on it; safe to empty.';
COMMENT ON COLUMN history_samples.interval_seconds IS 'How long the interval is: 15 or 300.';
COMMENT ON COLUMN history_samples.starts_at IS 'When the interval begins, by Postgres''s clock; a multiple of its length.';
COMMENT ON COLUMN history_samples.sampled_at IS 'When the row was written. Depth, oldest_waiting_seconds, credits_held and kie_accounts are of this moment.';
COMMENT ON COLUMN history_samples.queued IS 'Jobs that waited to be submitted.';
COMMENT ON COLUMN history_samples.submitting IS 'Jobs whose POST was in flight.';
COMMENT ON COLUMN history_samples.unknown IS 'Submissions of unknown outcome.';
COMMENT ON COLUMN history_samples.generating IS 'Jobs with a task at Kie.';
COMMENT ON COLUMN history_samples.held_for_review IS 'Those of generating that are held as result_unreadable.';
COMMENT ON COLUMN history_samples.oldest_waiting_seconds IS 'How long the oldest due job had waited; 0 where none did.';
COMMENT ON COLUMN history_samples.accepted IS 'Jobs accepted in the interval, by the time in their ids.';
COMMENT ON COLUMN history_samples.submitted IS 'Jobs whose task id came in the interval.';
COMMENT ON COLUMN history_samples.succeeded IS 'Jobs that succeeded in the interval.';
COMMENT ON COLUMN history_samples.failed IS 'Jobs that failed in the interval.';
COMMENT ON COLUMN history_samples.cancelled IS 'Jobs that were cancelled in the interval.';
COMMENT ON COLUMN history_samples.credits_held IS 'Credits set aside for open jobs, over all accounts.';
COMMENT ON COLUMN history_samples.credits_charged IS 'Credits charged in the interval.';
COMMENT ON COLUMN history_samples.wait_p50_seconds IS 'Median, over the jobs that ended in the interval, of the time from due or accepted to the task id; null where none ended.';
COMMENT ON COLUMN history_samples.wait_p95_seconds IS 'The 95th percentile of the same.';
COMMENT ON COLUMN history_samples.run_p50_seconds IS 'Median, over the jobs that ended in the interval, of the time from the task id to the end.';
COMMENT ON COLUMN history_samples.run_p95_seconds IS 'The 95th percentile of the same.';
COMMENT ON COLUMN history_samples.lag_p50_seconds IS 'Median, over the jobs that succeeded in the interval, of the time from Kie''s completion to the charge.';
COMMENT ON COLUMN history_samples.lag_p95_seconds IS 'The 95th percentile of the same.';
COMMENT ON COLUMN history_samples.polls IS 'Polls that the workers sent since the sample before; null where there is no sample of the interval before. A killed worker''s last 5 s are missing.';
COMMENT ON COLUMN history_samples.polls_by_process IS 'What each worker had sent since its start, by the first 8 digits of its id in processes.';
COMMENT ON COLUMN history_samples.kie_accounts IS 'By Kie account: budget (submits per 10 s), budget_used, brake_level, is_paused (null while Redis was away), balance.';
