-- What the command line asks beyond what others ask.

-- name: worker_is_connected
-- Whether any worker has a connection to this database.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'darkroom-worker'
) AS is_connected;

-- name: worker_lives
-- Whether any worker is alive, by its connection or by its row in processes: a role without
-- pg_read_all_stats is not shown what others' connections are. $1 how long a process counts as alive
-- (seconds).
SELECT EXISTS (
    SELECT FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'darkroom-worker'
) OR EXISTS (
    SELECT FROM processes
     WHERE kind = 'worker' AND stopped_at IS NULL AND seen_at > now() - make_interval(secs => $1)
) AS is_alive;

-- name: open_jobs_at_price
-- The open jobs that a price may touch. $1 model, $2 task, $3 quantity, $4 new credits.
SELECT count(*) AS open_jobs, count(*) FILTER (WHERE credits_quoted > $4) AS quoted_above
  FROM jobs
 WHERE model = $1 AND task = $2 AND quantity = $3
   AND state IN ('queued', 'submitting', 'unknown', 'generating');
