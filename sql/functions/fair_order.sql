-- The fair order: which waiting jobs are submitted next. The functions are of the kind that
-- sql/functions/transitions.sql describes. docs/decisions/0045 has the rule.
--
-- A queued job is chosen (it has a row in chosen_jobs, and a delivery in Redis) or it waits. Only one
-- session chooses at a time; another one returns at once.

-- darkroom_places_without_wait()
-- How many new jobs are chosen at once, without waiting for a worker that chooses: none while others
-- wait or a pause is active, and at most eight in all. OFFSET 0, here and below, has each chosen job looked
-- up by its id: without statistics the planner would rather read all jobs, for each enqueue.
CREATE OR REPLACE FUNCTION darkroom_places_without_wait()
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    places bigint := 8 - (
        SELECT count(*) FROM chosen_jobs,
               LATERAL (SELECT state, due_at FROM jobs WHERE id = job_id OFFSET 0) AS job
         WHERE state = 'queued' AND due_at <= now());
BEGIN
    -- Every enqueue asks. The first question ends most calls while jobs come faster than they go.
    IF places <= 0
       OR EXISTS (SELECT FROM (SELECT id FROM jobs WHERE state = 'queued' AND due_at <= now()
                                ORDER BY due_at, id LIMIT 8) AS first
                   WHERE NOT EXISTS (SELECT FROM chosen_jobs WHERE job_id = first.id))
       OR EXISTS (SELECT FROM active_pauses WHERE scope <> 'kie_account') THEN
        RETURN 0;
    END IF;
    RETURN places;
END $$;
COMMENT ON FUNCTION darkroom_places_without_wait IS
    'How many new jobs may be handed to the workers at once, because nothing waits.';

-- darkroom_waits()
-- Whether a job waits that is due. $1 priority, $2 account id, $3 models to leave out. The comparisons of
-- rows, here and below, leave the planner one index. The settings have it use this index also where its
-- statistics are old or missing: without them it has read all jobs of an account for each choice.
CREATE OR REPLACE FUNCTION darkroom_waits(text, text, text[] DEFAULT '{}')
RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM (SELECT id FROM jobs
                      WHERE state = 'queued' AND model <> ALL ($3)
                        AND (priority, account_id, due_at) >= ($1, $2, '-infinity')
                        AND (priority, account_id, due_at) <= ($1, $2, now())
                        AND NOT EXISTS (SELECT FROM chosen_jobs WHERE job_id = jobs.id)
                      ORDER BY priority, account_id, due_at, id LIMIT 1) AS first);
END $$;
COMMENT ON FUNCTION darkroom_waits IS
    'Whether a job of this priority and account waits that is due.';

