-- What is deleted some days after the end of a job: sql/functions/pruning.sql. The row of a job stays,
-- with its state and its money, because the ledger cites it.

ALTER TABLE jobs
    ADD COLUMN pruned_at timestamptz,
    ADD COLUMN reduced_at timestamptz,
    ADD CONSTRAINT only_an_ended_job_is_pruned
        CHECK (pruned_at IS NULL OR (finished_at IS NOT NULL AND request = '{}' AND metadata = '{}')) NOT VALID,
    ADD CONSTRAINT a_reduced_job_is_pruned
        CHECK (reduced_at IS NULL OR pruned_at IS NOT NULL) NOT VALID;
COMMENT ON COLUMN jobs.pruned_at IS
    'When its request, metadata and message were deleted. Null: they are as they were stored.';
COMMENT ON COLUMN jobs.reduced_at IS
    'When everything but its state, its times, its money and its idempotency key was deleted, after RETENTION_JOBS_DAYS.';
-- The rule below takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE jobs DROP CONSTRAINT success_has_images;
ALTER TABLE jobs ADD CONSTRAINT success_has_images
    CHECK (CASE WHEN reduced_at IS NULL THEN (cardinality(result_urls) > 0) = (state = 'succeeded')
                ELSE cardinality(result_urls) = 0 OR state = 'succeeded' END) NOT VALID;

-- An end stays as it ended, but for the links that are deleted with the rest.
DROP TRIGGER jobs_end_once ON jobs;
CREATE TRIGGER jobs_end_once BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.state IN ('succeeded', 'failed', 'cancelled')
          AND ((NEW.state, NEW.account_id, NEW.credits_quoted, NEW.quoted_price_id,
                NEW.credits_charged, NEW.price_id, NEW.charge_basis,
                NEW.provider_task_id, NEW.attempt, NEW.finished_at)
               IS DISTINCT FROM
               (OLD.state, OLD.account_id, OLD.credits_quoted, OLD.quoted_price_id,
                OLD.credits_charged, OLD.price_id, OLD.charge_basis,
                OLD.provider_task_id, OLD.attempt, OLD.finished_at)
               OR NEW.result_urls IS DISTINCT FROM OLD.result_urls
                  AND NOT (NEW.reduced_at IS NOT NULL AND NEW.result_urls = '{}')
               OR OLD.pruned_at IS NOT NULL AND NEW.pruned_at IS DISTINCT FROM OLD.pruned_at))
    EXECUTE FUNCTION darkroom_refuse_terminal_change();

-- What Kie said of a task may be deleted, and nothing else of one that delivered.
DROP TRIGGER late_tasks_deliver_for_good ON late_tasks;
CREATE TRIGGER late_tasks_deliver_for_good BEFORE UPDATE ON late_tasks FOR EACH ROW
    WHEN (OLD.outcome = 'delivered'
          AND (NEW.job_id, NEW.attempt, NEW.provider_task_id, NEW.outcome, NEW.ended_at,
               NEW.result_urls, NEW.provider_credits, NEW.noted_at, NEW.in_doubt_since)
              IS DISTINCT FROM
              (OLD.job_id, OLD.attempt, OLD.provider_task_id, OLD.outcome, OLD.ended_at,
               OLD.result_urls, OLD.provider_credits, OLD.noted_at, OLD.in_doubt_since))
    EXECUTE FUNCTION darkroom_refuse_late_change();
CREATE TRIGGER late_tasks_are_not_deleted BEFORE DELETE ON late_tasks FOR EACH ROW
    WHEN (OLD.outcome = 'delivered')
    EXECUTE FUNCTION darkroom_refuse_late_change();

CREATE TABLE retention_progress (
    kind       text        PRIMARY KEY,
    done_until timestamptz NOT NULL DEFAULT '-infinity',
    last_id    uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    held_back  uuid[]      NOT NULL DEFAULT '{}',
    CONSTRAINT kind_must_be_known
        CHECK (kind IN ('events', 'callbacks', 'webhooks', 'prompts', 'jobs'))
);
COMMENT ON TABLE retention_progress IS
    'How far each kind of data is pruned, by the ends of jobs. Its rows are the locks by which one process prunes at a time.';
COMMENT ON COLUMN retention_progress.kind IS 'What is pruned: the name of a RETENTION_..._DAYS setting.';
COMMENT ON COLUMN retention_progress.done_until IS
    'That of every job which ended before this time is pruned, but for those held back.';
COMMENT ON COLUMN retention_progress.last_id IS
    'The last job of those that ended at done_until.';
COMMENT ON COLUMN retention_progress.held_back IS
    'Jobs that ended before and are still needed, such as for a webhook that is not delivered. They are examined again.';
INSERT INTO retention_progress (kind)
VALUES ('events'), ('callbacks'), ('webhooks'), ('prompts'), ('jobs');

CREATE TABLE prompt_erasures (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id   text        NOT NULL REFERENCES accounts (id),
    requested_at timestamptz NOT NULL DEFAULT now(),
    swept_until  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    swept_at     timestamptz,
    waiting      uuid[]      NOT NULL DEFAULT '{}',
    jobs         bigint      NOT NULL DEFAULT 0,
    ended_at     timestamptz
);
COMMENT ON TABLE prompt_erasures IS
    'Requests to erase the prompts of an account: of its ended jobs at once, of those that are open when they end.';
COMMENT ON COLUMN prompt_erasures.id IS 'The request; its audit entry cites it.';
COMMENT ON COLUMN prompt_erasures.account_id IS 'Whose prompts.';
COMMENT ON COLUMN prompt_erasures.requested_at IS 'When. Jobs that are enqueued later are kept.';
COMMENT ON COLUMN prompt_erasures.swept_until IS 'The last job that was examined.';
COMMENT ON COLUMN prompt_erasures.swept_at IS 'When all jobs had been examined.';
COMMENT ON COLUMN prompt_erasures.waiting IS
    'Jobs that are open, or needed, such as for a webhook: erased as soon as they are not.';
COMMENT ON COLUMN prompt_erasures.jobs IS 'Of how many jobs it was erased.';
COMMENT ON COLUMN prompt_erasures.ended_at IS 'When nothing was left to erase.';
-- Empty: nothing waits for it. One request of an account at a time.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX prompt_erasures_unended ON prompt_erasures (account_id) WHERE ended_at IS NULL;

-- As before, with pruned_at.
CREATE OR REPLACE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of, variant, consumed_credits, route,
       cancel_requested_at, cancel_reason, pruned_at
  FROM jobs;

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
     'webhook_secret_revoked', 'data_pruned', 'prompts_erased')) NOT VALID;
