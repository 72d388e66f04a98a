-- What must be true of the books of any Darkroom database, at any moment. Each query returns the
-- offenders: no row means that the invariant holds. $1 is how many to name at most.

-- name: balances_equal_the_ledger
-- Balance and held of every account equal the sums of its entries.
SELECT accounts.id::text AS who,
       format('balance %s and held %s, but the ledger says %s and %s', accounts.balance,
              accounts.held, coalesce(sums.balance, 0), coalesce(sums.held, 0)) AS what
  FROM accounts LEFT JOIN (
        SELECT account_id, sum(balance_change) AS balance, sum(held_change) AS held
          FROM ledger_entries GROUP BY account_id) AS sums ON sums.account_id = accounts.id
 WHERE (accounts.balance, accounts.held) <> (coalesce(sums.balance, 0), coalesce(sums.held, 0))
 LIMIT $1;

-- name: held_equals_the_open_holds
-- What an account holds is what its open jobs were quoted.
SELECT accounts.id::text AS who,
       format('held %s, but its open jobs hold %s', accounts.held, coalesce(open_jobs.credits, 0))
           AS what
  FROM accounts LEFT JOIN (
        SELECT account_id, sum(credits_quoted) AS credits FROM jobs
         WHERE state IN ('queued', 'submitting', 'unknown', 'generating') GROUP BY account_id
       ) AS open_jobs ON open_jobs.account_id = accounts.id
 WHERE accounts.held <> coalesce(open_jobs.credits, 0)
 LIMIT $1;

-- name: day_credits_equal_the_jobs_of_the_day
-- What counts against the limit of the day is what the day's jobs hold or were charged.
SELECT accounts.id::text AS who,
       format('%s credits count since %s, but the jobs placed since hold or cost %s', day_credits,
              day_started_at, coalesce(placed.credits, 0)) AS what
  FROM accounts LEFT JOIN (
        SELECT account_id, sum(coalesce(credits_charged, credits_quoted)) AS credits
          FROM jobs JOIN accounts AS account ON account.id = jobs.account_id
         WHERE jobs.created_at >= account.day_started_at AND state NOT IN ('failed', 'cancelled')
         GROUP BY account_id) AS placed ON placed.account_id = accounts.id
 WHERE day_credits <> coalesce(placed.credits, 0)
 LIMIT $1;

-- name: every_job_has_one_hold_and_one_end
-- A hold each, on the job's own account; open jobs have no release and no capture, succeeded ones
-- a capture of what they were charged, the others a release; and an end leaves nothing held.
SELECT jobs.id::text AS who,
       format('%s with %s hold(s) of %s, %s release(s), %s capture(s) of %s, still holding %s',
              jobs.state, coalesce(money.holds, 0), coalesce(money.held, 0),
              coalesce(money.releases, 0), coalesce(money.captures, 0),
              coalesce(money.captured, 0), coalesce(money.still_held, 0)) AS what
  FROM jobs LEFT JOIN (
        SELECT job_id, account_id, sum(held_change) AS still_held,
               count(*) FILTER (WHERE kind = 'hold') AS holds,
               sum(credits) FILTER (WHERE kind = 'hold') AS held,
               count(*) FILTER (WHERE kind = 'release') AS releases,
               count(*) FILTER (WHERE kind = 'capture') AS captures,
               sum(credits) FILTER (WHERE kind = 'capture') AS captured
          FROM ledger_entries WHERE job_id IS NOT NULL GROUP BY job_id, account_id
       ) AS money ON (money.job_id, money.account_id) = (jobs.id, jobs.account_id)
 WHERE (money.holds = 1 AND money.held = jobs.credits_quoted
        AND money.still_held = CASE WHEN jobs.finished_at IS NULL THEN jobs.credits_quoted ELSE 0 END
        AND CASE jobs.state
            WHEN 'succeeded' THEN money.captures = 1 AND money.releases = 0
                                  AND money.captured = jobs.credits_charged
            WHEN 'failed'    THEN money.captures = 0 AND money.releases = 1
            WHEN 'cancelled' THEN money.captures = 0 AND money.releases = 1
            ELSE money.captures = 0 AND money.releases = 0 END) IS NOT TRUE
 LIMIT $1;

-- name: no_job_has_two_live_attempts
-- At most one attempt of a job has, or may have, a paid task.
SELECT job_id::text AS who, format('%s live attempts', count(*)) AS what
  FROM job_attempts
 WHERE outcome IS NULL OR outcome IN ('accepted', 'unknown', 'lost')
 GROUP BY job_id HAVING count(*) > 1
 LIMIT $1;

