-- How long tasks took lately: what the poll timetable is learned from. Nothing depends on it but
-- the moments of polls; the table may be emptied at any time.

CREATE TABLE completion_times (
    id       bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model    text             NOT NULL,
    task     text             NOT NULL,
    quantity integer          NOT NULL,
    seconds  double precision NOT NULL,
    CONSTRAINT quantity_must_be_at_least_one CHECK (quantity >= 1),
    CONSTRAINT seconds_must_be_above_zero_and_finite
        CHECK (seconds > 0 AND seconds < 'Infinity'::double precision)
);
COMMENT ON TABLE completion_times IS
    'The newest few hundred completion times per model, task and quantity, written by workers every few seconds. Polls are timed by them; safe to empty.';
COMMENT ON COLUMN completion_times.id IS 'Rises with arrival; the highest of a kind count, the others are deleted.';
COMMENT ON COLUMN completion_times.model IS 'The model family of the catalog.';
COMMENT ON COLUMN completion_times.task IS 'What was asked of it: text-to-image or image-to-image.';
COMMENT ON COLUMN completion_times.quantity IS 'Images asked for.';
COMMENT ON COLUMN completion_times.seconds IS
    'From the task id until Kie was done, by Kie''s own clock within what our polls saw. Successes only.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON completion_times TO darkroom_service;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_admin') THEN
        GRANT SELECT ON completion_times TO darkroom_admin;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        GRANT SELECT ON completion_times TO darkroom_readonly;
    END IF;
END $$;
