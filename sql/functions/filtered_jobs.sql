-- Finding jobs by filters. A filter is a JSON object; its keys are the fields of `JobFilter`
-- (producer/jobs/job_filter.py): account_id, state (an array), reason, model, task, priority,
-- created_from, created_to, provider_task_id, idempotency_key, metadata (an object, or an array of
-- alternatives), retried, scheduled, id. All are optional, and so is below: only jobs with ids below it. To list failed jobs of an account in psql:
--
--     SELECT jobs.* FROM darkroom_find_jobs('{"account_id": "acme", "state": ["failed"]}') AS id
--       JOIN jobs USING (id);
--
-- These functions read with the rights of their caller.

CREATE OR REPLACE FUNCTION darkroom_check_filter(wanted jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := '{account_id, state, reason, model, task, priority, created_from,
                               created_to, provider_task_id, idempotency_key, metadata, retried, scheduled, id,
                               below}';
    stray text;
BEGIN
    SELECT key INTO stray FROM jsonb_object_keys(wanted) AS key WHERE key <> ALL(known) LIMIT 1;
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION '% is no filter of jobs; allowed: %', stray, array_to_string(known, ', ')
            USING ERRCODE = 'DR001';
    END IF;
    IF jsonb_typeof(wanted -> 'state') <> 'array' THEN
        RAISE EXCEPTION 'state must be an array, such as ["failed"]' USING ERRCODE = 'DR001';
    END IF;
    RETURN wanted;
END $$;
COMMENT ON FUNCTION darkroom_check_filter(jsonb) IS
    'Returns a filter of jobs. Refuses one with an unknown key, which would match more jobs than are meant.';

CREATE OR REPLACE FUNCTION darkroom_is_retried(job_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM jobs WHERE retry_of = job_id);
END $$;
COMMENT ON FUNCTION darkroom_is_retried(uuid) IS 'Whether another job repeats the request of this one.';

