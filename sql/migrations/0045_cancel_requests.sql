-- Cancels of jobs that are at Kie. Kie takes no task back: the request is stored, and the job ends by
-- Kie's outcome.

ALTER TABLE jobs
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN cancel_reason text,
    ADD CONSTRAINT a_cancel_request_has_a_reason
        CHECK ((cancel_requested_at IS NULL) = (cancel_reason IS NULL)
               AND cancel_reason IN ('cancelled_by_caller', 'cancelled_by_operator')) NOT VALID,
    -- Nothing that was asked to be cancelled is submitted (again).
    ADD CONSTRAINT a_queued_job_has_no_cancel_request
        CHECK (state <> 'queued' OR cancel_requested_at IS NULL) NOT VALID;
COMMENT ON COLUMN jobs.cancel_requested_at IS
    'When a cancel was requested while the job was at Kie: nobody waits for it any more. It ends by Kie''s outcome, or as cancelled if its attempt created no task.';
COMMENT ON COLUMN jobs.cancel_reason IS
    'The reason of the job if it ends as cancelled by that request: who requested it.';

CREATE OR REPLACE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of, variant, consumed_credits, route,
       cancel_requested_at, cancel_reason
  FROM jobs;

-- Who requested a cancel is noted then. The end that follows is no act of anybody.
DROP TRIGGER jobs_note_who_cancelled ON jobs;
CREATE TRIGGER jobs_note_who_cancelled AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled'
          AND NEW.reason IS DISTINCT FROM 'cancelled_by_caller' AND NEW.cancel_requested_at IS NULL)
    EXECUTE FUNCTION darkroom_audit_job();
CREATE TRIGGER jobs_note_who_requested_a_cancel AFTER UPDATE OF cancel_requested_at ON jobs FOR EACH ROW
    WHEN (OLD.cancel_requested_at IS NULL AND NEW.cancel_reason IS NOT NULL
          AND NEW.cancel_reason <> 'cancelled_by_caller')
    EXECUTE FUNCTION darkroom_audit_job();
