-- Tasks that their job does not wait for any more: checked rarely, and their images kept. The functions
-- are of the kind that sql/functions/transitions.sql describes.

-- name: note_late_task
-- Notes a task that a callback names, to be checked now, or has a noted one checked now.
-- $1 job id, $2 attempt, $3 task id. No row back: its outcome stands.
CREATE OR REPLACE FUNCTION darkroom_note_late_task(uuid, integer, text)
RETURNS TABLE (job_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    INSERT INTO late_tasks (job_id, attempt, provider_task_id, is_claimed, next_check_at)
    SELECT job_id, number, $3, provider_task_id IS DISTINCT FROM $3, now()
      FROM job_attempts WHERE job_id = $1 AND number = $2
        ON CONFLICT (job_id, attempt, provider_task_id) DO UPDATE
           SET next_check_at = least(late_tasks.next_check_at, now()), outcome = NULL, ended_at = NULL
         WHERE late_tasks.outcome IS NULL OR late_tasks.outcome IN ('failed', 'forgotten', 'expired')
    RETURNING job_id;
END $$;
COMMENT ON FUNCTION darkroom_note_late_task IS
    'For workers: notes a task that only a callback names, to be checked.';

-- name: claim_late_tasks
-- Takes tasks whose check is due, for as long as a check may take. $1 that long (seconds), $2 the
-- Kie accounts whose key this worker has, $3 limit, $4 only of this job (null: any). Nobody waits
-- for a row that another worker is taking. `model` is the family by which the attempt was sent.
CREATE OR REPLACE FUNCTION darkroom_claim_late_tasks(double precision, text[], bigint, uuid)
RETURNS TABLE (job_id uuid, attempt integer, provider_task_id text, is_claimed boolean, checks integer,
               is_in_doubt boolean, model text, token text, provider_account text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due AS (
        SELECT late.job_id, late.attempt, late.provider_task_id,
               coalesce(attempt.route, jobs.model) AS model, attempt.token,
               attempt.provider_account
          FROM late_tasks AS late
          JOIN jobs ON jobs.id = late.job_id AND jobs.finished_at IS NOT NULL
          JOIN job_attempts AS attempt
            ON attempt.job_id = late.job_id AND attempt.number = late.attempt
         WHERE late.outcome IS NULL AND late.next_check_at <= now()
           AND attempt.provider_account = ANY($2::text[])
           AND ($4::uuid IS NULL OR late.job_id = $4)
         ORDER BY late.next_check_at LIMIT $3 FOR UPDATE OF late SKIP LOCKED
    )
    UPDATE late_tasks AS late SET next_check_at = now() + make_interval(secs => $1)
      FROM due
     WHERE late.job_id = due.job_id AND late.attempt = due.attempt
       AND late.provider_task_id = due.provider_task_id
       AND late.outcome IS NULL AND late.next_check_at <= now()
    RETURNING late.job_id, late.attempt, late.provider_task_id, late.is_claimed, late.checks,
              late.in_doubt_since IS NOT NULL AS is_in_doubt, due.model, due.token,
              due.provider_account;
END $$;
COMMENT ON FUNCTION darkroom_claim_late_tasks IS
    'For workers: takes late tasks whose check is due.';

-- name: record_delivered_late
-- Keeps the images of a task that its job did not wait for, with what they cost us. $1 job id,
-- $2 attempt, $3 task id, $4 image URLs, $5 event, $6 whether an operator says so: then of a task in
-- doubt alone, checked still or not; $7 whether the images are copied; $8 what Kie says that the task
-- cost (null: the price when the attempt was sent). No row back: its outcome stands, the job is open, or
-- the images belong to a job that has the task. Links of a job that was erased are not stored.
CREATE OR REPLACE FUNCTION darkroom_record_delivered_late(
    uuid, integer, text, text[], text, boolean, boolean DEFAULT false, numeric DEFAULT NULL)
RETURNS TABLE (job_id uuid, provider_credits numeric)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH job AS (
        SELECT jobs.id, jobs.model, jobs.task, jobs.quantity, jobs.variant, jobs.quoted_price_id,
               jobs.erased_at
          FROM jobs
         WHERE jobs.id = $1 AND jobs.finished_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM jobs AS holder
                            WHERE holder.provider_task_id = $3
                              AND (holder.id <> $1 OR holder.state = 'succeeded'))
           FOR NO KEY UPDATE
    ), cost AS (
        SELECT job.id, job.erased_at, coalesce($8::numeric, routed.provider_credits, version.provider_credits,
                                quoted.provider_credits) AS provider_credits
          FROM job
          JOIN job_attempts AS attempt ON attempt.job_id = job.id AND attempt.number = $2
          LEFT JOIN pricing_history AS routed
            ON (routed.model, routed.task, routed.quantity, routed.variant)
             = (attempt.route, job.task, job.quantity, job.variant)
           AND routed.valid @> attempt.sent_at
          LEFT JOIN pricing_history AS version
            ON (version.model, version.task, version.quantity, version.variant)
             = (job.model, job.task, job.quantity, job.variant)
           AND version.valid @> attempt.sent_at
          JOIN pricing_history AS quoted ON quoted.id = job.quoted_price_id
    ), kept AS (
        UPDATE late_tasks AS late
           SET outcome = 'delivered', ended_at = now(), in_doubt_since = NULL,
               result_urls = CASE WHEN cost.erased_at IS NULL THEN $4 ELSE '{}' END,
               erased_at = CASE WHEN cost.erased_at IS NOT NULL THEN now() END,
               checks = checks + CASE WHEN $6::boolean THEN 0 ELSE 1 END,
               provider_credits = cost.provider_credits
          FROM cost
         WHERE late.job_id = cost.id AND late.attempt = $2 AND late.provider_task_id = $3
           AND CASE WHEN $6::boolean THEN late.in_doubt_since IS NOT NULL ELSE late.outcome IS NULL END
        RETURNING late.job_id, late.attempt, late.provider_credits, late.erased_at
    ), shown AS (
        UPDATE jobs SET late_result_urls = coalesce(late_result_urls, '{}') || $4::text[],
                        images = CASE WHEN $7 THEN images || darkroom_show_new_images($4)
                                      ELSE images END,
                        updated_at = now()
          FROM kept WHERE jobs.id = kept.job_id AND kept.erased_at IS NULL
        RETURNING jobs.id, jobs.attempt,
                  cardinality(result_urls) + cardinality(late_result_urls) AS images_in_all
    ), copied AS (
        INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url)
        SELECT shown.id, shown.images_in_all - cardinality($4::text[]) + image.position, $2, $3, image.url
          FROM shown, unnest($4::text[]) WITH ORDINALITY AS image (url, position)
         WHERE $7
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT job_id, $5, jsonb_build_object('provider_task_id', $3::text, 'attempt', attempt,
                                              'images', cardinality($4::text[]),
                                              'provider_credits', provider_credits)
          FROM kept
    )
    SELECT job_id, provider_credits FROM kept;