-- darkroom_waiting_in_turn()
-- The waiting jobs of one priority in fair order. $1 priority, $2 the clock of its accounts, $3 how many
-- at most, $4 models to leave out. An account whose limit of open jobs is reached is left out. Returns
-- the virtual time of each job in its account (tag), the share of the account, and for an account with a
-- limit how many more jobs it may have open (room).
CREATE OR REPLACE FUNCTION darkroom_waiting_in_turn(text, double precision, integer, text[])
RETURNS TABLE (job_id uuid, account_id text, tag double precision, weight double precision,
               room bigint, place bigint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    turn record;
    free bigint;
    accounts_found text[] := '{}';
    tags double precision[] := '{}';
    weights double precision[] := '{}';
    rooms bigint[] := '{}';
BEGIN
    -- The accounts with the first jobs. More than $3 of them are not needed.
    FOR turn IN
        SELECT account_turns.account_id, greatest(account_turns.turn, $2) AS tag, accounts.weight,
               max_open_jobs
          FROM account_turns JOIN accounts ON accounts.id = account_turns.account_id
         WHERE priority = $1
           AND NOT EXISTS (SELECT FROM active_pauses
                            WHERE scope = 'account' AND value = account_turns.account_id)
         ORDER BY 2, moved_at, 1
    LOOP
        free := $3;
        IF turn.max_open_jobs IS NOT NULL THEN
            free := least(free, turn.max_open_jobs - darkroom_open_jobs_of(turn.account_id));
        END IF;
        IF free > 0 AND darkroom_waits($1, turn.account_id, $4) THEN
            accounts_found := accounts_found || turn.account_id;
            tags := tags || turn.tag;
            weights := weights || turn.weight::double precision;
            rooms := rooms || free;
            EXIT WHEN cardinality(accounts_found) = $3;
        END IF;
    END LOOP;
    RETURN QUERY
    SELECT job.id, account.id, account.tag + (job.number - 1) / account.weight, account.weight,
           account.room, row_number() OVER fair
      FROM unnest(accounts_found, tags, weights, rooms) WITH ORDINALITY
               AS account (id, tag, weight, room, rank),
           LATERAL (
               SELECT waiting.id, row_number() OVER (ORDER BY due_at, waiting.id) AS number
                 FROM (SELECT jobs.id, due_at FROM jobs
                        WHERE state = 'queued' AND model <> ALL ($4)
                          AND (priority, jobs.account_id, due_at) >= ($1, account.id, '-infinity')
                          AND (priority, jobs.account_id, due_at) <= ($1, account.id, now())
                          AND NOT EXISTS (SELECT FROM chosen_jobs
                                           WHERE chosen_jobs.job_id = jobs.id)
                        ORDER BY priority, jobs.account_id, due_at, jobs.id
                        -- Where as many accounts as places were found, no job of an account is needed
                        -- whose tag is behind that of the last account.
                        LIMIT CASE WHEN cardinality(tags) < $3 THEN account.room
                                   ELSE least(account.room,
                                              floor((tags[$3] - account.tag) * account.weight) + 1)
                              END) AS waiting) AS job
    WINDOW fair AS (ORDER BY account.tag + (job.number - 1) / account.weight, account.rank, job.number)
     ORDER BY place LIMIT $3;
END $$;
COMMENT ON FUNCTION darkroom_waiting_in_turn IS
    'The waiting jobs of one priority, in the order in which they are chosen.';

-- darkroom_open_jobs_of()
-- How many jobs of an account are at Kie or about to be. $1 account id.
CREATE OR REPLACE FUNCTION darkroom_open_jobs_of(text)
RETURNS bigint
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    -- BETWEEN, so that no partial index of open jobs can be used, which has the waiting ones as well.
    -- Where Postgres believes that there are no jobs, it would seem as good as that of accounts.
    SELECT (SELECT count(*) FROM jobs
             WHERE account_id = $1 AND state BETWEEN 'submitting' AND 'submitting')
         + (SELECT count(*) FROM jobs
             WHERE account_id = $1 AND state BETWEEN 'unknown' AND 'unknown')
         + (SELECT count(*) FROM jobs
             WHERE account_id = $1 AND state BETWEEN 'generating' AND 'generating')
         + (SELECT count(*) FROM chosen_jobs,
                   LATERAL (SELECT state, account_id FROM jobs WHERE id = job_id OFFSET 0) AS job
             WHERE account_id = $1 AND state = 'queued')
$$;
COMMENT ON FUNCTION darkroom_open_jobs_of IS
    'How many jobs of an account count for max_open_jobs.';

-- darkroom_choose_jobs()
-- Chooses the next jobs in fair order. $1 how many at most (beyond 64: 64), $2 families whose submits
-- are braked: where a job of one of these is chosen already, no other is. Returns one row: the ids in order;
-- whether another session chooses at this moment; and after how many seconds it is worth choosing again
-- although no job comes: 0 where more may wait, null where nothing waits for a time or a limit.
CREATE OR REPLACE FUNCTION darkroom_choose_jobs(integer, text[] DEFAULT '{}')
RETURNS TABLE (chosen uuid[], is_busy boolean, again_seconds double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    places integer;
    closed text[];
BEGIN
    PERFORM FROM priority_turns WHERE priority = 'high' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN QUERY SELECT '{}'::uuid[], true, NULL::double precision;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM active_pauses WHERE scope = 'everything') THEN
        RETURN QUERY SELECT '{}'::uuid[], false, NULL::double precision;
        RETURN;
    END IF;
    -- A choice that is lost with the server is made again.
    PERFORM set_config('synchronous_commit', 'off', true);
    -- What another worker has just chosen may not be in Redis yet.
    places := least($1, 64) - (SELECT count(*) FROM chosen_jobs
                                WHERE chosen_at > clock_timestamp() - interval '50 milliseconds');
    closed := ARRAY(
        SELECT value FROM active_pauses WHERE scope = 'model'
        UNION
        SELECT jobs.model
          FROM chosen_jobs,
               LATERAL (SELECT state, model FROM jobs WHERE id = job_id OFFSET 0) AS jobs
          LEFT JOIN active_routes USING (model)
         WHERE state = 'queued' AND coalesce(via, jobs.model) = ANY ($2));
    chosen := darkroom_move_turns(greatest(places, 0), closed);
    is_busy := false;
    again_seconds := CASE WHEN cardinality(chosen) < places THEN darkroom_seconds_until_next(closed)
                          WHEN places < least($1, 64) THEN 0.05
                          ELSE 0 END;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION darkroom_choose_jobs IS
    'For workers: chooses the next jobs in fair order, and moves the turns of their accounts.';

-- darkroom_move_turns()
-- $1 places, $2 models to leave out. Stores which jobs are chosen, and returns their ids in order.
CREATE OR REPLACE FUNCTION darkroom_move_turns(integer, text[])
RETURNS uuid[]
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen uuid[];
BEGIN
    WITH class AS MATERIALIZED (
        SELECT priority, weight, account_clock,
               greatest(turn, (SELECT max(served) FROM priority_turns)) AS tag
          FROM priority_turns
    ), candidate AS MATERIALIZED (
        SELECT class.priority, class.weight AS class_weight, one.*,
               class.tag + (one.place - 1) / class.weight AS class_tag
          FROM class,
               LATERAL darkroom_waiting_in_turn(class.priority, account_clock, $1, $2) AS one
         WHERE $1 > 0
    ), within_limits AS (
        SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY class_tag, class_weight DESC, place)
                      AS number_of_account
          FROM candidate
    ), picked AS MATERIALIZED (
        SELECT *, row_number() OVER (ORDER BY class_tag, class_weight DESC, place) AS rank
          FROM within_limits WHERE number_of_account <= room
         ORDER BY rank LIMIT $1
    ), stored AS (
        INSERT INTO chosen_jobs (job_id) SELECT job_id FROM picked
            ON CONFLICT DO NOTHING
    ), account AS (
        UPDATE account_turns SET turn = moved.turn, moved_at = clock_timestamp()
          FROM (SELECT priority, account_id, max(tag + 1 / weight) AS turn
                  FROM picked GROUP BY priority, account_id) AS moved
         WHERE account_turns.priority = moved.priority
           AND account_turns.account_id = moved.account_id
    ), moved_class AS (
        UPDATE priority_turns
           SET turn = moved.served + 1 / priority_turns.weight, served = moved.served,
               account_clock = greatest(priority_turns.account_clock, moved.account_clock)
          FROM (SELECT priority, max(class_tag) AS served, max(tag) AS account_clock
                  FROM picked GROUP BY priority) AS moved
         WHERE priority_turns.priority = moved.priority
    )
    SELECT coalesce(array_agg(job_id ORDER BY rank), '{}') INTO chosen FROM picked;
    RETURN chosen;
