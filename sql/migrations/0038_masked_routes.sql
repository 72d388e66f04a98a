-- The route of a job for those who see no prompts.

CREATE OR REPLACE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of, variant, consumed_credits, route
  FROM jobs;
