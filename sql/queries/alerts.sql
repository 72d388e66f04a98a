-- What alerts are judged by.

-- name: read_situation
-- The state of the whole system in one row. Every part reads a bounded number of rows, or an index
-- alone. $1 seconds of the recent window, $2 how many of the newest ended jobs count, $3 seconds after
-- which a task runs long where no completion times are known, $4 the multiple of the 95th percentile
-- from which on it does where they are, $5 the least seconds from which on it does, $6 seconds that a
-- process counts as alive, $7 seconds that a lost one is shown and known as ours, $8 seconds after which
-- a transaction locks rows for long, $9 seconds from which on a clock is
-- wrong, $10 how many queued jobs are counted at most, $11 seconds after which an image waits long for
-- its copy.
WITH RECURSIVE paused AS MATERIALIZED (
    SELECT * FROM active_pauses
), kinds AS (
    SELECT model, task, quantity, variant,
           greatest($4::double precision * percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds),
                    $5::double precision) AS long_seconds
      FROM completion_times GROUP BY model, task, quantity, variant
), asked AS (
    -- The kinds of all open jobs: one look into the index for each, however many jobs there are.
    (SELECT model, task, quantity, variant FROM jobs
      WHERE state IN ('queued', 'submitting', 'unknown', 'generating')
      ORDER BY model, task, quantity, variant LIMIT 1)
    UNION ALL
    SELECT after.model, after.task, after.quantity, after.variant
      FROM asked, LATERAL (
        SELECT model, task, quantity, variant FROM jobs
         WHERE state IN ('queued', 'submitting', 'unknown', 'generating')
           AND (model, task, quantity, variant)
               > (asked.model, asked.task, asked.quantity, asked.variant)
         ORDER BY model, task, quantity, variant LIMIT 1) AS after
), queue AS (
    -- A job to which a pause applies is not due. A scheduled job is no backlog.
    SELECT count(*) FILTER (WHERE run_at <= now()) AS jobs, count(*) FILTER (WHERE due_at <= now() AND NOT is_paused) AS due,
           count(*) FILTER (WHERE is_paused AND run_at <= now()) AS paused
      FROM (SELECT due_at, run_at,
                   EXISTS (SELECT FROM paused
                            WHERE scope = 'everything'
                               OR (scope, value) IN (('model', jobs.model),
                                                     ('account', jobs.account_id))) AS is_paused
              FROM jobs WHERE state = 'queued' ORDER BY due_at, id LIMIT $10) AS first
), waiting AS (
    SELECT darkroom_waiting_since() AS since
), running AS (
    SELECT count(*) AS tasks, max(submitted_at) AS last_submitted_at,
           count(*) FILTER (WHERE is_long) AS long,
           min(submitted_at) FILTER (WHERE is_long) AS long_since,
           count(*) FILTER (WHERE is_held) AS held, min(updated_at) FILTER (WHERE is_held) AS held_since
      FROM (SELECT jobs.submitted_at, jobs.updated_at,
                   reason IS NOT DISTINCT FROM 'result_unreadable' AS is_held,
                   reason IS DISTINCT FROM 'result_unreadable'
                   AND jobs.submitted_at < now() - make_interval(
                       secs => coalesce(kinds.long_seconds, $3::double precision)) AS is_long
              FROM jobs LEFT JOIN kinds USING (model, task, quantity, variant)
             WHERE jobs.state = 'generating') AS task
), unsure AS (
    SELECT count(*) AS jobs, min(attempted_at) AS since FROM jobs WHERE state = 'unknown'
), ended AS (
    SELECT state, reason, message, finished_at, submitted_at FROM jobs
     WHERE finished_at >= now() - make_interval(secs => $1) ORDER BY finished_at DESC LIMIT $2
), failing AS (
    SELECT endpoint.url, count(*) AS messages, min(message.created_at) AS since,
           max(message.last_error) AS error
      FROM (SELECT endpoint_id, created_at, last_error FROM webhook_messages
             WHERE state = 'pending' AND tries > 0 ORDER BY next_try_at, id LIMIT 2000) AS message
      JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
     GROUP BY endpoint.url
), dead AS (
    SELECT count(*) AS messages, min(last_try_at) AS since FROM webhook_messages
     WHERE state = 'dead' AND last_try_at > now() - interval '1 day'
), lockers AS (
    SELECT DISTINCT session.pid, session.usename, session.application_name, session.state,
           session.xact_start
      FROM pg_locks AS held JOIN pg_stat_activity AS session USING (pid)
     WHERE held.locktype = 'relation' AND held.mode <> 'AccessShareLock' AND held.granted
       AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND held.relation IN ('jobs'::regclass, 'accounts'::regclass)
       AND session.xact_start < now() - make_interval(secs => $8)
), late AS (
    SELECT count(*) AS tasks, coalesce(sum(provider_credits), 0) AS credits, min(ended_at) AS since
      FROM late_tasks WHERE outcome = 'delivered' AND ended_at > now() - interval '1 hour'
), doubts AS (
    SELECT count(*) AS tasks, min(in_doubt_since) AS since,
           (array_agg(job_id ORDER BY in_doubt_since))[1] AS job_id
      FROM late_tasks WHERE in_doubt_since IS NOT NULL
), copies AS (
    SELECT count(*) AS images, min(created_at) AS since,
           (array_agg(last_error ORDER BY created_at) FILTER (WHERE last_error IS NOT NULL))[1] AS error
      FROM (SELECT created_at, last_error FROM job_images WHERE state = 'waiting'
             ORDER BY next_try_at LIMIT 2000) AS image
     WHERE created_at < now() - make_interval(secs => $11)
), given_up AS (
    SELECT count(*) AS images, min(retry_until) AS since FROM job_images
     WHERE state = 'failed' AND created_at > now() - interval '2 days'
), alive AS (
    SELECT name, kind, key_fingerprints, started_at, redis_seen_at, clock_skew_seconds, detail ->> 'redis_error' AS redis_error
      FROM processes
     WHERE stopped_at IS NULL AND seen_at > now() - make_interval(secs => $6)
), held_keys AS (
    SELECT one.key AS account, one.value AS fingerprint, string_agg(alive.name, ', ' ORDER BY name) AS at,
           max(started_at) AS since
      FROM alive, jsonb_each_text(alive.key_fingerprints) AS one
     WHERE alive.kind = 'worker' GROUP BY one.key, one.value
), workers AS (
    SELECT name, started_at, seen_at,
           stopped_at IS NULL AND seen_at > now() - make_interval(secs => $6) AS is_alive,
           stopped_at IS NULL AND seen_at <= now() - make_interval(secs => $6)
           AND seen_at > now() - make_interval(secs => $7) AS is_lost
      FROM processes WHERE kind = 'worker'
)
SELECT now() AS at, pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only') = 'on' AS is_read_only,
       -- Of sessions of other roles only who and where is shown to a role without pg_read_all_stats.
       (SELECT count(*) FROM pg_stat_activity
         WHERE coalesce(backend_type, 'client backend') = 'client backend'
           AND datid IS NOT NULL AND usesysid IS NOT NULL) AS connections,
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer AS connections_most,
       queue.due, queue.jobs AS queued, queue.paused, waiting.since AS waiting_since,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(id, scope, value, reason, paused_by,
                   extract(epoch FROM paused_at)::double precision,
                   extract(epoch FROM until)::double precision) ORDER BY id), '[]')
          FROM paused) AS pauses,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(route.model, via, unfit.jobs, unfit.credits::text,
                   extract(epoch FROM unfit.since)::double precision) ORDER BY route.model), '[]')
          FROM active_routes AS route, LATERAL (
            SELECT count(*) AS jobs, coalesce(sum(credits_quoted), 0) AS credits, min(updated_at) AS since
              FROM (SELECT credits_quoted, updated_at FROM jobs
                     WHERE reason = 'route_unfit' AND state = 'queued' AND jobs.model = route.model
                     ORDER BY id DESC LIMIT $10) AS waiting) AS unfit) AS routes,
       running.tasks, running.long, running.long_since, running.held, running.held_since,
       greatest(running.last_submitted_at, (SELECT max(submitted_at) FROM ended)) AS last_submitted_at,
       unsure.jobs AS unknown, unsure.since AS unknown_since,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(state, reason, message,
                   extract(epoch FROM finished_at)::double precision) ORDER BY finished_at DESC), '[]')
          FROM ended) AS ended,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(url, messages,
                   extract(epoch FROM since)::double precision, error) ORDER BY since), '[]')
          FROM failing) AS failing,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(pid, concat_ws(' ', usename,
                   nullif(application_name, ''), state),
                   extract(epoch FROM xact_start)::double precision) ORDER BY xact_start), '[]')
          FROM lockers) AS lockers,
       late.tasks AS late, late.credits AS late_credits, late.since AS late_since,
       doubts.tasks AS in_doubt, doubts.since AS in_doubt_since, doubts.job_id AS in_doubt_job,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(provider_account, credits::text, since)
                   ORDER BY provider_account), '[]')
          FROM (SELECT provider_account, (array_agg(unexplained ORDER BY id DESC))[1] AS credits,
                       extract(epoch FROM min(at))::double precision AS since
                  FROM provider_balance_checks
                 WHERE verdict = 'drift' AND at > now() - interval '1 hour'
                 GROUP BY provider_account) AS drift) AS drifting,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(kie_model, family,
                   extract(epoch FROM checked_at)::double precision, is_listed, to_jsonb(missing_parts),
                   recent_percent::text, usual_success_percent::text, to_jsonb(moved),
                   to_jsonb(price_credits::text[])) ORDER BY kie_model), '[]')
          FROM (SELECT kie_models.*,
                       CASE WHEN rated_at > now() - interval '3 hours' THEN success_percent END
                           AS recent_percent,
                       ARRAY(SELECT concat_ws(' ', trim_scale(provider_credits), 'for', model, task, nullif(variant, ''))
                               FROM pricing
                              WHERE model = ANY(sold_as) AND task = ANY(tasks) AND quantity = 1
                                AND cardinality(price_credits) > 0
                                AND provider_credits <> ALL(price_credits)
                              ORDER BY task, variant) AS moved
                  FROM kie_models WHERE checked_at > now() - interval '3 days') AS kie
         WHERE NOT is_listed OR missing_parts <> '{}' OR moved <> '{}' OR recent_percent < 80
       ) AS kie_models,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(name, clock_skew_seconds) ORDER BY name), '[]')
          FROM alive WHERE abs(clock_skew_seconds) > $9::double precision) AS skewed,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(name, redis_error,
                   extract(epoch FROM coalesce(redis_seen_at, started_at))::double precision)
                   ORDER BY name), '[]')
          FROM alive
         WHERE coalesce(redis_seen_at, started_at) < now() - make_interval(secs => $6)
       ) AS without_redis,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(account, at, since) ORDER BY account), '[]')
          FROM (SELECT account, string_agg(at, ' and another at ' ORDER BY since, at) AS at,
                       extract(epoch FROM max(since))::double precision AS since
                  FROM held_keys GROUP BY account HAVING count(*) > 1) AS differ) AS differing_keys,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(accounts, at, since) ORDER BY accounts), '[]')
          FROM (SELECT string_agg(account, ' and ' ORDER BY account) AS accounts,
                       string_agg(account || ' at ' || at, ', ' ORDER BY account) AS at,
                       extract(epoch FROM max(since))::double precision AS since
                  FROM held_keys GROUP BY fingerprint HAVING count(*) > 1) AS same) AS renamed_keys,
       copies.images AS images_waiting, copies.since AS images_since, copies.error AS images_error,
       given_up.images AS images_given_up, given_up.since AS images_given_up_since,
       dead.messages AS dead_webhooks, dead.since AS dead_since,
       ARRAY(SELECT id FROM processes
              WHERE seen_at > now() - make_interval(secs => $7)) AS process_ids,
       (SELECT count(*) FROM workers WHERE is_alive) AS workers_alive,
       (SELECT max(seen_at) FROM workers) AS worker_seen_at,
       -- A worker that started after another was lost stands in for it.
       (SELECT coalesce(jsonb_agg(jsonb_build_array(name,
                   extract(epoch FROM seen_at)::double precision) ORDER BY seen_at), '[]')
          FROM (SELECT name, seen_at FROM workers WHERE is_lost ORDER BY seen_at DESC
                 LIMIT greatest((SELECT count(*) FROM workers WHERE is_lost)
                     - (SELECT count(*) FROM workers WHERE is_alive
                           AND started_at > (SELECT min(seen_at) FROM workers WHERE is_lost)), 0)
               ) AS lost) AS workers_lost,
       ARRAY(SELECT concat_ws(' ', model, task, quantity, nullif(variant, ''))
               FROM asked
              WHERE NOT EXISTS (SELECT FROM pricing
                                 WHERE (pricing.model, pricing.task, pricing.quantity,
                                        pricing.variant)
                                       = (asked.model, asked.task, asked.quantity,
                                          asked.variant))) AS unpriced
  FROM queue, waiting, running, unsure, late, doubts, dead, copies, given_up;