END $$;
COMMENT ON FUNCTION darkroom_move_turns IS
    'Stores the next jobs in fair order as chosen, and returns their ids.';

-- darkroom_seconds_until_next()
-- After what time a job may be chosen that cannot be chosen now, although no job comes: a job is scheduled, or
-- waits for the limit of its account or for a braked model. $1 models that were left out. Null: there is
-- none.
CREATE OR REPLACE FUNCTION darkroom_seconds_until_next(text[])
RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN least(
        (SELECT extract(epoch FROM min(due_at) - now()) FROM jobs
          WHERE state = 'queued' AND due_at > now()),
        (SELECT 0.25 FROM account_turns JOIN accounts ON accounts.id = account_id
          WHERE max_open_jobs IS NOT NULL AND darkroom_waits(priority, account_id) LIMIT 1),
        CASE WHEN cardinality($1) > 0 THEN 1.0 END);
END $$;
COMMENT ON FUNCTION darkroom_seconds_until_next IS
    'When it is worth choosing again although no job comes, in seconds.';

-- darkroom_take_back_jobs()
-- Takes back what was chosen and may not be submitted, because a pause applies to it, and removes what is
-- no longer queued. Removes the turns of accounts that have nothing queued, where no virtual time is lost
-- by it. Returns the jobs that wait again: their deliveries are removed next.
CREATE OR REPLACE FUNCTION darkroom_take_back_jobs()
RETURNS TABLE (id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM priority_turns WHERE priority = 'high' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH gone AS (
        SELECT job_id, jobs.account_id, jobs.priority, coalesce(jobs.state = 'queued', false) AS waits
          FROM chosen_jobs
          LEFT JOIN LATERAL (SELECT account_id, priority, state, model
                               FROM jobs WHERE id = job_id OFFSET 0) AS jobs ON true
         WHERE jobs.state IS DISTINCT FROM 'queued'
            OR EXISTS (SELECT FROM active_pauses
                        WHERE (scope, value) IN (('model', jobs.model), ('account', jobs.account_id)))
           FOR UPDATE OF chosen_jobs SKIP LOCKED
    ), removed AS (
        DELETE FROM chosen_jobs USING gone WHERE chosen_jobs.job_id = gone.job_id
    ), turn AS (
        INSERT INTO account_turns (account_id, priority)
        SELECT DISTINCT account_id, priority FROM gone WHERE waits
            ON CONFLICT DO NOTHING
    )
    SELECT job_id FROM gone WHERE waits;
    PERFORM darkroom_forget_turns();
END $$;
COMMENT ON FUNCTION darkroom_take_back_jobs IS
    'For workers: takes back chosen jobs that are paused, and forgets what has ended.';

-- darkroom_forget_turns()
CREATE OR REPLACE FUNCTION darkroom_forget_turns()
RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    idle text[];
BEGIN
    -- An enqueue locks its account before it looks for the turn. So the account is locked here as well,
    -- and the next statement sees every job that was stored before.
    idle := ARRAY(
        SELECT id FROM accounts
         WHERE id IN (SELECT account_id FROM account_turns JOIN priority_turns USING (priority)
                       WHERE account_turns.turn <= account_clock
                         AND NOT EXISTS (SELECT FROM jobs
                                          WHERE state = 'queued' AND jobs.priority = account_turns.priority
                                            AND jobs.account_id = account_turns.account_id)
                       LIMIT 500)
           FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM account_turns USING priority_turns
     WHERE account_id = ANY (idle) AND priority_turns.priority = account_turns.priority
       AND account_turns.turn <= account_clock
       AND NOT EXISTS (SELECT FROM jobs
                        WHERE state = 'queued' AND jobs.priority = account_turns.priority
                          AND jobs.account_id = account_turns.account_id);
END $$;
COMMENT ON FUNCTION darkroom_forget_turns IS
    'Removes the turns of accounts that have nothing queued.';
