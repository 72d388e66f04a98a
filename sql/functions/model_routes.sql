-- The routes of models, which operators choose: over HTTP, by the command line, or in psql:
--
--   SELECT * FROM darkroom_route_model('gpt-4o-image', '4o-image-api', 'the old endpoint is gone');
--   SELECT * FROM active_routes;
--   SELECT * FROM darkroom_route_model('gpt-4o-image', 'gpt-4o-image', 'it is back');
--
-- The trigger of `model_routes` records the act and notifies the workers.

-- Which families can send the jobs of another. The catalog of the workers has the same list.
CREATE OR REPLACE FUNCTION darkroom_families_of_model(of_model text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT via FROM (VALUES ('gpt-4o-image', '4o-image-api')) AS endpoint (model, via)
                  WHERE model = of_model ORDER BY via);
END $$;
COMMENT ON FUNCTION darkroom_families_of_model IS
    'The families beside its own by which the jobs of a model can be sent.';

-- Jobs of the model that wait for their next try though its route has changed since: after an answer
-- of something that is not Kie's endpoint, because Kie had withdrawn the model, or because the route before could not carry them. Their
-- wait ends now. A row that another session has locked is skipped. What is written within two
-- seconds after the change may have been decided before it.
CREATE OR REPLACE FUNCTION darkroom_end_route_waits(of_model text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ended bigint;
BEGIN
    WITH waiting AS MATERIALIZED (
        SELECT id FROM jobs
         WHERE state = 'queued' AND model = of_model
           AND reason IN ('wrong_endpoint', 'model_gone', 'route_unfit')
           AND due_at > now() AND run_at <= now()
           AND updated_at < (SELECT max(routed_at) FROM model_routes WHERE model = of_model)
                            + interval '2 seconds'
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE jobs SET due_at = now(), reason = NULL, message = NULL, updated_at = now()
      FROM waiting WHERE jobs.id = waiting.id;
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN ended;
END $$;
COMMENT ON FUNCTION darkroom_end_route_waits IS
    'Makes the jobs due that wait although the route of their model has changed since, and returns how many.';

CREATE OR REPLACE FUNCTION darkroom_route_model(
    of_model text, by_family text, why text DEFAULT NULL, by jsonb DEFAULT NULL
) RETURNS SETOF model_routes
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before   text[];
    families CONSTANT text[] := darkroom_families_of_model(of_model) || of_model;
    reason   CONSTANT text := darkroom_readable_reason(why);
    made     model_routes;
BEGIN
    IF of_model IS NULL OR NOT EXISTS (SELECT FROM pricing WHERE pricing.model = of_model) THEN
        RAISE EXCEPTION 'no model is named %; there is: %', coalesce(quote_literal(left(of_model, 80)), 'null'),
            (SELECT string_agg(DISTINCT pricing.model, ', ' ORDER BY pricing.model) FROM pricing)
            USING ERRCODE = 'DR404';
    ELSIF by_family IS NULL OR NOT by_family = ANY(families) THEN
        RAISE EXCEPTION '% cannot be sent via %; it can be sent via: %', of_model,
            coalesce(quote_literal(left(by_family, 80)), 'null'), array_to_string(families, ', ')
            USING ERRCODE = 'DR001', CONSTRAINT = 'route_must_carry_the_model';
    END IF;
    -- One at a time. A worker that finds a job unfit for a route holds the table too.
    LOCK TABLE model_routes IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO made FROM model_routes WHERE model = of_model ORDER BY id DESC LIMIT 1;
    IF coalesce(made.via, of_model) <> by_family THEN
        before := darkroom_enter_act(by, reason);
        INSERT INTO model_routes (model, via, reason, routed_by)
        VALUES (of_model, by_family, reason, darkroom_actor()) RETURNING * INTO made;
        PERFORM darkroom_leave_act(before);
        PERFORM darkroom_end_route_waits(of_model);
    END IF;
    IF made.id IS NOT NULL THEN
        RETURN NEXT made;
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_route_model IS
    'Sends the queued and the new jobs of a model by another family, or by its own again, and returns the row in force: SELECT * FROM darkroom_route_model(''gpt-4o-image'', ''4o-image-api'', ''why''). Tasks that are at Kie are not touched. A route that is in force already is not changed; no row where the model never had another. by: who, as one of our programs states it.';

-- name: record_route_unfit
-- The job waits: the route of its model cannot carry it. $1 id, $2 attempt, $3 from states, $4 to state,
-- $5 reason, $6 message, $7 event, $8 the route, $9 delay in seconds. No row back: the job has moved, or
-- another route is in force.
CREATE OR REPLACE FUNCTION darkroom_record_route_unfit(
    uuid, integer, text[], text, text, text, text, text, double precision)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- Against a change of the route at the same time, after which the job would wait for nothing.
    LOCK TABLE model_routes IN ROW EXCLUSIVE MODE;
    RETURN QUERY
    WITH before AS MATERIALIZED (
        SELECT id, reason FROM jobs WHERE id = $1 FOR NO KEY UPDATE
    ), moved AS (
        UPDATE jobs
           SET state = $4, reason = $5, message = $6, due_at = now() + make_interval(secs => $9),
               updated_at = now()
          FROM before
         WHERE jobs.id = before.id AND attempt = $2 AND state = ANY($3::text[])
           AND EXISTS (SELECT FROM active_routes WHERE active_routes.model = jobs.model AND via = $8)
        RETURNING jobs.*
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT moved.id, $7, jsonb_build_object('reason', $5::text, 'message', $6::text, 'route', $8::text)
          FROM moved JOIN before USING (id) WHERE before.reason IS DISTINCT FROM $5
    ), waits AS (
        -- It is chosen again once a route carries it.
        DELETE FROM chosen_jobs USING moved WHERE job_id = moved.id
    ), turn AS (
        INSERT INTO account_turns (account_id, priority) SELECT account_id, priority FROM moved
            ON CONFLICT DO NOTHING
    )
    SELECT * FROM moved;
END $$;
COMMENT ON FUNCTION darkroom_record_route_unfit IS
    'For workers: has a queued job wait that the route of its model cannot carry. Its hold stays.';
