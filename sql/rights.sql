-- What each role may do. Applied last, whenever this file, a function or a table has changed. What it
-- does not grant, none of the roles has.
--
-- No role writes jobs, attempts, events, the ledger or the history of prices, or the balance of an
-- account, but through functions, each of which is one guarded statement.

-- What was granted before, by older versions as well, is taken back.
DO $$
DECLARE
    ours text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                   WHERE rolname IN ('darkroom_api', 'darkroom_worker', 'darkroom_pricing',
                                     'darkroom_billing', 'darkroom_readonly', 'darkroom_service',
                                     'darkroom_admin'));
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s',
                   (SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc
                     WHERE pronamespace = 'public'::regnamespace
                       AND (proname LIKE 'darkroom\_%' OR proname = 'grant_credits')),
                   concat_ws(', ', 'PUBLIC', ours));
    EXECUTE format('REVOKE ALL ON account_turns, accounts, api_keys, audit_entries, callback_inbox, chosen_jobs, completion_times,
                                  console_sessions, darkroom_definitions, darkroom_migrations,
                                  files, history_samples, hourly_totals, daily_account_totals, totals_progress,
                                  installation, job_attempts, kie_models, kie_surprises,
                                  job_events, job_images, jobs, jobs_masked, late_tasks, ledger_entries, login_failures,
                                  active_pauses, active_routes, model_routes, pauses, pricing, pricing_history, priority_turns, processes, prompt_erasures, provider_balance_checks, retention_progress,
                                  scheduled_prices, webhook_account_secrets, webhook_endpoints, webhook_messages, webhook_tries FROM %s',
                   concat_ws(', ', 'PUBLIC', ours));
    EXECUTE format('REVOKE ALL ON SEQUENCE pricing_history_id_seq FROM %s',
                   concat_ws(', ', 'PUBLIC', ours));
    -- Who does not own the schema may not grant this. Then `darkroom migrate` says what is missing.
    IF ours IS NOT NULL AND (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace
                              WHERE oid = 'public'::regnamespace) THEN
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %s', ours);
    END IF;
END $$;

-- The HTTP API, the Python package, and the command line except for keys.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_api') THEN
        RETURN;
    END IF;
    GRANT SELECT ON accounts, api_keys, audit_entries, completion_times, console_sessions,
        darkroom_definitions, darkroom_migrations, installation, job_events, jobs, jobs_masked, late_tasks, ledger_entries,
        login_failures, pricing, pricing_history, processes, provider_balance_checks, scheduled_prices,
        webhook_account_secrets, webhook_endpoints, webhook_messages, webhook_tries TO darkroom_api;
    GRANT SELECT ON history_samples, hourly_totals, daily_account_totals, totals_progress TO darkroom_api;
    GRANT SELECT ON kie_models, kie_surprises TO darkroom_api;
    GRANT EXECUTE ON FUNCTION darkroom_settlements, darkroom_corrections, darkroom_covered_period TO darkroom_api;
    GRANT SELECT ON job_images TO darkroom_api;
    GRANT SELECT ON files TO darkroom_api;
    GRANT EXECUTE ON FUNCTION darkroom_measure_queue, darkroom_waiting_since, darkroom_count_scheduled,
        darkroom_places_in_turn, darkroom_waiting_accounts TO darkroom_api;
    -- A part of the statement by which each process writes its heartbeat. Only workers run it.
    GRANT EXECUTE ON FUNCTION darkroom_pending_work TO darkroom_api;
    GRANT SELECT ON account_turns, chosen_jobs, priority_turns TO darkroom_api;
    -- Not the token: it is what a callback is known by.
    GRANT SELECT (job_id, number, worker, sent_at, answered_at, outcome, provider_task_id, message,
                  provider_account, route) ON job_attempts TO darkroom_api;
    GRANT EXECUTE ON FUNCTION darkroom_enqueue_job, darkroom_enqueue_jobs, darkroom_cancel_job, darkroom_cancel_jobs,
        darkroom_create_account, darkroom_set_account_limits, grant_credits, darkroom_grant, darkroom_refund_job, darkroom_set_price,
        darkroom_change_price, darkroom_schedule_price, darkroom_unschedule_price,
        darkroom_price_doubts, darkroom_first_entry_at, darkroom_resolve_unknown,
        darkroom_settle_held, darkroom_settle_late, darkroom_create_webhook_endpoint,
        darkroom_rotate_webhook_secret, darkroom_create_account_secret, darkroom_rotate_account_secret,
        darkroom_revoke_account_secret, darkroom_replay_webhooks, darkroom_webhook_endpoint,
        darkroom_text_hash,
        darkroom_find_jobs, darkroom_find_unretried_jobs, darkroom_count_jobs, darkroom_check_filter,
        darkroom_find_jobs_between, darkroom_find_jobs_of_distant_clocks, darkroom_id_range,
        darkroom_sample_metadata,
        darkroom_first_id_since, darkroom_clock_distance,
        darkroom_find_masked_jobs, darkroom_count_masked_jobs,
        darkroom_job_matches, darkroom_is_retried, darkroom_open_session, darkroom_end_session, darkroom_record_login_failure
       TO darkroom_api;
    GRANT SELECT ON active_pauses, active_routes, model_routes, pauses TO darkroom_api;
    GRANT EXECUTE ON FUNCTION darkroom_pause, darkroom_resume, darkroom_resume_scope,
        darkroom_record_brake_end, darkroom_record_acknowledgement, darkroom_route_model, darkroom_prune_images,
        darkroom_record_images_deleted, darkroom_retry_images TO darkroom_api;
    GRANT SELECT ON prompt_erasures, retention_progress TO darkroom_api;
    GRANT EXECUTE ON FUNCTION darkroom_prune, darkroom_count_prunable, darkroom_erase_prompts,
        darkroom_continue_erasures TO darkroom_api;
    -- Written without a function, because no money depends on it: when a key was last used and a
    -- session was last seen, uploaded images, and the row of the process itself.
    GRANT INSERT (id, account_id, sha256, bytes, content_type, width, height, url, expires_at),
          UPDATE (url, former_urls, expires_at)
       ON files TO darkroom_api;
    GRANT UPDATE (last_used_at) ON api_keys TO darkroom_api;
    GRANT UPDATE (last_seen_at) ON console_sessions TO darkroom_api;
    GRANT INSERT (id, kind, name, version, redis, limits, detail, clock_skew_seconds, redis_seen_at,
                  key_fingerprints),
          UPDATE (seen_at, limits, detail, clock_skew_seconds, redis_seen_at, stopped_at,
                  key_fingerprints),
          DELETE
       ON processes TO darkroom_api;
