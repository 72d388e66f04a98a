-- Accounts, grants and prices, for the command line and the client.

-- name: create_account
-- $1 id, $2 credits, $3 who (JSON text). No row back: it exists already.
SELECT id, balance, held, available, created_at, weight, max_open_jobs, max_queued_jobs,
       max_credits_per_day, max_priority,
       CASE WHEN day_started_at >= date_trunc('day', now(), 'UTC') THEN day_credits ELSE 0 END
           AS credits_today
  FROM darkroom_create_account($1, $2, $3::text::jsonb);

-- name: get_account
-- $1 id.
SELECT id, balance, held, available, created_at, weight, max_open_jobs, max_queued_jobs,
       max_credits_per_day, max_priority,
       CASE WHEN day_started_at >= date_trunc('day', now(), 'UTC') THEN day_credits ELSE 0 END
           AS credits_today
  FROM accounts WHERE id = $1;

-- name: list_accounts
-- A page, by id. $1 only ids after this or null, $2 how many at most.
SELECT id, balance, held, available, created_at, weight, max_open_jobs, max_queued_jobs,
       max_credits_per_day, max_priority,
       CASE WHEN day_started_at >= date_trunc('day', now(), 'UTC') THEN day_credits ELSE 0 END
           AS credits_today
  FROM accounts
 WHERE $1::text IS NULL OR id > $1
 ORDER BY id LIMIT $2;

-- name: set_account_limits
-- $1 id, $2 the limits to change (a JSON object as text), $3 why or null, $4 who (JSON text).
SELECT id, balance, held, available, created_at, weight, max_open_jobs, max_queued_jobs,
       max_credits_per_day, max_priority,
       CASE WHEN day_started_at >= date_trunc('day', now(), 'UTC') THEN day_credits ELSE 0 END
           AS credits_today
  FROM darkroom_set_account_limits($1, $2::text::jsonb, $3, $4::text::jsonb);

-- name: refund_job
-- $1 job id, $2 why, $3 credits (null: all), $4 who (JSON text).
SELECT id, account_id, job_id, kind, credits, balance_after, held_after, price_id, reason, created_at
  FROM darkroom_refund_job($1, $2, $3, $4::text::jsonb);

-- name: statement_bounds
-- The entries of a period, and the balance before and after them. $1 account id, $2 from, $3 to
-- (exclusive). No row: there is no such account.
SELECT first_entry, end_entry,
       coalesce((SELECT balance_after FROM ledger_entries
                  WHERE account_id = $1 AND id < first_entry ORDER BY id DESC LIMIT 1), 0)
           AS opening_balance,
       coalesce((SELECT balance_after FROM ledger_entries
                  WHERE account_id = $1 AND id < end_entry ORDER BY id DESC LIMIT 1), 0)
           AS closing_balance
  FROM accounts, LATERAL (
       SELECT darkroom_first_entry_at($1, $2) AS first_entry,
              darkroom_first_entry_at($1, $3) AS end_entry) AS bounds
 WHERE accounts.id = $1;

-- name: statement_totals
-- What each kind changed the balance by, by month (UTC). $1 account id, $2 first entry, $3 end entry.
SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
       CASE WHEN kind = 'adjustment' AND job_id IS NOT NULL THEN 'refund' ELSE kind END AS kind,
       sum(balance_change) AS credits, count(*) AS lines
  FROM ledger_entries
 WHERE account_id = $1 AND id >= $2 AND id < $3 AND kind IN ('grant', 'adjustment', 'capture')
 GROUP BY 1, 2 ORDER BY 1, 2;

-- name: statement_lines
-- $1 account id, $2 first entry, $3 end entry, $4 limit, $5 whether the newest are wanted, newest first;
-- otherwise the oldest, oldest first.
SELECT entry.id, entry.created_at, entry.job_id, entry.balance_change AS credits, entry.balance_after,
       CASE WHEN entry.kind = 'adjustment' AND entry.job_id IS NOT NULL THEN 'refund'
            ELSE entry.kind END AS kind,
       version.model, version.task, version.quantity, version.variant, entry.reason
  FROM ledger_entries AS entry LEFT JOIN pricing_history AS version ON version.id = entry.price_id
 WHERE entry.account_id = $1 AND entry.id >= $2 AND entry.id < $3
   AND entry.kind IN ('grant', 'adjustment', 'capture')
 ORDER BY CASE WHEN $5::boolean THEN -entry.id ELSE entry.id END LIMIT $4;

-- name: grant_to_account
-- $1 id, $2 credits, $3 reason, $4 whether a debt is wanted, $5 who (JSON text), $6 idempotency key or
-- null. The account as it is now, with the entry of the ledger.
SELECT (account).id, (account).balance, (account).held, (account).available, (account).created_at,
       (account).weight, (account).max_open_jobs, (account).max_queued_jobs,
       (account).max_credits_per_day, (account).max_priority,
       CASE WHEN (account).day_started_at >= date_trunc('day', now(), 'UTC')
            THEN (account).day_credits ELSE 0 END AS credits_today,
       is_new, (entry).id AS entry_id, (entry).kind, (entry).credits, (entry).balance_after,
       (entry).held_after, (entry).reason, (entry).created_at AS entered_at
  FROM darkroom_grant($1, $2, $3, $4, $5::text::jsonb, $6);

-- name: list_ledger
-- A page, newest first: as many entries as there may be and as fit; the first always fits.
-- $1 account id, $2 only ids below this or null, $3 how many at most, $4 how many bytes of text. In
-- every row: its place, and how many were found, which is one more than $3 where there are more.
WITH page AS (
    SELECT id, account_id, job_id, kind, credits, balance_after, held_after, price_id, reason,
           created_at
      FROM ledger_entries
     WHERE account_id = $1 AND ($2::bigint IS NULL OR id < $2)
     ORDER BY id DESC LIMIT $3::bigint + 1
), sized AS (
    SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
           sum(400 + coalesce(octet_length(reason), 0)) OVER newest AS bytes_so_far
      FROM page WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM sized
 WHERE place <= $3 AND (place = 1 OR bytes_so_far <= $4::bigint)
 ORDER BY id DESC;

-- name: list_prices
SELECT model, task, quantity, variant, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing ORDER BY model, task, quantity, variant;

-- name: get_price
-- $1 model, $2 task, $3 quantity, $4 variant.
SELECT model, task, quantity, variant, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4;

-- name: list_price_versions
-- Newest first. $1 model, $2 task, $3 quantity, $4 variant, $5 limit.
SELECT id, credits, provider_credits, lower(valid) AS valid_from, upper(valid) AS valid_to, changed_by,
       reason
  FROM pricing_history WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4
 ORDER BY lower(valid) DESC LIMIT $5;

-- name: list_price_history
-- Newest first. $1 limit.
SELECT id, model, task, quantity, variant, credits, provider_credits, lower(valid) AS valid_from,
       upper(valid) AS valid_to, changed_by, reason
  FROM pricing_history ORDER BY id DESC LIMIT $1;
