-- What Kie told us of its own accord. A callback is a hint: Kie's signature does not cover its
-- body, so nothing here moves money; record-info has the last word.

CREATE TABLE callback_inbox (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token            text        NOT NULL REFERENCES job_attempts (token),
    provider_task_id text        NOT NULL,
    times            integer     NOT NULL DEFAULT 1,
    received_at      timestamptz NOT NULL DEFAULT now(),
    handled_at       timestamptz,
    verdict          text,
    CONSTRAINT one_row_per_token_and_task UNIQUE (token, provider_task_id),
    CONSTRAINT verdict_must_be_known
        CHECK (verdict IN ('hastened', 'confirmed', 'refuted', 'late', 'late_success')),
    CONSTRAINT handled_means_judged CHECK ((handled_at IS NULL) = (verdict IS NULL))
);
COMMENT ON TABLE callback_inbox IS
    'Callbacks of Kie, one row per attempt and task however often Kie repeats itself. Stored before Kie is answered, handled after.';
COMMENT ON COLUMN callback_inbox.id IS 'Rises with arrival.';
COMMENT ON COLUMN callback_inbox.token IS 'The attempt that the callback URL names. A secret.';
COMMENT ON COLUMN callback_inbox.provider_task_id IS 'The task that it claims to be about.';
COMMENT ON COLUMN callback_inbox.times IS 'How often it came.';
COMMENT ON COLUMN callback_inbox.received_at IS 'When it first came.';
COMMENT ON COLUMN callback_inbox.handled_at IS 'When it was acted upon; null while that is still to be done.';
COMMENT ON COLUMN callback_inbox.verdict IS
    'hastened: the next poll was moved to now; confirmed: it recovered a lost reply; refuted: the task is not this attempt''s; late: the job had ended; late_success: images came after the job was given up.';
CREATE INDEX callback_inbox_unhandled ON callback_inbox (received_at) WHERE handled_at IS NULL;

ALTER TABLE job_attempts
    ADD COLUMN late_result_urls text[],
    ADD COLUMN late_at timestamptz;
COMMENT ON COLUMN job_attempts.late_result_urls IS
    'Images of a task that succeeded after its job was given up as lost: kept, never charged to the account.';
COMMENT ON COLUMN job_attempts.late_at IS 'When that was found.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT, UPDATE ON callback_inbox TO darkroom_service;
    END IF;
END $$;