END $$;

-- Workers.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_worker') THEN
        RETURN;
    END IF;
    GRANT SELECT ON accounts, callback_inbox, completion_times, darkroom_definitions,
        darkroom_migrations, installation, job_attempts, job_events, jobs, jobs_masked, late_tasks,
        ledger_entries, pricing, pricing_history, processes, provider_balance_checks,
        scheduled_prices, webhook_account_secrets, webhook_endpoints, webhook_messages TO darkroom_worker;
    GRANT EXECUTE ON FUNCTION darkroom_claim_jobs, darkroom_record_submitted,
        darkroom_record_stray_task, darkroom_record_deferred, darkroom_record_unknown,
        darkroom_record_progress, darkroom_hold_for_review, darkroom_settle_jobs,
        darkroom_release_job, darkroom_held_rows, darkroom_note_late_task, darkroom_claim_late_tasks,
        darkroom_record_delivered_late, darkroom_record_failed_late, darkroom_end_late_task,
        darkroom_record_late_check, darkroom_apply_scheduled_prices, darkroom_record_route_unfit,
        darkroom_end_route_waits, darkroom_sum_settlements, darkroom_choose_jobs,
        darkroom_take_back_jobs, darkroom_waits, darkroom_prune_at_interval TO darkroom_worker;
    GRANT SELECT ON retention_progress TO darkroom_worker;
    GRANT SELECT ON account_turns, chosen_jobs, priority_turns TO darkroom_worker;
    GRANT SELECT ON active_pauses, active_routes, model_routes, pauses TO darkroom_worker;
    GRANT SELECT ON history_samples TO darkroom_worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON kie_models, kie_surprises TO darkroom_worker;
    GRANT SELECT ON hourly_totals, daily_account_totals, totals_progress TO darkroom_worker;
    GRANT EXECUTE ON FUNCTION darkroom_settlements, darkroom_corrections, darkroom_covered_period TO darkroom_worker;
    GRANT SELECT, UPDATE (url, former_urls, expires_at), DELETE ON files TO darkroom_worker;
    GRANT SELECT ON job_images TO darkroom_worker;
    GRANT EXECUTE ON FUNCTION darkroom_claim_images, darkroom_record_image_stored,
        darkroom_record_image_failed, darkroom_announce_overdue_images TO darkroom_worker;
    GRANT EXECUTE ON FUNCTION darkroom_measure_queue, darkroom_waiting_since, darkroom_count_scheduled,
        darkroom_sample_history, darkroom_first_id_since, darkroom_pending_work TO darkroom_worker;
    -- Written without a function, because no money depends on it: what Kie called back about, which
    -- record-info has to confirm; the sample that polls are timed by; Kie's balance as it was read; what
    -- Kie's catalogue says, and what no reader knows;
    -- the row of the process itself; what became of the sending of a webhook.
    GRANT INSERT (token, provider_task_id), UPDATE (times, verdict, handled_at)
       ON callback_inbox TO darkroom_worker;
    -- The update is for FOR UPDATE SKIP LOCKED.
    GRANT INSERT (model, task, quantity, variant, seconds), UPDATE (keep_rank), DELETE
       ON completion_times TO darkroom_worker;
    GRANT INSERT (follows, asked_at, at, balance, measured_from, previous_balance, expected_spend_low,
                  expected_spend_high, drift, unexplained, settled, verdict, provider_account)
       ON provider_balance_checks TO darkroom_worker;
    GRANT INSERT (id, kind, name, version, redis, limits, detail, clock_skew_seconds, redis_seen_at,
                  key_fingerprints),
          UPDATE (seen_at, limits, detail, clock_skew_seconds, redis_seen_at, stopped_at,
                  key_fingerprints),
          DELETE
       ON processes TO darkroom_worker;
    GRANT UPDATE (state, tries, next_try_at, last_try_at, last_status, last_error, delivered_at)
       ON webhook_messages TO darkroom_worker;
    -- The result of a try needs the id of the message that it returns.
    GRANT SELECT (message_id), INSERT (message_id, status, error, seconds)
       ON webhook_tries TO darkroom_worker;
    -- For the doctor, who runs beside workers as well: that each act is noted, not by whom.
    GRANT SELECT (act, account_id, subject, after) ON audit_entries TO darkroom_worker;
    GRANT EXECUTE ON FUNCTION darkroom_webhook_endpoint TO darkroom_worker;
