-- Cancels: a queued job ends at once. Of a job that is at Kie the request is stored, because Kie takes
-- no task back: the job ends by Kie's outcome, and is not submitted again.

-- Each branch is one guarded statement. A job may move from one to the other in between: then no row
-- comes back, and the caller asks again.
CREATE OR REPLACE FUNCTION darkroom_cancel_job(wanted uuid, by jsonb DEFAULT NULL)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_operator CONSTANT boolean := coalesce((by ->> 'is_operator')::boolean, false);
    why         CONSTANT text := CASE WHEN is_operator THEN 'cancelled_by_operator'
                                      ELSE 'cancelled_by_caller' END;
    who         CONSTANT text := CASE WHEN is_operator THEN 'an operator' ELSE 'the caller' END;
    before      text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs
           SET state = 'cancelled', reason = why, message = 'cancelled by ' || who,
               finished_at = now(), updated_at = now()
         WHERE id = wanted AND state = 'queued'
        RETURNING *
    ), chosen AS (
        DELETE FROM chosen_jobs USING moved WHERE job_id = moved.id
    ), account AS (
        UPDATE accounts
           SET held = held - moved.credits_quoted,
               day_credits = day_credits - CASE WHEN moved.created_at >= day_started_at
                                                THEN moved.credits_quoted ELSE 0 END
          FROM moved WHERE accounts.id = moved.account_id
        RETURNING accounts.id, accounts.balance, accounts.held
    ), entry AS (
        INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                                    balance_after, held_after, price_id, reason)
        SELECT account.id, moved.id, 'release', credits_quoted, 0, -credits_quoted,
               account.balance, account.held, moved.price_id, why
          FROM moved JOIN account ON account.id = moved.account_id
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT id, 'cancelled',
               jsonb_build_object('reason', why, 'message', 'cancelled by ' || who) FROM moved
    )
    SELECT * FROM moved;
    IF NOT FOUND THEN
        RETURN QUERY
        WITH noted AS (
            UPDATE jobs
               SET cancel_requested_at = now(), cancel_reason = why, updated_at = now()
             WHERE id = wanted AND state IN ('submitting', 'unknown', 'generating')
               AND cancel_requested_at IS NULL
            RETURNING *
        ), event AS (
            INSERT INTO job_events (job_id, event, detail)
            SELECT id, 'cancel_requested',
                   jsonb_build_object('reason', why, 'message', 'cancel requested by ' || who,
                                      'state', state) FROM noted
        ), told AS (
            -- Workers poll it less often.
            SELECT id, pg_notify('darkroom_cancels', id::text) FROM noted
        )
        SELECT noted.* FROM noted JOIN told USING (id);
    END IF;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_cancel_job(uuid, jsonb) IS
    'Cancels a queued job and releases its hold, or requests the cancel of one that is at Kie. No row: it has ended, or its cancel was requested before. by: who, as one of our programs states it; with is_operator, the job says that an operator did it.';

-- Cancels each of the jobs as darkroom_cancel_job() does, and returns those that it has changed. A single
-- cancel locks its job and then the account. So does this: all jobs first, in order of their ids, and
-- then the accounts in theirs.
CREATE OR REPLACE FUNCTION darkroom_cancel_jobs(wanted uuid[], by jsonb DEFAULT NULL)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    open_states CONSTANT text[] := '{queued, submitting, unknown, generating}';
    one uuid;
BEGIN
    PERFORM FROM jobs WHERE id = ANY(wanted) AND state = ANY(open_states) ORDER BY id
        FOR NO KEY UPDATE;
    FOR one IN SELECT id FROM jobs WHERE id = ANY(wanted) AND state = ANY(open_states)
                ORDER BY account_id, id
    LOOP
        RETURN QUERY SELECT * FROM darkroom_cancel_job(one, by);
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_cancel_jobs(uuid[], jsonb) IS
    'Cancels queued jobs, requests the cancel of those that are at Kie, and returns both; no row for a job that has ended or whose cancel was requested before. by: who, as one of our programs states it.';