-- name: every_capture_cites_its_price
-- A capture cites the version that its job was charged by: of the same model, task and
-- variant, of the quantity asked or fewer, with the same credits, and the quoted one under `quoted` unless fewer
-- images came; under `lower_of` never more than was quoted. Under `current` the version held at
-- that moment, or it is the quoted one, which stands where the row was gone. A version ends when
-- the UPDATE runs and is in force until its transaction commits, for which an hour is allowed.
SELECT jobs.id::text AS who,
       format('charged %s by version %s, which says %s', jobs.credits_charged, entry.price_id,
              version.credits) AS what
  FROM jobs
  JOIN ledger_entries AS entry ON entry.job_id = jobs.id AND entry.kind = 'capture'
  JOIN pricing_history AS version ON version.id = entry.price_id
 WHERE (entry.price_id = jobs.price_id AND entry.credits = version.credits
        AND version.model = jobs.model AND version.task = jobs.task
        AND version.variant = jobs.variant AND version.quantity <= jobs.quantity
        AND CASE jobs.charge_basis
            WHEN 'quoted' THEN version.id = jobs.quoted_price_id OR version.quantity < jobs.quantity
            WHEN 'lower_of' THEN entry.credits <= jobs.credits_quoted
                OR version.quantity < jobs.quantity
            WHEN 'current' THEN version.id = jobs.quoted_price_id
                OR tstzrange(lower(version.valid) - interval '5 seconds',
                             upper(version.valid) + interval '1 hour') @> jobs.finished_at
            END) IS NOT TRUE
 LIMIT $1;

-- name: every_refund_has_its_charge
-- An adjustment that cites a job gives the job's own account back at most what it was charged, once.
SELECT jobs.id::text AS who,
       format('%s and charged %s, but refunded %s in %s refund(s)', jobs.state,
              coalesce(jobs.credits_charged, 0), sum(entry.credits), count(*)) AS what
  FROM ledger_entries AS entry JOIN jobs ON jobs.id = entry.job_id
 WHERE entry.kind = 'adjustment'
 GROUP BY jobs.id
HAVING (count(*) = 1 AND sum(entry.credits) <= jobs.credits_charged
        AND bool_and(entry.account_id = jobs.account_id)) IS NOT TRUE
 LIMIT $1;

-- name: states_and_attempts_agree
-- A generating or succeeded job's newest attempt was accepted with the same task.
SELECT jobs.id::text AS who,
       format('%s with task %s, but its attempt says %s with task %s', jobs.state,
              jobs.provider_task_id, coalesce(attempt.outcome, 'nothing'),
              coalesce(attempt.provider_task_id, 'none')) AS what
  FROM jobs LEFT JOIN job_attempts AS attempt
    ON attempt.job_id = jobs.id AND attempt.number = jobs.attempt
 WHERE jobs.state IN ('generating', 'succeeded')
   AND (attempt.outcome = 'accepted' AND attempt.provider_task_id = jobs.provider_task_id) IS NOT TRUE
 LIMIT $1;

-- name: prices_and_versions_agree
-- Every row of pricing has its version, open and the newest; there is no other open version, none
-- beside it, and none whose number was never given out.
SELECT CASE WHEN pricing.model IS NULL THEN 'version ' || version.id
            ELSE concat_ws(' ', pricing.model, pricing.task, pricing.quantity,
                           nullif(pricing.variant, '')) END AS who,
       CASE WHEN pricing.price_id IS NULL
            THEN format('%s credits by %s is open, but no row of pricing has it',
                        version.credits, version.changed_by)
            WHEN version.id IS NULL AND held.id IS NOT NULL
            THEN format('its version %s was closed at %s', held.id, upper(held.valid))
            WHEN version.id IS NULL
            THEN format('its version %s is not in pricing_history', pricing.price_id)
            ELSE format('says %s and %s, but its version %s says %s and %s', pricing.credits,
                        pricing.provider_credits, version.id, version.credits,
                        version.provider_credits) END AS what
  FROM pricing FULL JOIN (SELECT * FROM pricing_history WHERE upper_inf(valid)) AS version
    ON version.id = pricing.price_id
  LEFT JOIN pricing_history AS held ON held.id = pricing.price_id
 WHERE (pricing.credits = version.credits AND pricing.provider_credits = version.provider_credits
        AND pricing.model = version.model AND pricing.task = version.task
        AND pricing.quantity = version.quantity
        AND pricing.variant = version.variant) IS NOT TRUE
 UNION ALL
