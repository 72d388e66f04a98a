-- Failed logins to the console, which all processes of the API count together.

CREATE TABLE login_failures (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    network    text        NOT NULL,
    address    text,
    user_agent text,
    refusal    text        NOT NULL,
    key_prefix text
);
COMMENT ON TABLE login_failures IS
    'Every failed login to the console of the last 30 days. How often one may fail is counted here.';
COMMENT ON COLUMN login_failures.id IS 'Rises with each failure.';
COMMENT ON COLUMN login_failures.at IS 'When it was.';
COMMENT ON COLUMN login_failures.network IS
    'What counts as one client: an address of IPv4, or the /64 of one of IPv6.';
COMMENT ON COLUMN login_failures.address IS 'The address of the HTTP peer.';
COMMENT ON COLUMN login_failures.user_agent IS 'How the browser named itself.';
COMMENT ON COLUMN login_failures.refusal IS 'Why the key was refused, such as unknown or revoked.';
COMMENT ON COLUMN login_failures.key_prefix IS
    'The prefix of the key that was given; null: the text was no key.';
CREATE INDEX login_failures_of_network ON login_failures (network, at DESC);
CREATE INDEX login_failures_by_time ON login_failures (at DESC);

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended', 'model_routed', 'images_pruned',
     'account_limits_changed', 'images_retried', 'webhook_secret_created',
     'webhook_secret_revoked', 'data_pruned', 'prompts_erased', 'login_failed')) NOT VALID;
