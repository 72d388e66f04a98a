-- Accounts, grants and prices, for the command line and the client.

-- name: create_account
-- $1 id, $2 credits, $3 who (JSON text). No row back: it exists already.
SELECT id, balance, held, available, created_at
  FROM darkroom_create_account($1, $2, $3::text::jsonb);

-- name: get_account
-- $1 id.
SELECT id, balance, held, available, created_at FROM accounts WHERE id = $1;

-- name: grant_to_account
-- $1 id, $2 credits, $3 reason, $4 whether a debt is wanted, $5 who (JSON text).
SELECT id, balance, held, available, created_at
  FROM grant_credits($1, $2, $3, $4, $5::text::jsonb);

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
SELECT model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing ORDER BY model, task, quantity;

-- name: get_price
-- $1 model, $2 task, $3 quantity.
SELECT model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing WHERE model = $1 AND task = $2 AND quantity = $3;

-- name: set_price
-- $1 model, $2 task, $3 quantity, $4 credits, $5 why, $6 who (JSON text).
SELECT model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id
  FROM darkroom_set_price($1, $2, $3, $4, $5, $6::text::jsonb);

-- name: list_price_history
-- Newest first. $1 limit.
SELECT id, model, task, quantity, credits, provider_credits, lower(valid) AS valid_from,
       upper(valid) AS valid_to, changed_by, reason
  FROM pricing_history ORDER BY id DESC LIMIT $1;
