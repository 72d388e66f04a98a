-- What waits: the numbers from which the position of a waiting job follows, with its caller's rights.
-- producer/waiting has how. The functions read; they change nothing.

-- darkroom_places_in_turn()
-- Of each of these jobs that is queued: its place among the chosen jobs, or its number among the
-- waiting jobs of its account and priority, both from 1. $1 ids. The jobs of one account are counted
-- together, so that a page of a list costs one pass over them at most.
CREATE OR REPLACE FUNCTION darkroom_places_in_turn(uuid[])
RETURNS TABLE (job_id uuid, chosen_place bigint, number bigint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    closed text[] := ARRAY(SELECT value FROM active_pauses WHERE scope = 'model');
BEGIN
    RETURN QUERY
    WITH chosen AS MATERIALIZED (
        -- OFFSET 0: each is looked up by its id, whatever the planner knows of the tables.
        SELECT job.id, job.priority, job.account_id, due_at,
               row_number() OVER (ORDER BY chosen_at, due_at, job.id) AS place
          FROM chosen_jobs,
               LATERAL (SELECT id, priority, account_id, due_at, state
                          FROM jobs WHERE id = job_id OFFSET 0) AS job
         WHERE state = 'queued'
    ), asked AS MATERIALIZED (
        SELECT id, priority, account_id, due_at,
               lag(due_at, 1, '-infinity') OVER own AS from_due_at,
               lag(id, 1, '00000000-0000-0000-0000-000000000000') OVER own AS from_id
          FROM jobs WHERE id = ANY ($1) AND state = 'queued'
        WINDOW own AS (PARTITION BY priority, account_id ORDER BY due_at, id)
    ), counted AS (
        SELECT asked.*,
               (SELECT count(*) FROM jobs AS before
                 WHERE state = 'queued' AND before.priority = asked.priority
                   AND before.account_id = asked.account_id
                   AND (before.due_at, before.id) >= (from_due_at, from_id)
                   AND (before.due_at, before.id) < (asked.due_at, asked.id))
               - CASE WHEN cardinality(closed) = 0 THEN 0
                      ELSE (SELECT count(*) FROM jobs AS before
                             WHERE state = 'queued' AND before.priority = asked.priority
                               AND before.account_id = asked.account_id
                               AND (before.due_at, before.id) >= (from_due_at, from_id)
                               AND (before.due_at, before.id) < (asked.due_at, asked.id)
                               AND model = ANY (closed)) END AS jobs
          FROM asked
    )
    SELECT counted.id, chosen.place,
           (1 + sum(jobs) OVER (PARTITION BY counted.priority, counted.account_id
                                ORDER BY counted.due_at, counted.id))::bigint
           - (SELECT count(*) FROM chosen AS before
               WHERE before.priority = counted.priority AND before.account_id = counted.account_id
                 AND (before.due_at, before.id) < (counted.due_at, counted.id))
      FROM counted LEFT JOIN chosen ON chosen.id = counted.id;
END $$;
COMMENT ON FUNCTION darkroom_places_in_turn IS
    'The place of queued jobs among the chosen ones, or their number among what waits of their account and priority.';

-- darkroom_waiting_accounts()
-- The accounts and priorities with due jobs, as far as a choice would see them: those that wait, how
-- many are chosen, and of an account with a limit how long ago each of its open jobs was submitted.
CREATE OR REPLACE FUNCTION darkroom_waiting_accounts()
RETURNS TABLE (account_id text, priority text, weight double precision, max_open_jobs integer,
               waiting bigint, chosen bigint, oldest_due_at timestamptz, turn double precision,
               moved_at timestamptz, is_paused boolean, open_seconds double precision[])
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    closed text[] := ARRAY(SELECT value FROM active_pauses WHERE scope = 'model');
BEGIN
    RETURN QUERY
    WITH queued AS MATERIALIZED (
        SELECT priority, account_id, count(*) AS jobs, min(due_at) AS oldest_due_at
          FROM jobs WHERE state = 'queued' AND due_at <= now()
         GROUP BY priority, account_id
    ), held AS (
        SELECT priority, account_id, count(*) AS jobs
          FROM jobs
         WHERE cardinality(closed) > 0 AND state = 'queued' AND due_at <= now()
           AND model = ANY (closed)
         GROUP BY priority, account_id
    ), chosen AS (
        SELECT priority, account_id, count(*) AS jobs
          FROM chosen_jobs,
               LATERAL (SELECT priority, account_id, state, due_at
                          FROM jobs WHERE id = job_id OFFSET 0) AS job
         WHERE state = 'queued' AND due_at <= now()
         GROUP BY priority, account_id
    ), open AS (
        SELECT account_id,
               array_agg(extract(epoch FROM now() - coalesce(submitted_at, attempted_at))::double precision) AS seconds
          FROM jobs
         WHERE state IN ('submitting', 'unknown', 'generating')
           AND account_id IN (SELECT account_id FROM queued JOIN accounts ON accounts.id = account_id
                               WHERE accounts.max_open_jobs IS NOT NULL)
         GROUP BY account_id
    )
    SELECT queued.account_id, queued.priority, accounts.weight::double precision,
           accounts.max_open_jobs,
           greatest(queued.jobs - coalesce(held.jobs, 0) - coalesce(chosen.jobs, 0), 0),
           coalesce(chosen.jobs, 0), queued.oldest_due_at,
           greatest(account_turns.turn, account_clock), account_turns.moved_at,
           EXISTS (SELECT FROM active_pauses
                    WHERE scope = 'account' AND value = queued.account_id),
           CASE WHEN accounts.max_open_jobs IS NOT NULL THEN coalesce(open.seconds, '{}') END
      FROM queued
      JOIN accounts ON accounts.id = queued.account_id
      JOIN priority_turns ON priority_turns.priority = queued.priority
      LEFT JOIN account_turns ON account_turns.priority = queued.priority
                             AND account_turns.account_id = queued.account_id
      LEFT JOIN held ON held.priority = queued.priority AND held.account_id = queued.account_id
      LEFT JOIN chosen ON chosen.priority = queued.priority AND chosen.account_id = queued.account_id
      LEFT JOIN open ON open.account_id = queued.account_id;
END $$;
COMMENT ON FUNCTION darkroom_waiting_accounts IS
    'What waits by account and priority: how many jobs, and what decides when they are chosen.';
