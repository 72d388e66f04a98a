-- What Kie says that a delivered task has cost it: beside the price, which says what it should cost.

ALTER TABLE jobs ADD COLUMN consumed_credits numeric;
ALTER TABLE jobs ADD CONSTRAINT consumed_credits_must_be_0_to_1000000
    CHECK (consumed_credits >= 0 AND consumed_credits <= 1000000) NOT VALID;
COMMENT ON COLUMN jobs.consumed_credits IS
    'What Kie says that the delivered task cost us; null where it did not say. Margins use it in place of pricing_history.provider_credits.';

CREATE OR REPLACE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of, variant, consumed_credits
  FROM jobs;
