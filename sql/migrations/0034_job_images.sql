-- Copies of images. Kie keeps an image for 14 days and its link answers for less. Where a store is
-- configured, the statement that stores links of images also writes a row for each, and workers copy
-- them.

CREATE TABLE job_images (
    job_id        uuid        NOT NULL REFERENCES jobs (id),
    position      integer     NOT NULL CHECK (position >= 1),
    attempt       integer     NOT NULL,
    provider_task_id text     NOT NULL,
    kie_url       text        NOT NULL,
    state         text        NOT NULL DEFAULT 'waiting',
    created_at    timestamptz NOT NULL DEFAULT now(),
    announce_at   timestamptz,
    next_try_at   timestamptz NOT NULL DEFAULT now(),
    retry_until   timestamptz NOT NULL DEFAULT now() + interval '1 day',
    tries         integer     NOT NULL DEFAULT 0 CHECK (tries >= 0),
    last_error    text,
    expires_at    timestamptz NOT NULL DEFAULT now() + interval '14 days',
    url           text,
    key           text,
    content_type  text,
    bytes         bigint,
    width         integer,
    height        integer,
    sha256        text,
    stored_at     timestamptz,
    pruned_at     timestamptz,
    PRIMARY KEY (job_id, position),
    CONSTRAINT image_state_must_be_known CHECK (state IN ('waiting', 'stored', 'failed', 'pruned')),
    CONSTRAINT a_stored_image_is_described
        CHECK (state NOT IN ('stored', 'pruned')
               OR num_nulls(url, key, content_type, bytes, width, height, sha256, stored_at) = 0),
    CONSTRAINT pruned_at_is_set_exactly_when_pruned
        CHECK ((pruned_at IS NOT NULL) = (state = 'pruned')),
    CONSTRAINT a_waiting_image_alone_delays_an_end CHECK (announce_at IS NULL OR state = 'waiting')
);
COMMENT ON TABLE job_images IS
    'One row per image that is copied into the results store, written by the statement that stored its link. jobs.images shows the same to callers.';
COMMENT ON COLUMN job_images.job_id IS 'The job.';
COMMENT ON COLUMN job_images.position IS 'Counted from 1: the images of the job, then those that came late.';
COMMENT ON COLUMN job_images.attempt IS 'The attempt that made it; its Kie account gives new links.';
COMMENT ON COLUMN job_images.provider_task_id IS 'The task at Kie.';
COMMENT ON COLUMN job_images.kie_url IS 'Kie''s link.';
COMMENT ON COLUMN job_images.state IS
    'waiting: it will be copied; stored: it is in the store; failed: a day of tries has not copied it; pruned: an operator has deleted it from the store.';
COMMENT ON COLUMN job_images.created_at IS 'When its link was stored.';
COMMENT ON COLUMN job_images.announce_at IS
    'The end of its job is announced at this time at the latest, stored or not. Null: nothing waits for this image.';
COMMENT ON COLUMN job_images.next_try_at IS
    'Not copied before this time, while it waits. A copy in progress moves it on, so that a worker that dies leaves a retry.';
COMMENT ON COLUMN job_images.retry_until IS 'A copy that fails after this time is the last.';
COMMENT ON COLUMN job_images.tries IS 'How often a copy was started. The number of a try is its claim.';
COMMENT ON COLUMN job_images.last_error IS 'Why the last try failed.';
COMMENT ON COLUMN job_images.expires_at IS 'When Kie deletes it.';
COMMENT ON COLUMN job_images.url IS 'Where callers get the copy.';
COMMENT ON COLUMN job_images.key IS 'Its path in the store.';
COMMENT ON COLUMN job_images.content_type IS 'Told from its bytes: image/png, image/jpeg or image/webp.';
COMMENT ON COLUMN job_images.bytes IS 'Its size.';
COMMENT ON COLUMN job_images.width IS 'In pixels.';
COMMENT ON COLUMN job_images.height IS 'In pixels.';
COMMENT ON COLUMN job_images.sha256 IS 'The SHA-256 of its bytes, in hexadecimal digits.';
COMMENT ON COLUMN job_images.stored_at IS 'When it was stored.';
COMMENT ON COLUMN job_images.pruned_at IS 'When it was deleted from the store.';
CREATE INDEX job_images_to_copy ON job_images (next_try_at) WHERE state = 'waiting';
CREATE INDEX job_images_to_announce ON job_images (announce_at) WHERE announce_at IS NOT NULL;
CREATE INDEX job_images_stored ON job_images (stored_at) WHERE state = 'stored';
CREATE INDEX job_images_failed ON job_images (created_at) WHERE state = 'failed';

ALTER TABLE jobs ADD COLUMN images jsonb NOT NULL DEFAULT '[]', ADD COLUMN images_due_at timestamptz;
COMMENT ON COLUMN jobs.images IS
    'What job_images has of this job, as callers see it. Empty where no store is configured.';
COMMENT ON COLUMN jobs.images_due_at IS
    'Set while the end of the job waits for copies of its images to be announced: until this time at most.';

-- The message about a success waits as long as the images do.
CREATE OR REPLACE FUNCTION darkroom_write_webhook_message() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    endpoint uuid := darkroom_require_webhook_endpoint(NEW.account_id, NEW.webhook_url);
    message  uuid;
BEGIN
    INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event, next_try_at)
    VALUES (NEW.id, NEW.account_id, endpoint, NEW.webhook_url, 'job.' || NEW.state,
            coalesce(NEW.images_due_at, now()))
    RETURNING id INTO message;
    IF NEW.images_due_at IS NULL THEN
        PERFORM pg_notify('darkroom_webhooks', message || ' ' || endpoint);
    END IF;
    RETURN NULL;
END $$;