END $$;
-- Before it took $7 and $8.
DROP FUNCTION IF EXISTS darkroom_record_delivered_late(
    uuid, integer, text, text[], text, boolean, boolean);
DROP FUNCTION IF EXISTS darkroom_record_delivered_late(uuid, integer, text, text[], text, boolean);
COMMENT ON FUNCTION darkroom_record_delivered_late IS
    'Keeps images that came after their job had ended, free of charge.';

-- name: record_failed_late
-- Kie's verdict on a late task is failure: nothing was paid after all. $1 job id, $2 attempt,
-- $3 task id, $4 reason, $5 message, $6 event.
CREATE OR REPLACE FUNCTION darkroom_record_failed_late(uuid, integer, text, text, text, text)
RETURNS TABLE (job_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH ended AS (
        UPDATE late_tasks SET outcome = 'failed', ended_at = now(), checks = checks + 1,
                              in_doubt_since = NULL
         WHERE job_id = $1 AND attempt = $2 AND provider_task_id = $3 AND outcome IS NULL
        RETURNING job_id, attempt
    ), event AS (
        INSERT INTO job_events (job_id, event, detail)
        SELECT job_id, $6, jsonb_build_object('provider_task_id', $3::text, 'attempt', attempt,
                                              'reason', $4::text, 'message', $5::text)
          FROM ended
    )
    SELECT job_id FROM ended;
END $$;
COMMENT ON FUNCTION darkroom_record_failed_late IS
    'For workers: notes that a late task has failed.';

-- name: end_late_task
-- The task is not, or not provably, this attempt's. $1 job id, $2 attempt, $3 task id, $4 outcome,
-- $5 what Kie said where its images may be this job's all the same (null: they are not): then the
-- task is in doubt, unless a job has its images.
CREATE OR REPLACE FUNCTION darkroom_end_late_task(uuid, integer, text, text, text)
RETURNS TABLE (is_in_doubt boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE late_tasks
       SET outcome = $4, ended_at = now(), checks = checks + 1, answer = coalesce($5, answer),
           in_doubt_since = CASE WHEN $5::text IS NOT NULL AND NOT EXISTS (
                                      SELECT FROM jobs AS holder
                                       WHERE holder.provider_task_id = $3
                                         AND (holder.id <> $1 OR holder.state = 'succeeded'))
                                 THEN coalesce(in_doubt_since, now()) END
     WHERE job_id = $1 AND attempt = $2 AND provider_task_id = $3 AND outcome IS NULL
    RETURNING in_doubt_since IS NOT NULL AS is_in_doubt;
END $$;
COMMENT ON FUNCTION darkroom_end_late_task IS
    'For workers: notes that a late task is not checked any more.';

-- name: dismiss_late_task
-- An operator found no images of a task in doubt. $1 job id, $2 attempt, $3 task id. No row back: it
-- is not in doubt any more.
CREATE OR REPLACE FUNCTION darkroom_dismiss_late_task(uuid, integer, text)
RETURNS TABLE (job_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE late_tasks SET outcome = 'dismissed', ended_at = now(), in_doubt_since = NULL
     WHERE job_id = $1 AND attempt = $2 AND provider_task_id = $3 AND in_doubt_since IS NOT NULL
    RETURNING job_id;
END $$;
COMMENT ON FUNCTION darkroom_dismiss_late_task IS
    'For operators: settles a late task in doubt without images.';

-- name: record_late_check
-- A check found no verdict: when the next one is due, or that there is none. Kie keeps images 14
-- days; a record that it does not know twice in a row, a day after the POST, is gone. $1 job id,
-- $2 attempt, $3 task id, $4 delay (seconds), $5 whether Kie has no record (null: it did not say),
-- $6 what Kie said, where it reports a success that cannot be read (else null).
CREATE OR REPLACE FUNCTION darkroom_record_late_check(
    uuid, integer, text, double precision, boolean, text)
RETURNS TABLE (outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE late_tasks AS late
       SET checks = checks + 1, next_check_at = now() + make_interval(secs => $4),
           checks_without_record = found.checks_without_record, outcome = found.outcome,
           ended_at = CASE WHEN found.outcome IS NOT NULL THEN now() END,
           answer = coalesce($6, late.answer),
           in_doubt_since = coalesce(late.in_doubt_since, CASE WHEN $6::text IS NOT NULL THEN now() END)
      FROM (
          SELECT counted.*,
                 CASE WHEN sent_at <= now() - interval '14 days' THEN 'expired'
                      WHEN checks_without_record >= 2 AND sent_at <= now() - interval '1 day'
                      THEN 'forgotten' END AS outcome
            FROM (
                SELECT late.job_id, late.attempt, late.provider_task_id, attempt.sent_at,
                       CASE $5::boolean WHEN true THEN late.checks_without_record + 1
                                        WHEN false THEN 0
                                        ELSE late.checks_without_record END AS checks_without_record
                  FROM late_tasks AS late
                  JOIN job_attempts AS attempt
                    ON attempt.job_id = late.job_id AND attempt.number = late.attempt
                 WHERE late.job_id = $1 AND late.attempt = $2 AND late.provider_task_id = $3
            ) AS counted
      ) AS found
     WHERE late.job_id = found.job_id AND late.attempt = found.attempt
       AND late.provider_task_id = found.provider_task_id AND late.outcome IS NULL
    RETURNING late.outcome;
END $$;
COMMENT ON FUNCTION darkroom_record_late_check IS
    'For workers: notes a check of a late task that found no verdict.';
