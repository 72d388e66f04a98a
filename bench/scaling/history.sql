-- Fills a migrated database with jobs that have ended, with all their rows, and jobs that wait.
-- `bench.ended`, `bench.queued` and `bench.accounts` say how many. Written without triggers; what
-- the triggers would have written is written here. One job ended every two seconds until now, after
-- a wait of twenty minutes; one in sixteen failed. Those that wait came in later, a hundred a second,
-- until two minutes ago. Ids are what they are in earnest: UUIDs of version 7, in the order of time.
--
-- With `bench.varied` = 'yes', what lists are filtered by varies as well: a quarter of the jobs are those
-- of the account `acme`, and there are several models, reasons, priorities, and metadata, cancelled and
-- scheduled jobs and retries.
SET LOCAL session_replication_role = replica;
SET LOCAL work_mem = '256MB';
SET LOCAL maintenance_work_mem = '512MB';

CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT n, at, created_at, n >= ended AS waits, hashint4(n) & 1023 < 64 AS fails,
       overlay(overlay(overlay(md5(n::text)
           PLACING lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0') FROM 1)
           PLACING '7' FROM 13) PLACING 'a' FROM 17)::uuid AS id,
       CASE WHEN is_varied AND n % 4 = 0 THEN 'acme' ELSE 'a' || n % accounts END AS account_id,
       is_varied AND hashint4(n) & 1023 >= 1008 AND n < ended AS is_cancelled,
       CASE WHEN is_varied THEN (hashint4(n + 1) & 1023) ELSE 0 END AS chance,
       CASE WHEN is_varied THEN (hashint4(n + 2) & 1023) ELSE 0 END AS second_chance
  FROM (SELECT current_setting('bench.ended')::integer AS ended,
               current_setting('bench.queued')::integer AS queued,
               current_setting('bench.accounts')::integer AS accounts,
               current_setting('bench.varied', true) IS NOT DISTINCT FROM 'yes' AS is_varied) AS size,
       LATERAL generate_series(0, ended + queued - 1) AS n,
       LATERAL (SELECT now() - make_interval(secs => 2.0 * (ended - n)) AS at) AS moment,
       LATERAL (SELECT CASE WHEN n < ended THEN at - interval '20 minutes'
                            ELSE now() - make_interval(secs => 120 + 0.01 * (ended + queued - n))
                       END AS created_at) AS beginning;

INSERT INTO accounts (id, balance, held)
SELECT account_id, 100000000 - 6 * count(*) FILTER (WHERE NOT waits AND NOT fails AND NOT is_cancelled),
       6 * count(*) FILTER (WHERE waits)
  FROM made GROUP BY account_id;

INSERT INTO jobs (id, account_id, model, task, quantity, variant, request, state, reason, message, progress,
                  provider_task_id, result_urls, credits_quoted, quoted_price_id, credits_charged,
                  price_id, charge_basis, attempt, priority, created_at, run_at, due_at, attempted_at,
                  submitted_at, deadline_at, finished_at, updated_at, metadata, idempotency_key)
SELECT id, account_id, model, task, quantity, variant,
       jsonb_build_object('prompt', 'order ' || n, 'aspect_ratio', '1:1', 'quantity', 1),
       CASE WHEN waits THEN 'queued' WHEN fails THEN 'failed' WHEN is_cancelled THEN 'cancelled'
            ELSE 'succeeded' END,
       CASE WHEN waits THEN NULL WHEN is_cancelled THEN 'cancelled_by_caller'
            WHEN fails AND chance < 100 THEN 'content_policy' WHEN fails AND chance = 1001 THEN 'rejected'
            WHEN fails THEN 'provider_failed' END,
       CASE WHEN fails AND NOT waits THEN 'it failed' END,
       CASE WHEN waits OR fails OR is_cancelled THEN 0 ELSE 1 END,
       CASE WHEN NOT waits THEN md5(n::text) END,
       CASE WHEN waits OR fails OR is_cancelled THEN '{}'
            ELSE ARRAY['https://example.com/' || n || '.png'] END,
       6, price_id, CASE WHEN NOT waits AND NOT fails AND NOT is_cancelled THEN 6 END, price_id,
       CASE WHEN NOT waits AND NOT fails AND NOT is_cancelled THEN 'current' END,
       CASE WHEN waits THEN 0 ELSE 1 END,
       CASE WHEN chance = 0 OR second_chance >= 100 THEN 'normal' WHEN second_chance < 30 THEN 'high'
            ELSE 'low' END,
       created_at,
       CASE WHEN waits AND chance % 50 = 1 THEN now() + interval '1 day' ELSE created_at END,
       CASE WHEN waits AND chance % 50 = 1 THEN now() + interval '1 day' ELSE created_at END,
       CASE WHEN NOT waits THEN at - interval '36 seconds' END,
       CASE WHEN NOT waits THEN at - interval '35 seconds' END,
       CASE WHEN NOT waits THEN at + interval '30 minutes' END, CASE WHEN NOT waits THEN at END,
       CASE WHEN waits THEN created_at ELSE at END,
       CASE WHEN chance > 100 THEN jsonb_build_object(
           'order', n::text, 'shop', 's' || n % 500, 'env', CASE WHEN chance > 900 THEN 'test' ELSE 'live' END)
            ELSE '{}' END,
       CASE WHEN chance % 2 = 1 THEN 'key-' || n END
  FROM made,
       LATERAL (SELECT CASE WHEN chance < 550 THEN 'gpt-4o-image' WHEN chance < 900 THEN '4o-image-api'
                            WHEN n > 999000 OR n % 1000 < 999 THEN 'gpt-image-2'
                            ELSE 'flux1-kontext' END AS model,
                       CASE WHEN second_chance % 8 = 7 THEN 'image-to-image' ELSE 'text-to-image' END
                           AS task) AS kind
  JOIN pricing USING (model, task)
 WHERE quantity = 1 AND variant IN ('', '1K') ORDER BY n;

UPDATE jobs SET retry_of = first.id
  FROM made AS first JOIN made AS again ON again.n = first.n + 100
 WHERE again.id = jobs.id AND again.chance > 0 AND first.fails AND NOT first.waits
   AND first.chance < 300;

INSERT INTO job_attempts (job_id, number, token, worker, sent_at, answered_at, outcome,
                          provider_task_id)
SELECT id, 1, 'bench-token-' || md5('token' || n), 'bench:1', at - interval '36 seconds',
       at - interval '35 seconds', 'accepted', md5(n::text)
  FROM made WHERE NOT waits ORDER BY n;

INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                            balance_after, held_after, price_id, created_at)
SELECT account_id, id, kind, 6, CASE kind WHEN 'capture' THEN -6 ELSE 0 END,
       CASE kind WHEN 'hold' THEN 6 ELSE -6 END, 100000000, 6, price_id,
       CASE kind WHEN 'hold' THEN created_at ELSE at END
  FROM made, pricing, (VALUES ('hold'), ('capture'), ('release')) AS kinds (kind)
 WHERE (model, task, quantity) = ('gpt-4o-image', 'text-to-image', 1)
   AND CASE kind WHEN 'hold' THEN true
                 WHEN 'capture' THEN NOT waits AND NOT fails AND NOT is_cancelled
                 ELSE NOT waits AND (fails OR is_cancelled) END
 ORDER BY n, kind DESC;

INSERT INTO job_events (job_id, at, event, detail)
SELECT id, CASE event WHEN 'enqueued' THEN created_at ELSE at - interval '1 second' * ago END, event, jsonb_build_object('attempt', 1)
  FROM made, (VALUES (40, 'enqueued'), (36, 'claimed'), (35, 'submitted'), (0, 'completed'))
             AS events (ago, event)
 WHERE NOT waits OR event = 'enqueued' ORDER BY n, ago DESC;

INSERT INTO account_turns (account_id, priority)
SELECT DISTINCT account_id, priority FROM jobs WHERE state = 'queued';
