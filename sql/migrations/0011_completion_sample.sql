-- Which completion times are kept: a sample that fades with time. The newest few hundred by count
-- would be the last of a burst, and of tasks that began together the last to end are the slowest.

ALTER TABLE completion_times ADD COLUMN keep_rank double precision NOT NULL DEFAULT 0;
-- Highest ranks of time / 120 s + Gumbel noise: a random sample in which a completion counts less by
-- a factor of e every 120 s (Cormode et al., "Forward decay", 2009). Never ln(0).
ALTER TABLE completion_times ALTER COLUMN keep_rank
    SET DEFAULT extract(epoch FROM clock_timestamp()) / 120
                - ln(-ln(random() * 0.999998 + 0.000001));
COMMENT ON COLUMN completion_times.keep_rank IS
    'Time in units of 120 s, and noise: the highest of a kind are kept, so that they are a fair sample of the last minutes, whatever the rate.';
COMMENT ON TABLE completion_times IS
    'A sample of the completion times of the last minutes, a few hundred per model, task and quantity, written by workers every few seconds. Polls are timed by them; safe to empty.';
COMMENT ON COLUMN completion_times.id IS 'Rises with arrival.';
