-- Finding and counting jobs for logins that may not read prompts. Unlike those of filtered_jobs.sql, these
-- functions read with the rights of their owner. They return ids and counts alone, and refuse filters
-- by what such a login may not read.

CREATE OR REPLACE FUNCTION darkroom_check_masked_filter(wanted jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF wanted ?| '{metadata, idempotency_key}' THEN
        RAISE EXCEPTION 'permission denied: a filter by metadata or idempotency_key needs the right to read jobs'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN wanted;
END $$;
COMMENT ON FUNCTION darkroom_check_masked_filter(jsonb) IS
    'Returns a filter of jobs. Refuses one by columns that jobs_masked does not have.';

CREATE OR REPLACE FUNCTION darkroom_find_masked_jobs(wanted jsonb, below uuid, at_most bigint)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50 SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT darkroom_find_jobs(darkroom_check_masked_filter(wanted), below, at_most);
END $$;
COMMENT ON FUNCTION darkroom_find_masked_jobs(jsonb, uuid, bigint) IS
    'The ids of the newest jobs that match a filter, newest first, for logins that may not read prompts.';

CREATE OR REPLACE FUNCTION darkroom_count_masked_jobs(wanted jsonb)
RETURNS TABLE (state text, reason text, jobs bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT counted.* FROM darkroom_count_jobs(darkroom_check_masked_filter(wanted)) AS counted;
END $$;
COMMENT ON FUNCTION darkroom_count_masked_jobs(jsonb) IS
    'How many jobs match a filter, by state and reason, for logins that may not read prompts.';
