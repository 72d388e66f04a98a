-- The processes of this database: workers and API servers, each with a row that it writes anew every
-- few seconds. Who is alive, by one clock; and whether those who are alive share one Redis.

CREATE TABLE processes (
    id                 uuid             PRIMARY KEY,
    kind               text             NOT NULL,
    name               text             NOT NULL,
    version            text             NOT NULL,
    redis              text             NOT NULL,
    started_at         timestamptz      NOT NULL DEFAULT now(),
    seen_at            timestamptz      NOT NULL DEFAULT now(),
    redis_seen_at      timestamptz,
    clock_skew_seconds double precision,
    stopped_at         timestamptz,
    limits             jsonb            NOT NULL DEFAULT '{}',
    detail             jsonb            NOT NULL DEFAULT '{}',
    CONSTRAINT process_kind_must_be_known CHECK (kind IN ('worker', 'api')),
    CONSTRAINT process_times_must_be_in_order CHECK (started_at <= seen_at)
) WITH (fillfactor = 50);
COMMENT ON TABLE processes IS
    'One row per worker and API process, written by it every 5 s. Rows not written for a day are deleted. Nothing of a job depends on it; safe to empty.';
COMMENT ON COLUMN processes.id IS 'Made by the process at its start. The same id marks the process in Redis.';
COMMENT ON COLUMN processes.kind IS 'worker or api.';
COMMENT ON COLUMN processes.name IS 'Host and process id, host:pid.';
COMMENT ON COLUMN processes.version IS 'The version of Darkroom that it runs.';
COMMENT ON COLUMN processes.redis IS 'The Redis that it uses: host:port/db, or the socket and db. No password.';
COMMENT ON COLUMN processes.started_at IS 'When this row was first written, by Postgres''s clock.';
COMMENT ON COLUMN processes.seen_at IS 'When this row was last written, by Postgres''s clock. A process not seen for 15 s is not alive.';
COMMENT ON COLUMN processes.redis_seen_at IS
    'When it had last marked itself in its Redis, by Postgres''s clock; null: never. Old where seen_at is new: its Redis is away.';
COMMENT ON COLUMN processes.clock_skew_seconds IS
    'The clock of its machine minus Postgres''s, exact to half a round trip; null: not measured yet.';
COMMENT ON COLUMN processes.stopped_at IS 'When it stopped by itself, drained; null: it runs, or it died.';
COMMENT ON COLUMN processes.limits IS
    'Settings that all workers should have alike, such as Kie''s limits, by the names of the environment variables.';
COMMENT ON COLUMN processes.detail IS 'What it says about itself, such as what it could not do lately. Format free, may change.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON processes TO darkroom_service;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_admin') THEN
        GRANT SELECT ON processes TO darkroom_admin;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        GRANT SELECT ON processes TO darkroom_readonly;
    END IF;
END $$;
