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
