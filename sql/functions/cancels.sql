-- Takes queued jobs back.

CREATE OR REPLACE FUNCTION darkroom_cancel_job(wanted uuid, by jsonb DEFAULT NULL)
RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_operator CONSTANT boolean := coalesce((by ->> 'is_operator')::boolean, false);
    why         CONSTANT text := CASE WHEN is_operator THEN 'cancelled_by_operator'
                                      ELSE 'cancelled_by_caller' END;
    sentence    CONSTANT text := CASE WHEN is_operator THEN 'cancelled by an operator'
                                      ELSE 'cancelled by the caller' END;
    before      text[] := darkroom_enter_act(by, NULL);
BEGIN
    RETURN QUERY
    WITH moved AS (
        UPDATE jobs
           SET state = 'cancelled', reason = why, message = sentence, finished_at = now(),
               updated_at = now()
         WHERE id = wanted AND state = 'queued'
        RETURNING *
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
        SELECT id, 'cancelled', jsonb_build_object('reason', why, 'message', sentence) FROM moved
    )
    SELECT * FROM moved;
    PERFORM darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_cancel_job(uuid, jsonb) IS
    'Takes a queued job back and releases its hold; no row where it is not queued. by: who, as one of our programs states it; with is_operator, the job says that an operator did it.';
