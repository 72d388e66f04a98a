-- Fills a migrated database with jobs that have ended, with all their rows, and jobs that wait.
-- `bench.ended`, `bench.queued` and `bench.accounts` say how many. Written without triggers; what
-- the triggers would have written is written here. One job ended every two seconds until now, after
-- a wait of twenty minutes; one in sixteen failed. Those that wait came in later, a hundred a second,
-- until two minutes ago. Ids are what they are in earnest: UUIDs of version 7, in the order of time.
SET LOCAL session_replication_role = replica;
SET LOCAL work_mem = '256MB';
SET LOCAL maintenance_work_mem = '512MB';

CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT n, at, created_at, n >= ended AS waits, hashint4(n) & 1023 < 64 AS fails,
       overlay(overlay(overlay(md5(n::text)
           PLACING lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0') FROM 1)
           PLACING '7' FROM 13) PLACING 'a' FROM 17)::uuid AS id,
       'a' || n % accounts AS account_id
  FROM (SELECT current_setting('bench.ended')::integer AS ended,
               current_setting('bench.queued')::integer AS queued,
               current_setting('bench.accounts')::integer AS accounts) AS size,
       LATERAL generate_series(0, ended + queued - 1) AS n,
       LATERAL (SELECT now() - make_interval(secs => 2.0 * (ended - n)) AS at) AS moment,
       LATERAL (SELECT CASE WHEN n < ended THEN at - interval '20 minutes'
                            ELSE now() - make_interval(secs => 120 + 0.01 * (ended + queued - n))
                       END AS created_at) AS beginning;

INSERT INTO accounts (id, balance, held)
SELECT account_id, 100000000 - 6 * count(*) FILTER (WHERE NOT waits AND NOT fails),
       6 * count(*) FILTER (WHERE waits)
  FROM made GROUP BY account_id;

INSERT INTO jobs (id, account_id, model, task, quantity, request, state, reason, message, progress,
                  provider_task_id, result_urls, credits_quoted, quoted_price_id, credits_charged,
                  price_id, charge_basis, attempt, created_at, run_at, due_at, attempted_at,
                  submitted_at, deadline_at, finished_at, updated_at)
SELECT id, account_id, model, task, quantity,
       jsonb_build_object('prompt', 'order ' || n, 'aspect_ratio', '1:1', 'quantity', 1),
       CASE WHEN waits THEN 'queued' WHEN fails THEN 'failed' ELSE 'succeeded' END,
       CASE WHEN fails AND NOT waits THEN 'provider_failed' END,
       CASE WHEN fails AND NOT waits THEN 'it failed' END,
       CASE WHEN waits OR fails THEN 0 ELSE 1 END,
       CASE WHEN NOT waits THEN md5(n::text) END,
       CASE WHEN waits OR fails THEN '{}' ELSE ARRAY['https://example.com/' || n || '.png'] END,
       6, price_id, CASE WHEN NOT waits AND NOT fails THEN 6 END, price_id,
       CASE WHEN NOT waits AND NOT fails THEN 'current' END, CASE WHEN waits THEN 0 ELSE 1 END,
       created_at, created_at, created_at,
       CASE WHEN NOT waits THEN at - interval '36 seconds' END,
       CASE WHEN NOT waits THEN at - interval '35 seconds' END,
       CASE WHEN NOT waits THEN at + interval '30 minutes' END, CASE WHEN NOT waits THEN at END,
       CASE WHEN waits THEN created_at ELSE at END
  FROM made, pricing
 WHERE (model, task, quantity) = ('gpt-4o-image', 'text-to-image', 1) ORDER BY n;

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
   AND CASE kind WHEN 'hold' THEN true WHEN 'capture' THEN NOT waits AND NOT fails
                 ELSE NOT waits AND fails END
 ORDER BY n, kind DESC;

INSERT INTO job_events (job_id, at, event, detail)
SELECT id, CASE event WHEN 'enqueued' THEN created_at ELSE at - interval '1 second' * ago END, event, jsonb_build_object('attempt', 1)
  FROM made, (VALUES (40, 'enqueued'), (36, 'claimed'), (35, 'submitted'), (0, 'completed'))
             AS events (ago, event)
 WHERE NOT waits OR event = 'enqueued' ORDER BY n, ago DESC;

INSERT INTO account_turns (account_id, priority)
SELECT DISTINCT account_id, 'normal' FROM made WHERE waits;
