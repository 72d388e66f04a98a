-- An operator's verdicts on what Kie's answers leave open. Each moves the job by the statement of an
-- ordinary move and notes who and why, in one call: no role needs the move itself for it. `by` is who,
-- as one of our programs states it.

CREATE OR REPLACE FUNCTION darkroom_resolve_unknown(
    of_job uuid, of_attempt integer, task_id text, deadline_seconds double precision, why text,
    by jsonb DEFAULT NULL
) RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    why := darkroom_readable_reason(why);
    IF task_id IS NULL AND why IS NULL THEN
        RAISE EXCEPTION 'a verdict that no task exists needs a reason' USING ERRCODE = 'DR001';
    END IF;
    IF task_id IS NULL THEN
        PERFORM 1 FROM darkroom_release_job(
            of_job, of_attempt, '{unknown}', 'failed', 'submission_lost',
            'an operator found no evidence of a task; the hold was released', 'lost',
            'submission_lost');
    ELSE
        PERFORM 1 FROM darkroom_record_submitted(
            '1500ms', ARRAY[of_job], ARRAY[of_attempt], ARRAY[task_id], '{unknown}', 'generating',
            deadline_seconds, 'submitted');
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM darkroom_record_resolution(
        of_job, of_attempt, CASE WHEN task_id IS NULL THEN 'lost' ELSE 'submitted' END, task_id, why,
        by);
    RETURN QUERY SELECT * FROM jobs WHERE jobs.id = of_job;
END $$;
COMMENT ON FUNCTION darkroom_resolve_unknown IS
    'For operators: Kie made this task of an unknown submission, or (null) none. No row: the job is not unknown on this attempt.';

CREATE OR REPLACE FUNCTION darkroom_settle_held(
    of_job uuid, of_attempt integer, urls text[], basis text, why text, by jsonb DEFAULT NULL,
    copies_within_seconds double precision DEFAULT NULL
) RETURNS TABLE (credits_charged numeric, price_row_missing boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    images CONSTANT integer := coalesce(cardinality(urls), 0);
    held   jobs;
BEGIN
    why := darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'a verdict on a held success needs a reason' USING ERRCODE = 'DR001';
    END IF;
    SELECT * INTO held FROM jobs
     WHERE id = of_job AND attempt = of_attempt AND state = 'generating'
       AND reason = 'result_unreadable'
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF images > 0 THEN
        RETURN QUERY
        SELECT settled.credits_charged, settled.price_row_missing
          FROM darkroom_settle_jobs(
                   '1500ms', ARRAY[of_job], ARRAY[of_attempt], ARRAY[to_json(urls)::text],
                   ARRAY[least(images, held.quantity)],
                   ARRAY[CASE WHEN images < held.quantity
                              THEN format('%s of %s images were delivered', images, held.quantity) END],
                   '{generating}', 'succeeded', basis, 'completed', NULL,
                   copies_within_seconds) AS settled;
    ELSE
        RETURN QUERY
        SELECT released.credits_charged, false
          FROM darkroom_release_job(
                   of_job, of_attempt, '{generating}', 'failed', 'result_unreadable',
                   'an operator found no images of this task; the hold was released', NULL,
                   'provider_failed') AS released;
    END IF;
    IF FOUND THEN
        PERFORM darkroom_record_resolution(
            of_job, of_attempt, CASE WHEN images > 0 THEN 'delivered' ELSE 'undelivered' END,
            held.provider_task_id, why, by);
    END IF;
END $$;
-- Before it took copies_within_seconds.
DROP FUNCTION IF EXISTS darkroom_settle_held(uuid, integer, text[], text, text, jsonb);
COMMENT ON FUNCTION darkroom_settle_held IS
    'For operators: these are the images of a job that is held as result_unreadable, or there are none. Charged as any success is. No row: the job is not held on this attempt.';

CREATE OR REPLACE FUNCTION darkroom_settle_late(
    of_job uuid, of_attempt integer, task_id text, urls text[], why text, by jsonb DEFAULT NULL,
    is_copied boolean DEFAULT false
) RETURNS SETOF jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    images CONSTANT integer := coalesce(cardinality(urls), 0);
BEGIN
    why := darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'a verdict on a late task needs a reason' USING ERRCODE = 'DR001';
    END IF;
    IF images > 0 THEN
        PERFORM 1 FROM darkroom_record_delivered_late(
            of_job, of_attempt, task_id, urls, 'delivered_late', true, is_copied);
    ELSE
        PERFORM 1 FROM darkroom_dismiss_late_task(of_job, of_attempt, task_id);
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM darkroom_record_resolution(
        of_job, of_attempt, CASE WHEN images > 0 THEN 'delivered_late' ELSE 'dismissed_late' END,
        task_id, why, by);
    RETURN QUERY SELECT * FROM jobs WHERE jobs.id = of_job;
END $$;
-- Before it took is_copied.
DROP FUNCTION IF EXISTS darkroom_settle_late(uuid, integer, text, text[], text, jsonb);
COMMENT ON FUNCTION darkroom_settle_late IS
    'For operators: these are the images of a late task in doubt, free of charge, or there are none. No row: the task is not in doubt, or its images are another job''s.';
