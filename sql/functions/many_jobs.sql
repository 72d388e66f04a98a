-- Acts of operators on many jobs at once.

-- Cancels those of the jobs that are queued, each as darkroom_cancel_job() does, and returns them. A
-- single cancel locks its job and then the account. So does this: all jobs first, in order of their
-- ids, and then the accounts in theirs.
CREATE OR REPLACE FUNCTION darkroom_cancel_jobs(wanted uuid[], by jsonb DEFAULT NULL)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    one uuid;
BEGIN
    PERFORM FROM jobs WHERE id = ANY(wanted) AND state = 'queued' ORDER BY id FOR NO KEY UPDATE;
    FOR one IN SELECT id FROM jobs WHERE id = ANY(wanted) AND state = 'queued' ORDER BY account_id, id
    LOOP
        RETURN QUERY SELECT * FROM darkroom_cancel_job(one, by);
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_cancel_jobs(uuid[], jsonb) IS
    'Takes queued jobs back, releases their holds and returns them; no row for a job that is not queued. by: who, as one of our programs states it.';