-- The planner inlines this function, and drops each comparison whose filter is missing. No index is used
-- for jsonb_contains(): who wants that of metadata adds the same comparison with @>.
CREATE OR REPLACE FUNCTION darkroom_job_matches(job jobs, wanted jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT (wanted ->> 'account_id' IS NULL OR job.account_id = wanted ->> 'account_id')
       AND (wanted -> 'state' IS NULL OR wanted -> 'state' ? job.state)
       AND (wanted ->> 'reason' IS NULL OR job.reason = wanted ->> 'reason')
       AND (wanted ->> 'model' IS NULL OR job.model = wanted ->> 'model')
       AND (wanted ->> 'task' IS NULL OR job.task = wanted ->> 'task')
       AND (wanted ->> 'priority' IS NULL OR job.priority = wanted ->> 'priority')
       AND (wanted ->> 'created_from' IS NULL
            OR job.created_at >= (wanted ->> 'created_from')::timestamptz)
       AND (wanted ->> 'created_to' IS NULL
            OR job.created_at < (wanted ->> 'created_to')::timestamptz)
       AND (wanted ->> 'provider_task_id' IS NULL
            OR job.provider_task_id = wanted ->> 'provider_task_id')
       AND (wanted ->> 'idempotency_key' IS NULL
            OR job.idempotency_key = wanted ->> 'idempotency_key')
       AND (wanted -> 'metadata' IS NULL
            OR jsonb_contains(job.metadata, wanted #> '{metadata,0}')
            OR jsonb_contains(job.metadata, wanted #> '{metadata,-1}'))
       AND (wanted ->> 'id' IS NULL OR job.id = (wanted ->> 'id')::uuid)
       AND (wanted ->> 'scheduled' IS NULL
            OR (job.state = 'queued' AND job.run_at > now()) = (wanted ->> 'scheduled')::boolean)
       AND (wanted ->> 'retried' IS NULL
            OR darkroom_is_retried(job.id) = (wanted ->> 'retried')::boolean)
$$;
COMMENT ON FUNCTION darkroom_job_matches(jobs, jsonb) IS 'Whether a job matches a filter of jobs.';

-- Ids begin with the time of their creation, by the clock of the program that made them.
CREATE OR REPLACE FUNCTION darkroom_first_id_since(moment timestamptz) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    milliseconds CONSTANT bigint := CASE
        WHEN moment <= 'epoch' THEN 0
        WHEN moment >= '9999-01-01' THEN 253370764800000
        ELSE extract(epoch FROM moment) * 1000 END;
BEGIN
    RETURN (lpad(to_hex(greatest(milliseconds, 0)), 12, '0') || repeat('0', 20))::uuid;
END $$;
COMMENT ON FUNCTION darkroom_first_id_since(timestamptz) IS
    'The lowest id of a job that is created at this moment.';

-- Whether many jobs have the metadata of a filter, and whether many match all of it, by a sample of some
-- forty blocks of the table: those are soon found among the newest.
CREATE OR REPLACE FUNCTION darkroom_sample_metadata(
    wanted jsonb, OUT is_frequent boolean, OUT matches_are_frequent boolean
) LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    pages CONSTANT double precision := pg_relation_size('jobs') / 8192.0;
    share CONSTANT double precision := least(100, 4000 / greatest(pages, 1));
    only_metadata CONSTANT jsonb := jsonb_build_object('metadata', wanted -> 'metadata');
BEGIN
    SELECT count(*) FILTER (WHERE darkroom_job_matches(jobs, only_metadata)) * 100 > count(*),
           count(*) FILTER (WHERE darkroom_job_matches(jobs, wanted)) * 100 > count(*)
      INTO is_frequent, matches_are_frequent
      FROM jobs TABLESAMPLE system (share) REPEATABLE (0);
END $$;
COMMENT ON FUNCTION darkroom_sample_metadata(jsonb) IS
    'Whether more than one in a hundred jobs has the metadata of a filter, and matches all of it, by a sample.';

-- $1 filter, $2 and $3 only ids between these, $4 how many at most. Disregards `retried: false`.
--
-- Each branch reads the newest jobs of one index, in its order, and drops those that do not match the
-- other filters, which most indexes have as well: no row is read for a job that does not match. What an
-- index has already decided is taken out of the filter: with a comparison by `=` left in it, the planner
-- takes the primary key for the same order, and goes through every job where what is asked for is rare
-- among the newest. For the same reason `= ANY(ARRAY[...])` stands in place of `=`. OFFSET 0 keeps the
-- planner from joining in another order.
CREATE OR REPLACE FUNCTION darkroom_find_jobs_between(
    wanted jsonb, lowest uuid, highest uuid, at_most bigint
) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE ROWS 50
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
DECLARE
    states  CONSTANT text[] := CASE
        WHEN wanted ->> 'scheduled' = 'true' AND NOT wanted ? 'state' THEN '{queued}'
        WHEN wanted ? 'state' THEN ARRAY(SELECT DISTINCT jsonb_array_elements_text(wanted -> 'state'))
        -- No success has a reason.
        WHEN wanted ? 'reason'
        THEN '{queued, submitting, unknown, generating, failed, cancelled}'
        ELSE '{queued, submitting, unknown, generating, succeeded, failed, cancelled}' END;
    rest    jsonb := wanted;
    few     uuid[];
    -- By one of these, few jobs are left, or their order is that of an index.
    is_narrow CONSTANT boolean := wanted ? 'reason' OR (wanted ->> 'priority' <> 'normal') IS TRUE
        OR (wanted ->> 'scheduled' = 'true') IS TRUE OR (wanted ->> 'retried' = 'true') IS TRUE
        OR wanted ? 'state' AND 'succeeded' <> ALL(states);
    many_have_it boolean;
    many_match   boolean;
BEGIN
    IF wanted ? 'metadata' AND NOT wanted ?| '{provider_task_id, id, idempotency_key}' THEN
        SELECT * INTO many_have_it, many_match FROM darkroom_sample_metadata(wanted - 'retried');
    END IF;
    IF wanted ? 'provider_task_id' THEN
        rest := wanted - 'provider_task_id';
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.id IN (SELECT task.id FROM jobs AS task
                             WHERE task.provider_task_id = wanted ->> 'provider_task_id'
                             UNION
                            SELECT late.job_id FROM late_tasks AS late
                             WHERE late.provider_task_id = wanted ->> 'provider_task_id')
            AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
          ORDER BY jobs.id DESC LIMIT at_most;
    ELSIF wanted ? 'id' THEN
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.id = (wanted ->> 'id')::uuid AND jobs.id < highest
            AND darkroom_job_matches(jobs, wanted) LIMIT at_most;
    ELSIF wanted ? 'idempotency_key' THEN
        rest := wanted - 'idempotency_key';
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.idempotency_key = ANY(ARRAY[wanted ->> 'idempotency_key'])
            AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
          ORDER BY jobs.id DESC LIMIT at_most;
    ELSIF wanted ? 'metadata'
        AND NOT (many_have_it AND (many_match OR is_narrow)) THEN
        rest := wanted - 'state';
        RETURN QUERY SELECT found.id FROM (
            SELECT jobs.id FROM jobs
             WHERE jobs.id >= lowest AND jobs.id < highest AND jobs.metadata <> '{}'
               AND (jobs.metadata @> (wanted #> '{metadata,0}')
                    OR jobs.metadata @> (wanted #> '{metadata,-1}'))
               AND (NOT wanted ? 'state' OR jobs.state = ANY(states)) AND darkroom_job_matches(jobs, rest)
            OFFSET 0) AS found
          ORDER BY found.id DESC LIMIT at_most;
    ELSIF wanted ->> 'retried' = 'true' AND NOT states && '{succeeded, failed, cancelled}' THEN
        RETURN;  -- only ended jobs are retried
    ELSIF wanted ->> 'retried' = 'true' THEN
        rest := wanted - 'retried';
        -- The newest retries first. Where they do not suffice, the planner chooses from what to start.
        few := ARRAY(SELECT found.id
          FROM (SELECT DISTINCT again.retry_of AS id FROM jobs AS again
                 WHERE again.retry_of >= lowest AND again.retry_of < highest
                 ORDER BY again.retry_of DESC LIMIT 10 * at_most) AS first, LATERAL (
            SELECT jobs.id FROM jobs
             WHERE jobs.id = first.id AND darkroom_job_matches(jobs, rest) OFFSET 0) AS found
          ORDER BY first.id DESC LIMIT at_most);
        IF cardinality(few) = at_most THEN
            RETURN QUERY SELECT unnest(few);
        ELSE
            rest := rest - 'state';
            RETURN QUERY SELECT found.id FROM (
                SELECT jobs.id FROM jobs
                 WHERE jobs.id IN (SELECT again.retry_of FROM jobs AS again
                                    WHERE again.retry_of >= lowest AND again.retry_of < highest)
                   AND jobs.state = ANY(states) AND darkroom_job_matches(jobs, rest)
                OFFSET 0) AS found
              ORDER BY found.id DESC LIMIT at_most;
        END IF;
    ELSIF wanted ->> 'scheduled' = 'true' THEN
        RETURN QUERY SELECT found.id
          FROM (SELECT later.id FROM jobs AS later
                 WHERE later.state = 'queued' AND later.run_at > later.created_at AND later.run_at > now()
                   AND later.id >= lowest AND later.id < highest
                 ORDER BY later.id DESC OFFSET 0) AS later, LATERAL (
            SELECT jobs.id FROM jobs
             WHERE jobs.id = later.id AND darkroom_job_matches(jobs, wanted) OFFSET 0) AS found
          ORDER BY later.id DESC LIMIT at_most;
    ELSIF wanted ? 'account_id' THEN
        rest := wanted - '{account_id, state}'::text[];
        RETURN QUERY SELECT found.id FROM unnest(states) AS one (state), LATERAL (
            SELECT jobs.id FROM jobs
             WHERE jobs.account_id = ANY(ARRAY[wanted ->> 'account_id']) AND jobs.state = one.state
               AND jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
             ORDER BY jobs.account_id, jobs.id DESC LIMIT at_most) AS found
          ORDER BY found.id DESC LIMIT at_most;
    ELSIF wanted ? 'reason' THEN
        rest := wanted - 'reason';
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.reason = ANY(ARRAY[wanted ->> 'reason'])
            AND jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
          ORDER BY jobs.reason, jobs.id DESC LIMIT at_most;
    ELSIF wanted ->> 'priority' <> 'normal' THEN
        rest := wanted - 'priority';
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.priority = ANY(ARRAY[wanted ->> 'priority']) AND jobs.priority <> 'normal'
            AND jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
          ORDER BY jobs.priority, jobs.id DESC LIMIT at_most;
    ELSIF (wanted ? 'model' OR wanted ? 'task') AND NOT wanted ? 'metadata' THEN
        rest := wanted - '{model, task, state}'::text[];
        RETURN QUERY SELECT found.id
          -- Each job cites a version of its price, so these are all kinds of jobs that there are.
          FROM (SELECT DISTINCT model, task FROM pricing_history
                 WHERE (NOT wanted ? 'model' OR model = wanted ->> 'model')
                   AND (NOT wanted ? 'task' OR task = wanted ->> 'task')) AS kind,
               unnest(states) AS one (state), LATERAL (
            SELECT jobs.id FROM jobs
             WHERE jobs.model = ANY(ARRAY[kind.model]) AND jobs.task = kind.task
               AND jobs.state = one.state
               AND jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
             ORDER BY jobs.model, jobs.id DESC LIMIT at_most) AS found
          ORDER BY found.id DESC LIMIT at_most;
    ELSIF wanted ? 'state' THEN
        rest := wanted - 'state';
        RETURN QUERY SELECT found.id FROM unnest(states) AS one (state), LATERAL (
            SELECT jobs.id FROM jobs
             WHERE jobs.state = ANY(ARRAY[one.state])
               AND jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, rest)
             ORDER BY jobs.state, jobs.id DESC LIMIT at_most) AS found
          ORDER BY found.id DESC LIMIT at_most;
    ELSE
        RETURN QUERY SELECT jobs.id FROM jobs
          WHERE jobs.id >= lowest AND jobs.id < highest AND darkroom_job_matches(jobs, wanted)
          ORDER BY jobs.id DESC LIMIT at_most;
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_find_jobs_between(jsonb, uuid, uuid, bigint) IS
    'The ids of the newest jobs that match a filter, among ids between two.';

-- Up to which ids, from which ids, jobs of these times are looked for, if the clock of the program that
-- made an id and the clock of Postgres, which is created_at, are at most this far apart.
CREATE OR REPLACE FUNCTION darkroom_id_range(
    wanted jsonb, clocks interval, OUT lowest uuid, OUT highest uuid
) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    lowest := darkroom_first_id_since(
        coalesce((wanted ->> 'created_from')::timestamptz - clocks, '-infinity'));
    highest := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    IF wanted ? 'created_to' THEN
        -- The first id of the next millisecond, since a time has microseconds and an id has not.
        highest := darkroom_first_id_since(
            (wanted ->> 'created_to')::timestamptz + clocks + interval '1 millisecond');
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_id_range(jsonb, interval) IS
    'The ids between which jobs of a filter''s times are, by clocks that differ by at most an interval.';

-- The jobs that a range of ids by close clocks leaves out. There are few, except where a program's clock
-- is wrong for long: then a list reads ten minutes of its jobs more. Clocks that are wrong by more than
-- that are as rare as faults, and each of their jobs is read.
CREATE OR REPLACE FUNCTION darkroom_find_jobs_of_distant_clocks(
    wanted jsonb, below uuid, at_most bigint
) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE ROWS 50
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    ids CONSTANT record := darkroom_id_range(wanted, interval '10 minutes');
BEGIN
    -- OFFSET 0: the planner does not know how few there are, and would take another index.
    RETURN QUERY
    SELECT (distant.job).id
      FROM (SELECT jobs AS job FROM jobs
             WHERE darkroom_clock_distance(jobs.id, jobs.created_at) = 1
               AND jobs.id >= ids.lowest AND jobs.id < least(below, ids.highest)
            OFFSET 0) AS distant
     WHERE darkroom_job_matches(distant.job, wanted)
     UNION ALL
    SELECT (distant.job).id
      FROM (SELECT jobs AS job FROM jobs
             WHERE darkroom_clock_distance(jobs.id, jobs.created_at) = 2 AND jobs.id < below
            OFFSET 0) AS distant
     WHERE darkroom_job_matches(distant.job, wanted)
     ORDER BY 1 DESC LIMIT at_most;
END $$;
COMMENT ON FUNCTION darkroom_find_jobs_of_distant_clocks(jsonb, uuid, bigint) IS
    'The ids of the newest jobs that match a filter, among jobs whose ids are more than five seconds from created_at.';

-- $1 filter, $2 only ids below this (null: all), $3 how many at most.
CREATE OR REPLACE FUNCTION darkroom_find_jobs(
    wanted jsonb, below uuid DEFAULT NULL, at_most bigint DEFAULT 50
) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE ROWS 50 SET search_path = public, pg_temp AS $$
DECLARE
    checked CONSTANT jsonb := darkroom_check_filter(wanted);
    last    CONSTANT uuid := least(
        below, (wanted ->> 'below')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    is_one  CONSTANT boolean := wanted ?| '{id, provider_task_id, idempotency_key}';
    ids     record := darkroom_id_range('{}', interval '0');
BEGIN
    IF wanted ->> 'retried' = 'false' AND NOT is_one THEN
        RETURN QUERY SELECT darkroom_find_unretried_jobs(checked - 'retried', last, at_most);
    ELSIF is_one OR NOT wanted ?| '{created_from, created_to}' THEN
        RETURN QUERY SELECT darkroom_find_jobs_between(checked, ids.lowest, last, at_most);
    ELSE
        ids := darkroom_id_range(wanted, interval '5 seconds');
        RETURN QUERY
        SELECT found.id FROM (
            SELECT darkroom_find_jobs_between(
                       checked, ids.lowest, least(last, ids.highest), at_most) AS id
             UNION
            SELECT darkroom_find_jobs_of_distant_clocks(checked, last, at_most)) AS found
         ORDER BY found.id DESC LIMIT at_most;
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_find_jobs(jsonb, uuid, bigint) IS
    'The ids of the newest jobs that match a filter, newest first: SELECT darkroom_find_jobs(''{"state": ["failed"]}'').';

-- The planner does not inline a query, so a comparison by darkroom_is_retried() costs a call for each
-- job. Here one query looks up the retries of a thousand jobs.
CREATE OR REPLACE FUNCTION darkroom_find_unretried_jobs(wanted jsonb, below uuid, at_most bigint)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE ROWS 50 SET search_path = public, pg_temp AS $$
DECLARE
    size     bigint := 2 * at_most;
    chunk    uuid[];
    returned bigint := 0;
    added    bigint;
BEGIN
    WHILE returned < at_most LOOP
        chunk := ARRAY(SELECT darkroom_find_jobs(wanted, below, size));
        EXIT WHEN chunk = '{}';
        RETURN QUERY
        SELECT left_over.id
          FROM (SELECT unnest(chunk) AS id
                EXCEPT
                SELECT again.retry_of FROM jobs AS again
                 WHERE again.retry_of >= chunk[cardinality(chunk)] AND again.retry_of <= chunk[1]
                 ORDER BY id DESC OFFSET 0) AS left_over
         WHERE EXISTS (SELECT FROM jobs WHERE jobs.id = left_over.id AND pruned_at IS NULL OFFSET 0)
         LIMIT at_most - returned;
        GET DIAGNOSTICS added = ROW_COUNT;
        returned := returned + added;
        EXIT WHEN cardinality(chunk) < size;
        below := chunk[size];
        size := 4 * size;
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_find_unretried_jobs(jsonb, uuid, bigint) IS
    'The ids of the newest jobs that match a filter, that no other job repeats, and that are not pruned, newest first.';

CREATE OR REPLACE FUNCTION darkroom_count_jobs(wanted jsonb)
RETURNS TABLE (state text, reason text, jobs bigint)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    checked CONSTANT jsonb := darkroom_check_filter(wanted);
    few     CONSTANT bigint := 10000;
    ids     CONSTANT record := darkroom_id_range(wanted, interval '5 seconds');
    highest CONSTANT uuid := least((wanted ->> 'below')::uuid, ids.highest);
    states  CONSTANT text[] := ARRAY(SELECT jsonb_array_elements_text(wanted -> 'state'));
BEGIN
    IF wanted ?| '{id, provider_task_id, idempotency_key}' THEN
        RETURN QUERY
        SELECT one.state, one.reason, count(*) FROM jobs AS one
         WHERE one.id IN (SELECT darkroom_find_jobs(wanted, NULL, few))
         GROUP BY one.state, one.reason ORDER BY one.state, one.reason;
    ELSE
        RETURN QUERY
        SELECT part.state, part.reason, sum(part.jobs)::bigint FROM (
            SELECT one.state, one.reason, count(*) AS jobs FROM jobs AS one
             WHERE one.id >= ids.lowest AND one.id < highest
               AND (NOT wanted ? 'state' OR one.state = ANY(states))
               AND (wanted ->> 'scheduled' IS DISTINCT FROM 'true'
                    OR one.state = 'queued' AND one.run_at > one.created_at)
               AND (NOT wanted ? 'retried'
                    OR (one.id IN (SELECT again.retry_of FROM jobs AS again
                                    WHERE again.retry_of IS NOT NULL))
                       = (wanted ->> 'retried')::boolean)
               AND (NOT wanted ? 'metadata'
                    OR one.metadata <> '{}' AND (one.metadata @> (wanted #> '{metadata,0}')
                                                 OR one.metadata @> (wanted #> '{metadata,-1}')))
               AND darkroom_job_matches(one, checked - '{state, retried}'::text[])
             GROUP BY one.state, one.reason
             UNION ALL
            SELECT one.state, one.reason, count(*) FROM jobs AS one
             WHERE wanted ?| '{created_from, created_to}'
               AND darkroom_clock_distance(one.id, one.created_at) IN (1, 2)
               AND NOT (one.id >= ids.lowest AND one.id < ids.highest)
               AND (NOT wanted ? 'below' OR one.id < (wanted ->> 'below')::uuid)
               AND darkroom_job_matches(one, checked)
             GROUP BY one.state, one.reason) AS part
         GROUP BY part.state, part.reason ORDER BY part.state, part.reason;
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_count_jobs(jsonb) IS
    'How many jobs match a filter, by state and reason.';
