-- Tasks that Kie was paid for and that their job does not wait for any more: the job had reached its
-- deadline, the task id came after the end, or only a callback named the task. Each is checked again,
-- rarely, until Kie gives a verdict or forgets it. Images that come are kept on the job, free of
-- charge.

CREATE TABLE late_tasks (
    job_id                uuid        NOT NULL,
    attempt               integer     NOT NULL,
    provider_task_id      text        NOT NULL,
    is_claimed            boolean     NOT NULL DEFAULT false,
    noted_at              timestamptz NOT NULL DEFAULT now(),
    next_check_at         timestamptz NOT NULL DEFAULT now() + interval '1 minute',
    checks                integer     NOT NULL DEFAULT 0 CHECK (checks >= 0),
    checks_without_record integer     NOT NULL DEFAULT 0 CHECK (checks_without_record >= 0),
    outcome               text,
    ended_at              timestamptz,
    result_urls           text[]      NOT NULL DEFAULT '{}',
    provider_credits      numeric,
    PRIMARY KEY (job_id, attempt, provider_task_id),
    FOREIGN KEY (job_id, attempt) REFERENCES job_attempts (job_id, number),
    CONSTRAINT late_outcome_must_be_known
        CHECK (outcome IN ('delivered', 'failed', 'forgotten', 'refuted', 'unproven',
                           'expired')),
    CONSTRAINT a_late_outcome_has_its_moment CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CONSTRAINT late_images_exactly_when_delivered
        CHECK ((cardinality(result_urls) > 0) = (outcome IS NOT DISTINCT FROM 'delivered')),
    CONSTRAINT late_images_have_their_cost
        CHECK ((provider_credits IS NOT NULL) = (outcome IS NOT DISTINCT FROM 'delivered'))
);
COMMENT ON TABLE late_tasks IS
    'One row per task of Kie''s that its job does not wait for any more. Checked again, rarely, while outcome is null; images that come are kept and never charged to the account.';
COMMENT ON COLUMN late_tasks.job_id IS 'The job.';
COMMENT ON COLUMN late_tasks.attempt IS 'Which attempt of the job the task belongs to.';
COMMENT ON COLUMN late_tasks.provider_task_id IS 'The task.';
COMMENT ON COLUMN late_tasks.is_claimed IS
    'true: only a callback names the task, and it counts once Kie''s record shows that it was made with this attempt''s callback URL; false: Kie''s reply to the attempt named it.';
COMMENT ON COLUMN late_tasks.noted_at IS 'When the job stopped waiting for it, or it became known.';
COMMENT ON COLUMN late_tasks.next_check_at IS
    'Not checked before this moment, while outcome is null. A check under way moves it on, so that two workers do not both ask.';
COMMENT ON COLUMN late_tasks.checks IS 'How often Kie was asked since; the interval grows with it.';
COMMENT ON COLUMN late_tasks.checks_without_record IS 'How often in a row Kie answered that it has no such record.';
COMMENT ON COLUMN late_tasks.outcome IS
    'delivered: the images are in result_urls; failed: Kie''s verdict; forgotten: Kie has no record of it; refuted: another attempt''s task; unproven: claimed, and Kie does not show who made it; expired: no verdict within 14 days; null: still checked.';
COMMENT ON COLUMN late_tasks.ended_at IS 'When the outcome was stored.';
COMMENT ON COLUMN late_tasks.result_urls IS 'The images. Kie keeps them 14 days.';
COMMENT ON COLUMN late_tasks.provider_credits IS 'What Kie charged for them, by the price when the attempt was sent.';
CREATE INDEX late_tasks_to_check ON late_tasks (next_check_at) WHERE outcome IS NULL;
CREATE INDEX late_tasks_ended ON late_tasks (ended_at) WHERE outcome IN ('delivered', 'failed');
-- One task is one job's, whoever claims it.
CREATE UNIQUE INDEX late_tasks_deliver_once ON late_tasks (provider_task_id) WHERE outcome = 'delivered';

CREATE FUNCTION darkroom_note_late_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO late_tasks (job_id, attempt, provider_task_id)
    SELECT job_id, number, provider_task_id FROM job_attempts
     WHERE job_id = NEW.id AND number = NEW.attempt AND provider_task_id IS NOT NULL
        ON CONFLICT DO NOTHING;
    -- Callbacks that could not be judged while the job was open.
    INSERT INTO late_tasks (job_id, attempt, provider_task_id, is_claimed)
    SELECT attempt.job_id, attempt.number, inbox.provider_task_id, true
      FROM job_attempts AS attempt JOIN callback_inbox AS inbox USING (token)
     WHERE attempt.job_id = NEW.id AND inbox.handled_at IS NULL
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_note_late_tasks() IS
    'Trigger: the statement that ends a job without a verdict of Kie notes the tasks that may still deliver.';
CREATE TRIGGER jobs_note_late_tasks AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.state = 'failed' AND OLD.state <> 'failed'
          AND NEW.reason IN ('deadline_exceeded', 'submission_lost'))
    EXECUTE FUNCTION darkroom_note_late_tasks();

ALTER TABLE jobs ADD COLUMN late_result_urls text[];
COMMENT ON COLUMN jobs.late_result_urls IS
    'Images that came after the job had ended without them: kept, never charged. Null where none came. Kie keeps them 14 days.';

CREATE FUNCTION darkroom_guard_late_images() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % keeps the late images it has, and an open job has none', OLD.id
        USING ERRCODE = 'DR001', HINT = 'late_tasks has what came late, task by task.';
