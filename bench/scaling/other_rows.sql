-- Fills the tables beside the jobs of `history.sql`: a million acts of operators, a webhook for each failed
-- job, logins, and pauses that have ended.
SET LOCAL session_replication_role = replica;

INSERT INTO audit_entries (at, act, actor, via, account_id, job_id, subject, after)
SELECT now() - make_interval(secs => 2.0 * (1000000 - n)),
       CASE WHEN n % 10 = 0 THEN 'job_retried' ELSE 'job_cancelled' END, 'operator ' || n % 20, 'console',
       'a' || n % 1000, md5(n::text)::uuid, 'jobs ' || md5(n::text)::uuid, '{"state": "cancelled"}'
  FROM generate_series(1, 1000000) AS n;

INSERT INTO webhook_endpoints (account_id, url)
SELECT id, 'https://example.com/' || id FROM accounts;

INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event, state, created_at, tries, last_status,
                              last_try_at, delivered_at)
SELECT jobs.id, jobs.account_id, endpoint.id, endpoint.url, 'job.failed',
       CASE WHEN hashint4(extract(epoch FROM finished_at)::integer) % 50 = 0 THEN 'dead' ELSE 'delivered' END,
       finished_at, 1, 200, finished_at,
       CASE WHEN hashint4(extract(epoch FROM finished_at)::integer) % 50 <> 0 THEN finished_at END
  FROM jobs JOIN webhook_endpoints AS endpoint ON endpoint.account_id = jobs.account_id
 WHERE state = 'failed';

INSERT INTO webhook_tries (message_id, at, status, seconds)
SELECT id, last_try_at, last_status, 0.1 FROM webhook_messages;

INSERT INTO webhook_account_secrets (account_id)
SELECT id FROM accounts;

INSERT INTO pauses (scope, value, reason, paused_by, paused_at, until)
SELECT 'account', 'a' || n % 1000, 'a test', 'operator 1', now() - make_interval(hours => n),
       now() - make_interval(hours => n) + interval '5 minutes'
  FROM generate_series(1, 2000) AS n;
