-- A late task may have succeeded without it being certain which images it made, or that it is this
-- attempt's. Such a task is in doubt until Kie's record can be read, or an operator has decided.

ALTER TABLE late_tasks ADD COLUMN in_doubt_since timestamptz, ADD COLUMN answer text;
COMMENT ON COLUMN late_tasks.in_doubt_since IS
    'Since when an operator may settle it: Kie reports a success, and which images it made, or whose they are, is not certain. Null: not in doubt, or settled.';
COMMENT ON COLUMN late_tasks.answer IS
    'What Kie said when the task came to be in doubt, without prompts, keys and callback URLs; for operators.';
COMMENT ON COLUMN late_tasks.outcome IS
    'delivered: the images are in result_urls; failed: Kie''s verdict; forgotten: Kie has no record of it; refuted: another attempt''s task; unproven: claimed, and Kie does not show who made it; expired: no verdict within 14 days; dismissed: an operator found no images of it; null: still checked.';
-- squawk-ignore ban-drop-constraint
ALTER TABLE late_tasks DROP CONSTRAINT late_outcome_must_be_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE late_tasks ADD CONSTRAINT late_outcome_must_be_known
    CHECK (outcome IN ('delivered', 'failed', 'forgotten', 'refuted', 'unproven', 'expired',
                       'dismissed'));
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE late_tasks ADD CONSTRAINT what_has_its_verdict_is_not_in_doubt
    CHECK (in_doubt_since IS NULL
           OR outcome IS NULL OR outcome IN ('forgotten', 'unproven', 'expired'));
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX late_tasks_in_doubt ON late_tasks (in_doubt_since) WHERE in_doubt_since IS NOT NULL;

DO $$
DECLARE
    reader text;
BEGIN
    FOREACH reader IN ARRAY ARRAY['darkroom_admin', 'darkroom_readonly'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader);
        -- Who settles a doubt reads Kie's answer, as that of a held job in job_attempts.message.
        EXECUTE format('GRANT SELECT (in_doubt_since, answer) ON late_tasks TO %I', reader);
    END LOOP;
END $$;
