-- The figures of the queue: what it is now, what happened between two moments, and the samples of
-- both that are kept for plots.

-- Since when the longest waiting due job has waited. Those due first and those accepted first: one of
-- both has waited longest. What a moment in the past was asked for waits since it was accepted. A job
-- to which a pause applies does not count, so more are looked at while there is one. The range of one
-- state keeps the planner from looking for the first ids along the primary key, which goes through all
-- jobs that have ended.
CREATE OR REPLACE FUNCTION darkroom_waiting_since() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    WITH paused AS MATERIALIZED (
        SELECT scope, value FROM active_pauses
    ), most AS (
        SELECT CASE WHEN EXISTS (SELECT FROM paused) THEN 10000 ELSE 1000 END AS jobs
    )
    SELECT min(greatest(run_at, created_at))
      FROM ((SELECT run_at, created_at, model, account_id FROM jobs WHERE state = 'queued'
              ORDER BY due_at, id LIMIT (SELECT jobs FROM most))
            UNION ALL
            (SELECT run_at, created_at, model, account_id FROM jobs
              WHERE state >= 'queued' AND state <= 'queued'
              ORDER BY state DESC, id LIMIT (SELECT jobs FROM most))) AS sample
     WHERE run_at <= now()
       AND NOT EXISTS (SELECT FROM paused
                        WHERE scope = 'everything'
                           OR (scope, value) IN (('model', sample.model),
                                                 ('account', sample.account_id)))
$$;
COMMENT ON FUNCTION darkroom_waiting_since IS
    'Since when the longest waiting due job has waited; null where none does.';

-- How many queued jobs are scheduled: their run_at has not come. Reads the index jobs_scheduled alone,
-- which has no other jobs than those that were placed with a later run_at. With its caller's rights.
CREATE OR REPLACE FUNCTION darkroom_count_scheduled() RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer FROM jobs
     WHERE state = 'queued' AND run_at > created_at AND run_at > now()
$$;
COMMENT ON FUNCTION darkroom_count_scheduled IS
    'How many queued jobs have a run_at that has not come.';

-- What waits and runs now, and what happened from $1 (inclusive) to $2 (exclusive). Percentiles are
-- exact, over the jobs that ended then. With its caller's rights: who may read jobs may call it.
CREATE OR REPLACE FUNCTION darkroom_measure_queue(since timestamptz, until timestamptz)
RETURNS TABLE (
    queued integer, submitting integer, unknown integer, generating integer,
    held_for_review integer, oldest_waiting_seconds double precision,
    accepted integer, submitted integer, succeeded integer, failed integer, cancelled integer,
    credits_held numeric, credits_charged numeric,
    wait_p50_seconds double precision, wait_p95_seconds double precision,
    run_p50_seconds double precision, run_p95_seconds double precision,
    lag_p50_seconds double precision, lag_p95_seconds double precision)
LANGUAGE sql STABLE AS $$
WITH running AS (
    SELECT count(*)::integer AS jobs,
           count(*) FILTER (WHERE reason = 'result_unreadable')::integer AS held,
           count(*) FILTER (WHERE submitted_at >= $1 AND submitted_at < $2)::integer AS submitted
      FROM jobs WHERE state = 'generating'
), ended AS (
    SELECT state, credits_charged, submitted_at, finished_at,
           CASE WHEN isfinite(submitted_at) AND isfinite(greatest(run_at, created_at))
                THEN greatest(submitted_at - greatest(run_at, created_at), interval '0')
           END AS waited,
           CASE WHEN isfinite(submitted_at) AND isfinite(finished_at)
                THEN greatest(finished_at - submitted_at, interval '0') END AS ran,
           CASE WHEN isfinite(provider_finished_at) AND isfinite(finished_at)
                THEN greatest(finished_at - provider_finished_at, interval '0') END AS lag
      FROM jobs WHERE finished_at >= $1
), percentiles AS (
    SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY waited) AS waited,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ran) AS ran,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY lag) AS lag
      FROM ended WHERE finished_at < $2
)
-- To count each state by itself takes half as long as to group them.
SELECT (SELECT count(*) FROM jobs WHERE state = 'queued')::integer,
       (SELECT count(*) FROM jobs WHERE state = 'submitting')::integer,
       (SELECT count(*) FROM jobs WHERE state = 'unknown')::integer,
       running.jobs, running.held,
       coalesce(extract(epoch FROM greatest(now() - darkroom_waiting_since(), interval '0')),
                0)::double precision,
       -- An id begins with its time, so this reads the end of the primary key alone.
       (SELECT count(*) FROM jobs
         WHERE id >= darkroom_first_id_since($1) AND id < darkroom_first_id_since($2))::integer,
       running.submitted + (SELECT count(*) FROM ended
                             WHERE submitted_at >= $1 AND submitted_at < $2)::integer,
       (SELECT count(*) FROM ended WHERE state = 'succeeded' AND finished_at < $2)::integer,
       (SELECT count(*) FROM ended WHERE state = 'failed' AND finished_at < $2)::integer,
       (SELECT count(*) FROM ended WHERE state = 'cancelled' AND finished_at < $2)::integer,
       (SELECT coalesce(sum(held), 0) FROM accounts WHERE held > 0),
       (SELECT coalesce(sum(credits_charged), 0) FROM ended WHERE finished_at < $2),
       extract(epoch FROM waited[1])::double precision,
       extract(epoch FROM waited[2])::double precision,
       extract(epoch FROM ran[1])::double precision,
       extract(epoch FROM ran[2])::double precision,
       extract(epoch FROM lag[1])::double precision,
       extract(epoch FROM lag[2])::double precision
  FROM running, percentiles
