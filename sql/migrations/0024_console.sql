-- The console: who is logged in, and the role of those who only look.

-- squawk-ignore ban-drop-constraint
ALTER TABLE api_keys DROP CONSTRAINT role_must_be_service_operator_or_admin;
ALTER TABLE api_keys ADD CONSTRAINT role_must_be_service_viewer_operator_or_admin
    CHECK (role IN ('service', 'viewer', 'operator', 'admin')) NOT VALID;
COMMENT ON COLUMN api_keys.role IS
    'service: enqueues and sees for its own account; viewer: sees every account and changes nothing; operator: sees every account, spends nobody''s credits; admin: does all that, sets prices and grants.';

CREATE TABLE console_sessions (
    id           uuid        PRIMARY KEY,
    token_sha256 bytea       NOT NULL,
    key_id       uuid        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    ended_by     text,
    address      text,
    user_agent   text,
    CONSTRAINT token_must_be_unique UNIQUE (token_sha256),
    CONSTRAINT token_sha256_must_be_32_bytes CHECK (octet_length(token_sha256) = 32),
    CONSTRAINT a_session_is_ended_by_somebody CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX console_sessions_by_time ON console_sessions (created_at DESC, id DESC);
CREATE INDEX console_sessions_of_key ON console_sessions (key_id);
COMMENT ON TABLE console_sessions IS
    'The logins to the console. Rows are kept for 30 days after their end.';
COMMENT ON COLUMN console_sessions.id IS 'Rises with time.';
COMMENT ON COLUMN console_sessions.token_sha256 IS
    'SHA-256 of the token in the browser''s cookie, which is stored nowhere.';
COMMENT ON COLUMN console_sessions.key_id IS
    'The API key that was given at the login. The session has its role, and ends when it is revoked. No row of api_keys is ever deleted, so no foreign key is needed.';
COMMENT ON COLUMN console_sessions.created_at IS 'When the login was.';
COMMENT ON COLUMN console_sessions.last_seen_at IS 'When a page was last requested, true to a minute.';
COMMENT ON COLUMN console_sessions.expires_at IS 'When it ends at the latest.';
COMMENT ON COLUMN console_sessions.ended_at IS 'When it was ended; null: by nobody.';
COMMENT ON COLUMN console_sessions.ended_by IS 'Who ended it.';
COMMENT ON COLUMN console_sessions.address IS 'The address of the HTTP peer at the login.';
COMMENT ON COLUMN console_sessions.user_agent IS 'How the browser named itself at the login.';

-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended')) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT via_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT via_must_be_known
    CHECK (via IN ('api', 'cli', 'console', 'python', 'sql', 'schedule')) NOT VALID;
COMMENT ON COLUMN audit_entries.via IS 
    'By what: api, cli, console, python, sql, or schedule, where a scheduled price took hold.';
