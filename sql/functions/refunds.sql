-- Refunds of charged jobs. A refund is an adjustment that cites its job: the capture stands, and the job
-- stays as it ended.

CREATE OR REPLACE FUNCTION darkroom_refund_job(
    of_job uuid, why text, credits numeric DEFAULT NULL, by jsonb DEFAULT NULL
) RETURNS SETOF ledger_entries
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job     public.jobs;
    account public.accounts;
    earlier public.ledger_entries;
    written public.ledger_entries;
    before  text[];
BEGIN
    why := public.darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'a refund needs a reason' USING ERRCODE = 'DR001';
    END IF;
    SELECT * INTO job FROM public.jobs WHERE id = of_job;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF coalesce(job.credits_charged, 0) <= 0 THEN
        RAISE EXCEPTION 'job % is % and was charged nothing: there is nothing to refund', job.id, job.state
            USING ERRCODE = 'DR001', CONSTRAINT = 'only_a_charge_is_refunded';
    END IF;
    credits := coalesce(credits, job.credits_charged);
    IF (credits > 0 AND credits <= job.credits_charged) IS NOT TRUE
       OR scale(trim_scale(credits)) > greatest(2, scale(trim_scale(job.credits_charged))) THEN
        RAISE EXCEPTION 'a refund of job % is more than 0 and at most the % credits that it was charged, with at most 2 decimals, not %',
            job.id, trim_scale(job.credits_charged), trim_scale(credits)
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_refund_is_at_most_the_charge';
    END IF;
    -- The row of the account is held from here on: of two at once, the second sees the first's entry.
    UPDATE public.accounts SET balance = balance + darkroom_refund_job.credits
     WHERE id = job.account_id RETURNING * INTO account;
    SELECT * INTO earlier FROM public.ledger_entries
     WHERE job_id = of_job AND kind = 'adjustment';
    IF FOUND THEN
        RAISE EXCEPTION 'job % was refunded already: % credits at %', job.id, trim_scale(earlier.credits),
            to_char(earlier.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_job_is_refunded_once';
    END IF;
    before := public.darkroom_enter_act(by, why);
    INSERT INTO public.ledger_entries
        (account_id, job_id, kind, credits, balance_change, held_change, balance_after, held_after,
         price_id, reason)
    VALUES (job.account_id, job.id, 'adjustment', credits, credits, 0, account.balance, account.held,
            job.price_id, why)
    RETURNING * INTO written;
    PERFORM public.darkroom_leave_act(before);
    RETURN NEXT written;
END $$;
COMMENT ON FUNCTION darkroom_refund_job IS
    'Gives back what a job was charged, or a part of it, once: SELECT * FROM darkroom_refund_job(''<job id>'', ''why''). Returns the entry of the ledger; no row: there is no such job. by: who, as one of our programs states it.';