SELECT 'version ' || version.id,
       format('%s credits by %s, closed, overlaps or follows version %s, which is in force',
              version.credits, version.changed_by, held.id)
  FROM pricing
  JOIN pricing_history AS held ON held.id = pricing.price_id
  JOIN pricing_history AS version
    ON version.id <> held.id AND NOT upper_inf(version.valid)
   AND (version.model, version.task, version.quantity, version.variant)
     = (held.model, held.task, held.quantity, held.variant)
   AND upper(version.valid) > lower(held.valid)
 UNION ALL
SELECT 'version ' || id, 'has a number that was never given out'
  FROM pricing_history
 WHERE id > (SELECT last_value FROM pg_sequences
              JOIN pg_namespace ON nspname = schemaname
              WHERE pg_namespace.oid = (SELECT relnamespace FROM pg_class
                                         WHERE oid = 'pricing_history'::regclass)
                AND sequencename = 'pricing_history_id_seq')
 LIMIT $1;

-- name: every_act_on_money_is_noted
-- Each grant, adjustment and price version since audit entries are written has one that names who.
WITH noted AS (
    SELECT applied_at AS since FROM darkroom_migrations WHERE name = 'audit'
)
SELECT 'ledger entry ' || entry.id AS who,
       format('%s of %s credits to %s, and nobody is named', entry.kind, entry.credits,
              entry.account_id) AS what
  FROM noted JOIN ledger_entries AS entry
    ON entry.kind IN ('grant', 'adjustment') AND entry.created_at > noted.since
 WHERE NOT EXISTS (SELECT FROM audit_entries AS audit
                    WHERE audit.account_id = entry.account_id
                      AND audit.subject = 'ledger_entries ' || entry.id)
 UNION ALL
SELECT 'price version ' || version.id,
       format('%s credits by %s, and nobody is named', version.credits, version.changed_by)
  FROM noted JOIN pricing_history AS version ON lower(version.valid) > noted.since
 WHERE version.id NOT IN (SELECT (after ->> 'price_id')::bigint FROM audit_entries
                           WHERE act = 'price_changed' AND after IS NOT NULL)
   AND NOT EXISTS (SELECT FROM audit_entries
                    WHERE act = 'price_history_rebuilt' AND after ? version.id::text)
 LIMIT $1;

-- name: nobody_acts_without_a_grant
-- No function that acts with its owner's rights can be called, or made a trigger, by everybody; each
-- looks names up in schemas of its own choice; and not everybody can put something there.
SELECT function.oid::regprocedure::text AS who,
       CASE WHEN function.proconfig IS NULL THEN 'looks names up where its caller does'
            ELSE 'acts with the rights of its owner for everybody' END AS what
  FROM pg_proc AS function
 WHERE function.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'jobs'::regclass)
   AND function.prosecdef
   AND NOT EXISTS (SELECT FROM pg_depend
                    WHERE classid = 'pg_proc'::regclass AND objid = function.oid AND deptype = 'e')
   AND (function.proconfig IS NULL OR EXISTS (
            SELECT FROM aclexplode(coalesce(function.proacl, acldefault('f', function.proowner)))
             WHERE grantee = 0))
 UNION ALL
SELECT format('schema %I', nspname), 'everybody may create objects there'
  FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
 WHERE pg_namespace.oid = (SELECT relnamespace FROM pg_class WHERE oid = 'jobs'::regclass)
   AND grantee = 0 AND privilege_type = 'CREATE'
 LIMIT $1;

-- name: every_end_with_a_webhook_has_its_message
-- An ended job that names a webhook has one message of its end, and one of each task that delivered
-- late; an open one has none. Jobs of before webhooks were sent are older than their endpoint, and of
-- those that ended before the newest prune of messages nothing is known.
SELECT jobs.id::text AS who,
       format('%s with %s webhook message(s)%s', jobs.state, count(message.id),
              coalesce(' of ' || string_agg(message.event, ', '), '')) AS what
  FROM jobs
  JOIN webhook_endpoints AS endpoint
    ON endpoint.account_id = jobs.account_id
   AND endpoint.url = darkroom_webhook_endpoint(jobs.webhook_url)
   AND endpoint.created_at <= jobs.created_at
  LEFT JOIN webhook_messages AS message ON message.job_id = jobs.id
 WHERE jobs.webhook_url IS NOT NULL
   AND (jobs.finished_at > (SELECT done_until FROM retention_progress WHERE kind = 'webhooks')) IS NOT FALSE
 GROUP BY jobs.id