END $$;

-- Who sets prices. Triggers guard each change and write the history.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_pricing') THEN
        RETURN;
    END IF;
    GRANT SELECT ON darkroom_definitions, darkroom_migrations, hourly_totals, pricing, pricing_history,
        scheduled_prices, totals_progress TO darkroom_pricing;
    GRANT EXECUTE ON FUNCTION darkroom_covered_period TO darkroom_pricing;
    -- What Kie says of its prices, beside which a price is compared.
    GRANT SELECT ON kie_models TO darkroom_pricing;
    -- What open jobs a price touches, and what it was charged for lately.
    GRANT SELECT (model, task, quantity, variant, state, credits_quoted, credits_charged, price_id,
                  finished_at)
       ON jobs TO darkroom_pricing;
    GRANT INSERT, UPDATE, DELETE ON pricing TO darkroom_pricing;
    GRANT INSERT (model, task, quantity, variant, credits, provider_credits, takes_effect_at, reason),
          UPDATE (is_revoked)
       ON scheduled_prices TO darkroom_pricing;
    GRANT EXECUTE ON FUNCTION darkroom_set_price, darkroom_change_price, darkroom_schedule_price,
        darkroom_unschedule_price, darkroom_price_doubts TO darkroom_pricing;
END $$;

-- Who opens accounts, sets their limits, grants credits and makes keys. A trigger records each change
-- of a limit.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_billing') THEN
        RETURN;
    END IF;
    GRANT SELECT ON accounts, audit_entries, darkroom_definitions, darkroom_migrations, ledger_entries,
        pricing_history TO darkroom_billing;
    GRANT EXECUTE ON FUNCTION darkroom_create_account, darkroom_set_account_limits, grant_credits, darkroom_grant,
        darkroom_refund_job, darkroom_first_entry_at, darkroom_create_key, darkroom_revoke_key TO darkroom_billing;
    GRANT UPDATE (weight, max_open_jobs, max_queued_jobs, max_credits_per_day, max_priority)
       ON accounts TO darkroom_billing;
    -- Not the hash: it is what a key is known by.
    GRANT SELECT (id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at)
       ON api_keys TO darkroom_billing;
    GRANT EXECUTE ON FUNCTION darkroom_end_session TO darkroom_billing;
    GRANT SELECT (id, key_id, created_at, last_seen_at, expires_at, ended_at, ended_by, address,
                  user_agent)
       ON console_sessions TO darkroom_billing;