$$;
COMMENT ON FUNCTION darkroom_measure_queue IS
    'The queue as it is now, and what was accepted, submitted and ended between two moments.';

-- Writes the samples that are due. However many workers call it, each interval has one row: who comes
-- second finds it, and who comes at the same time leaves it to the first. An interval is sampled some
-- time after its end, so that what was being written at its end is counted: 3 s, and 60 s for the
-- longer one, from which the totals of a day are made. The statement that adds a row deletes at most
-- 100 that are too old.
CREATE OR REPLACE FUNCTION darkroom_sample_history(of_accounts jsonb) RETURNS SETOF integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    kind   record;
    begins timestamptz;
    ends   timestamptz;
BEGIN
    FOR kind IN SELECT * FROM (VALUES (15, 3, interval '25 hours'), (300, 60, interval '8 days'))
                    AS kinds (seconds, delay_seconds, kept)
    LOOP
        ends := date_bin(make_interval(secs => kind.seconds),
                         now() - make_interval(secs => kind.delay_seconds), 'epoch');
        begins := ends - make_interval(secs => kind.seconds);
        CONTINUE WHEN EXISTS (SELECT FROM history_samples AS known
                               WHERE known.interval_seconds = kind.seconds
                                 AND known.starts_at = begins);
        CONTINUE WHEN NOT pg_try_advisory_xact_lock('history_samples'::regclass::oid::integer, kind.seconds);
        RETURN QUERY
        WITH before AS (
            SELECT known.polls_by_process, known.sampled_at FROM history_samples AS known
             WHERE known.interval_seconds = kind.seconds
               AND known.starts_at = begins - make_interval(secs => kind.seconds)
        ), counter AS (
            SELECT left(id::text, 8) AS process, (detail ->> 'polls')::bigint AS polls, started_at
              FROM processes
             WHERE processes.kind = 'worker' AND jsonb_typeof(detail -> 'polls') = 'number'
               AND seen_at > now() - make_interval(secs => kind.seconds + 60)
        ), account AS (
            SELECT coalesce(jsonb_object_agg(
                       given.key, given.value || jsonb_build_object('balance', newest.balance)),
                       '{}') AS figures
              FROM jsonb_each(of_accounts) AS given
              LEFT JOIN LATERAL (
                  SELECT balance FROM provider_balance_checks
                   WHERE provider_account = given.key AND at > now() - interval '150 seconds'
                   ORDER BY id DESC LIMIT 1) AS newest ON true
        )
        INSERT INTO history_samples AS sample
            (interval_seconds, starts_at, sampled_at, queued, submitting, unknown, generating,
             held_for_review, oldest_waiting_seconds, accepted, submitted, succeeded, failed, cancelled,
             credits_held, credits_charged, wait_p50_seconds, wait_p95_seconds, run_p50_seconds,
             run_p95_seconds, lag_p50_seconds, lag_p95_seconds, polls, polls_by_process, kie_accounts,
             scheduled)
        SELECT kind.seconds, begins, now(), measured.queued, measured.submitting,
               measured.unknown, measured.generating, measured.held_for_review,
               measured.oldest_waiting_seconds, measured.accepted, measured.submitted,
               measured.succeeded, measured.failed, measured.cancelled, measured.credits_held,
               measured.credits_charged, measured.wait_p50_seconds, measured.wait_p95_seconds,
               measured.run_p50_seconds, measured.run_p95_seconds, measured.lag_p50_seconds,
               measured.lag_p95_seconds,
               -- A process that is new has sent all its polls since; one that was not heard of for
               -- a while has sent them at a time that is not known.
               (SELECT coalesce(sum(CASE
                           WHEN before.polls_by_process ? counter.process THEN
                               greatest(counter.polls
                                        - (before.polls_by_process ->> counter.process)::bigint, 0)
                           WHEN counter.started_at > before.sampled_at THEN counter.polls
                           ELSE 0 END), 0)
                  FROM before LEFT JOIN counter ON true
                HAVING count(before.sampled_at) > 0)::integer,
               (SELECT coalesce(jsonb_object_agg(process, counter.polls), '{}') FROM counter),
               account.figures, darkroom_count_scheduled()
          FROM darkroom_measure_queue(begins, ends) AS measured, account
            ON CONFLICT DO NOTHING
        RETURNING sample.interval_seconds;
        DELETE FROM history_samples AS old
         WHERE old.interval_seconds = kind.seconds
           AND old.starts_at IN (SELECT past.starts_at FROM history_samples AS past
                                  WHERE past.interval_seconds = kind.seconds
                                    AND past.starts_at < now() - kind.kept
                                  ORDER BY past.starts_at LIMIT 100);
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_sample_history IS
    'For workers: writes the samples of history that are due, and deletes old ones. Returns the lengths of the intervals that this call has sampled.';