HAVING NOT CASE WHEN jobs.finished_at IS NULL THEN count(message.id) = 0
                ELSE count(message.id) FILTER (WHERE message.provider_task_id IS NULL) = 1
                     AND min(message.event) FILTER (WHERE message.provider_task_id IS NULL)
                         = 'job.' || jobs.state
                     AND array_agg(message.provider_task_id ORDER BY message.provider_task_id)
                         FILTER (WHERE message.provider_task_id IS NOT NULL)
                         IS NOT DISTINCT FROM
                         (SELECT array_agg(late.provider_task_id ORDER BY late.provider_task_id)
                            FROM late_tasks AS late
                           WHERE late.job_id = jobs.id AND late.outcome = 'delivered') END
 LIMIT $1;

-- name: late_images_are_on_their_job
-- A job shows exactly the images of its tasks that delivered late; nobody was charged for them.
SELECT coalesce(jobs.id, late.job_id)::text AS who,
       format('%s late image(s), but its tasks delivered %s late',
              coalesce(cardinality(jobs.late_result_urls), 0),
              coalesce(cardinality(late.urls), 0)) AS what
  FROM (SELECT id, late_result_urls FROM jobs WHERE late_result_urls IS NOT NULL) AS jobs
  FULL JOIN (
        SELECT job_id, array_agg(url ORDER BY url) AS urls
          FROM late_tasks, unnest(result_urls) AS url
         WHERE outcome = 'delivered' GROUP BY job_id
       ) AS late ON late.job_id = jobs.id
 WHERE (SELECT array_agg(url ORDER BY url) FROM unnest(jobs.late_result_urls) AS url)
       IS DISTINCT FROM late.urls
 LIMIT $1;

-- name: totals_equal_their_jobs
-- The totals of each hour and day equal the sums of its jobs, refunds and late images.
WITH exact_hours AS (
    SELECT date_trunc('hour', at, 'UTC') AS starts_at, model, price_id, sum(jobs) AS jobs,
           sum(charged) AS charged, sum(refunded) AS refunded, sum(provider_credits) AS provider_credits,
           sum(uncharged_jobs) AS uncharged_jobs,
           sum(uncharged_provider_credits) AS uncharged_provider_credits
      FROM totals_progress, LATERAL darkroom_settlements('-infinity', hours_end) GROUP BY 1, 2, 3
), exact_days AS (
    SELECT date_trunc('day', at, 'UTC') AS starts_at, account_id, sum(jobs) AS jobs,
           sum(charged) AS charged, sum(refunded) AS refunded, sum(provider_credits) AS provider_credits,
           sum(uncharged_jobs) AS uncharged_jobs,
           sum(uncharged_provider_credits) AS uncharged_provider_credits
      FROM totals_progress, LATERAL darkroom_settlements('-infinity', days_end) GROUP BY 1, 2
), pair AS (
    SELECT format('hour %s of %s by price %s', starts_at, model, price_id) AS who,
           to_jsonb(total) - '{starts_at, model, price_id}'::text[] AS stored,
           to_jsonb(exact_hours) - '{starts_at, model, price_id}'::text[] AS exact
      FROM (SELECT hourly_totals.* FROM hourly_totals, totals_progress
             WHERE starts_at < hours_end) AS total
      FULL JOIN exact_hours USING (starts_at, model, price_id)
     UNION ALL
    SELECT format('day %s of %s', starts_at, account_id),
           to_jsonb(total) - '{starts_at, account_id}'::text[],
           to_jsonb(exact_days) - '{starts_at, account_id}'::text[]
      FROM (SELECT daily_account_totals.* FROM daily_account_totals, totals_progress
             WHERE starts_at < days_end) AS total
      FULL JOIN exact_days USING (starts_at, account_id)
)
SELECT who, format('the total is %s, but its jobs say %s', coalesce(stored::text, 'missing'),
                   coalesce(exact::text, 'nothing')) AS what
  FROM pair WHERE stored IS DISTINCT FROM exact
 LIMIT $1;

-- name: stuck_jobs
-- Open jobs that nothing has moved for longer than they should take. $2 seconds allowed,
-- counted from when they were due, attempted or had their deadline.
SELECT id::text AS who, format('%s since %s', state, updated_at) AS what
  FROM jobs
 WHERE state IN ('submitting', 'generating', 'unknown')
   AND greatest(updated_at, coalesce(deadline_at, updated_at)) < now() - make_interval(secs => $2)
 LIMIT $1;