END $$;

-- Who looks. Prompts are masked; tokens, secrets, hashes, images and whole webhook URLs, whose query
-- may be a secret, are not among these columns.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        RETURN;
    END IF;
    GRANT SELECT ON accounts, audit_entries, completion_times, darkroom_definitions,
        darkroom_migrations, job_events, jobs_masked, ledger_entries, login_failures, pricing,
        pricing_history, processes, provider_balance_checks, scheduled_prices TO darkroom_readonly;
    GRANT SELECT ON active_pauses, active_routes, model_routes, pauses TO darkroom_readonly;
    GRANT SELECT ON account_turns, chosen_jobs, priority_turns TO darkroom_readonly;
    GRANT SELECT ON prompt_erasures, retention_progress TO darkroom_readonly;
    GRANT SELECT ON history_samples TO darkroom_readonly;
    GRANT SELECT ON kie_models, kie_surprises TO darkroom_readonly;
    GRANT SELECT ON hourly_totals, daily_account_totals, totals_progress TO darkroom_readonly;
    GRANT EXECUTE ON FUNCTION darkroom_settlements, darkroom_corrections, darkroom_covered_period TO darkroom_readonly;
    -- Not the URL: everybody who knows it can read the image.
    GRANT SELECT (id, account_id, sha256, bytes, content_type, width, height, created_at, expires_at)
       ON files TO darkroom_readonly;
    GRANT EXECUTE ON FUNCTION darkroom_first_entry_at TO darkroom_readonly;
    -- Not the columns that jobs_masked leaves out, nor those that tell what a webhook was sent to.
    GRANT SELECT (id, account_id, model, task, quantity, variant, state, reason, message, progress,
                  provider_task_id, credits_quoted, quoted_price_id, credits_charged, price_id,
                  charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
                  submitted_at, deadline_at, finished_at, provider_finished_at, updated_at, retry_of,
                  retry_number, route, consumed_credits, images_due_at, cancel_requested_at,
                  cancel_reason, pruned_at, reduced_at, erased_at) ON jobs TO darkroom_readonly;
    GRANT EXECUTE ON FUNCTION darkroom_find_masked_jobs, darkroom_count_masked_jobs,
        darkroom_measure_queue, darkroom_waiting_since, darkroom_count_scheduled,
        darkroom_places_in_turn, darkroom_waiting_accounts, darkroom_first_id_since,
        darkroom_price_doubts TO darkroom_readonly;
    GRANT SELECT (job_id, number, worker, sent_at, answered_at, outcome, provider_task_id, message,
                  provider_account, route) ON job_attempts TO darkroom_readonly;
    GRANT SELECT (id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at)
       ON api_keys TO darkroom_readonly;
    GRANT SELECT (id, key_id, created_at, last_seen_at, expires_at, ended_at, ended_by, address,
                  user_agent)
       ON console_sessions TO darkroom_readonly;
    GRANT SELECT (id, account_id, url, previous_secret_until, created_at, rotated_at)
       ON webhook_endpoints TO darkroom_readonly;
    GRANT SELECT (account_id, previous_secret_until, created_at, rotated_at)
       ON webhook_account_secrets TO darkroom_readonly;
    GRANT SELECT ON webhook_tries TO darkroom_readonly;
    GRANT SELECT (id, job_id, account_id, endpoint_id, event, state, created_at, tries, next_try_at,
                  retry_until, last_try_at, last_status, last_error, delivered_at, replayed_at,
                  provider_task_id) ON webhook_messages TO darkroom_readonly;
    GRANT SELECT (job_id, attempt, provider_task_id, is_claimed, noted_at, next_check_at, checks,
                  checks_without_record, outcome, ended_at, provider_credits, in_doubt_since,
                  answer, erased_at)
       ON late_tasks TO darkroom_readonly;
    GRANT SELECT (job_id, position, attempt, provider_task_id, state, created_at, announce_at,
                  next_try_at, retry_until, tries, last_error, expires_at, content_type, bytes, width,
                  height, stored_at, pruned_at, deleted_at) ON job_images TO darkroom_readonly;
END $$;
