-- Who may do what. Where roles cannot be created (some managed servers), this says so and goes on.

CREATE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of
  FROM jobs;
COMMENT ON VIEW jobs_masked IS 'jobs for operators: prompts masked, no image links, no metadata.';

-- It acts with its owner's rights, so nobody may call it unless told so, roles or no roles.
REVOKE ALL ON FUNCTION grant_credits(text, numeric, text) FROM PUBLIC;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['darkroom_service', 'darkroom_admin', 'darkroom_readonly'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- roles belong to the whole server: another database has just made it
        END;
    END LOOP;

    GRANT SELECT ON ALL TABLES IN SCHEMA public TO darkroom_service;
    GRANT INSERT, UPDATE ON jobs, job_attempts TO darkroom_service;
    GRANT INSERT (id), UPDATE (balance, held) ON accounts TO darkroom_service;
    GRANT INSERT ON job_events, ledger_entries TO darkroom_service;

    GRANT SELECT ON pricing, pricing_history, accounts, ledger_entries, jobs_masked, job_events
        TO darkroom_admin, darkroom_readonly;
    -- The callback token of an attempt is a secret: it is not among these columns.
    GRANT SELECT (job_id, number, worker, sent_at, answered_at, outcome, provider_task_id, message)
        ON job_attempts TO darkroom_admin, darkroom_readonly;
    GRANT INSERT, UPDATE, DELETE ON pricing TO darkroom_admin;
    GRANT INSERT (id) ON accounts TO darkroom_admin;
    GRANT USAGE ON SEQUENCE pricing_history_id_seq TO darkroom_admin;
    GRANT EXECUTE ON FUNCTION grant_credits(text, numeric, text) TO darkroom_admin;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'roles darkroom_service, darkroom_admin and darkroom_readonly were not created: %', SQLERRM;
END $$;
