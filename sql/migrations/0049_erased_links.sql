-- An erasure of prompts deletes the links of images as well: of results, late ones, and copies. What
-- is written by it is in sql/functions/pruning.sql.

ALTER TABLE jobs
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT an_erased_job_is_pruned_and_has_no_link
        CHECK (erased_at IS NULL
               OR (pruned_at IS NOT NULL AND result_urls = '{}' AND late_result_urls IS NULL
                   AND images = '[]')) NOT VALID;
COMMENT ON COLUMN jobs.erased_at IS
    'When its links of images were deleted by an erasure of prompts. What comes late after that is not stored.';
-- The rules below take their places in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE jobs DROP CONSTRAINT success_has_images;
ALTER TABLE jobs ADD CONSTRAINT success_has_images
    CHECK (CASE WHEN reduced_at IS NULL AND erased_at IS NULL
                THEN (cardinality(result_urls) > 0) = (state = 'succeeded')
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
                  AND NOT ((NEW.reduced_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
                           AND NEW.result_urls = '{}')
               OR OLD.pruned_at IS NOT NULL AND NEW.pruned_at IS DISTINCT FROM OLD.pruned_at
               OR OLD.erased_at IS NOT NULL AND NEW.erased_at IS DISTINCT FROM OLD.erased_at))
    EXECUTE FUNCTION darkroom_refuse_terminal_change();

DROP TRIGGER jobs_keep_late_images ON jobs;
CREATE TRIGGER jobs_keep_late_images BEFORE UPDATE OF late_result_urls ON jobs FOR EACH ROW
    WHEN (NEW.finished_at IS NULL
          OR NOT (NEW.erased_at IS NOT NULL AND NEW.late_result_urls IS NULL)
             AND coalesce(NEW.late_result_urls[:coalesce(cardinality(OLD.late_result_urls), 0)], '{}')
                 IS DISTINCT FROM coalesce(OLD.late_result_urls, '{}'))
    EXECUTE FUNCTION darkroom_guard_late_images();

-- The same of a task that delivered late.
ALTER TABLE late_tasks ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN late_tasks.erased_at IS
    'When the links of its images were deleted by an erasure of prompts, or were not stored after one.';
-- squawk-ignore ban-drop-constraint
ALTER TABLE late_tasks DROP CONSTRAINT late_images_exactly_when_delivered;
ALTER TABLE late_tasks ADD CONSTRAINT late_images_exactly_when_delivered
    CHECK (CASE WHEN erased_at IS NULL
                THEN (cardinality(result_urls) > 0) = (outcome IS NOT DISTINCT FROM 'delivered')
                ELSE cardinality(result_urls) = 0 AND outcome IS NOT DISTINCT FROM 'delivered' END)
    NOT VALID;
DROP TRIGGER late_tasks_deliver_for_good ON late_tasks;
CREATE TRIGGER late_tasks_deliver_for_good BEFORE UPDATE ON late_tasks FOR EACH ROW
    WHEN (OLD.outcome = 'delivered'
          AND ((NEW.job_id, NEW.attempt, NEW.provider_task_id, NEW.outcome, NEW.ended_at,
                NEW.provider_credits, NEW.noted_at, NEW.in_doubt_since)
               IS DISTINCT FROM
               (OLD.job_id, OLD.attempt, OLD.provider_task_id, OLD.outcome, OLD.ended_at,
                OLD.provider_credits, OLD.noted_at, OLD.in_doubt_since)
               OR NEW.result_urls IS DISTINCT FROM OLD.result_urls
                  AND NOT (NEW.erased_at IS NOT NULL AND NEW.result_urls = '{}')
               OR OLD.erased_at IS NOT NULL AND NEW.erased_at IS DISTINCT FROM OLD.erased_at))
    EXECUTE FUNCTION darkroom_refuse_late_change();
COMMENT ON TABLE prompt_erasures IS
    'Requests to erase the prompts and images of an account: of its ended jobs at once, of those that are open when they end.';
COMMENT ON COLUMN job_images.pruned_at IS
    'When an operator or an erasure had it deleted: nobody is sent it since.';