END $$;
COMMENT ON FUNCTION darkroom_guard_late_images() IS
    'Trigger: late images are only ever added, and only to a job that has ended.';
CREATE TRIGGER jobs_keep_late_images BEFORE UPDATE OF late_result_urls ON jobs FOR EACH ROW
    WHEN (NEW.finished_at IS NULL
          OR coalesce(NEW.late_result_urls[:coalesce(cardinality(OLD.late_result_urls), 0)], '{}')
             IS DISTINCT FROM coalesce(OLD.late_result_urls, '{}'))
    EXECUTE FUNCTION darkroom_guard_late_images();

-- What was kept on attempts moves here.
INSERT INTO late_tasks (job_id, attempt, provider_task_id, is_claimed, noted_at, checks, outcome,
                        ended_at, result_urls, provider_credits)
SELECT attempt.job_id, attempt.number, attempt.provider_task_id, true, attempt.late_at, 1,
       'delivered', attempt.late_at, attempt.late_result_urls,
       coalesce(version.provider_credits, quoted.provider_credits)
  FROM job_attempts AS attempt
  JOIN jobs ON jobs.id = attempt.job_id
  LEFT JOIN pricing_history AS version
    ON (version.model, version.task, version.quantity) = (jobs.model, jobs.task, jobs.quantity)
   AND version.valid @> attempt.sent_at
  JOIN pricing_history AS quoted ON quoted.id = jobs.quoted_price_id
 WHERE attempt.late_at IS NOT NULL;
UPDATE jobs SET late_result_urls = late_tasks.result_urls
  FROM late_tasks WHERE late_tasks.job_id = jobs.id;
UPDATE job_events SET event = 'delivered_late' WHERE event = 'late_success';
-- A worker of before this file that finds a late success cannot store it here: its callback stays in
-- the inbox, and a worker of after this file handles it.
-- squawk-ignore ban-drop-column
ALTER TABLE job_attempts DROP COLUMN late_result_urls, DROP COLUMN late_at;

-- Told by a message of its own, one per task.
ALTER TABLE webhook_messages ADD COLUMN provider_task_id text;
COMMENT ON COLUMN webhook_messages.provider_task_id IS
    'With job.delivered_late: the task whose images came late. Null for the end of a job.';
COMMENT ON COLUMN webhook_messages.event IS
    'job.succeeded, job.failed, job.cancelled, or job.delivered_late.';
COMMENT ON COLUMN webhook_messages.created_at IS
    'When the job ended, or the late images were stored; the timestamp in the body.';
-- squawk-ignore ban-drop-constraint
ALTER TABLE webhook_messages DROP CONSTRAINT one_message_per_transition;
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
ALTER TABLE webhook_messages ADD CONSTRAINT one_message_per_end_and_late_task
    UNIQUE NULLS NOT DISTINCT (job_id, event, provider_task_id);
-- squawk-ignore ban-drop-constraint
ALTER TABLE webhook_messages DROP CONSTRAINT webhook_event_must_be_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE webhook_messages ADD CONSTRAINT webhook_event_must_be_known
    CHECK (event IN ('job.succeeded', 'job.failed', 'job.cancelled', 'job.delivered_late'));
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE webhook_messages ADD CONSTRAINT only_late_images_name_a_task
    CHECK ((event = 'job.delivered_late') = (provider_task_id IS NOT NULL));

CREATE FUNCTION darkroom_write_late_webhook_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    job      jobs;
    endpoint uuid;
    message  uuid;
BEGIN
    SELECT * INTO job FROM jobs WHERE id = NEW.job_id;
    IF job.webhook_url IS NULL THEN
        RETURN NULL;
    END IF;
    endpoint := darkroom_require_webhook_endpoint(job.account_id, job.webhook_url);
    INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event, provider_task_id)
    VALUES (job.id, job.account_id, endpoint, job.webhook_url, 'job.delivered_late',
            NEW.provider_task_id)
    RETURNING id INTO message;
    PERFORM pg_notify('darkroom_webhooks', message || ' ' || endpoint);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_write_late_webhook_message() IS
    'Trigger: the statement that stores late images writes the message that tells of them.';
CREATE TRIGGER late_tasks_tell_their_images AFTER UPDATE OF outcome ON late_tasks FOR EACH ROW
    WHEN (NEW.outcome = 'delivered' AND OLD.outcome IS DISTINCT FROM 'delivered')
    EXECUTE FUNCTION darkroom_write_late_webhook_message();

CREATE FUNCTION darkroom_refuse_late_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'task % was delivered late and stays so', OLD.provider_task_id
        USING ERRCODE = 'DR001';
END $$;
COMMENT ON FUNCTION darkroom_refuse_late_change() IS
    'Trigger: what was delivered late stays as it was stored.';
CREATE TRIGGER late_tasks_deliver_for_good BEFORE UPDATE OR DELETE ON late_tasks FOR EACH ROW
    WHEN (OLD.outcome = 'delivered')
    EXECUTE FUNCTION darkroom_refuse_late_change();

DO $$
DECLARE
    reader text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT, UPDATE ON late_tasks TO darkroom_service;
    END IF;
    FOREACH reader IN ARRAY ARRAY['darkroom_admin', 'darkroom_readonly'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader);
        -- Links to images are not among these columns.
        EXECUTE format('GRANT SELECT (job_id, attempt, provider_task_id, is_claimed, noted_at,
                                      next_check_at, checks, checks_without_record, outcome,
                                      ended_at, provider_credits) ON late_tasks TO %I', reader);
        EXECUTE format('GRANT SELECT (provider_task_id) ON webhook_messages TO %I', reader);
    END LOOP;
END $$;
