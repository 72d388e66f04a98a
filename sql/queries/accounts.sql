-- Accounts, grants and prices, for the command line and the client.

-- name: create_account
-- $1 id. No row back: it exists already.
INSERT INTO accounts (id) VALUES ($1) ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: get_account
-- $1 id.
SELECT id, balance, held, available, created_at FROM accounts WHERE id = $1;

-- name: grant_to_account
-- $1 id, $2 credits, $3 reason.
SELECT (account).id, (account).balance, (account).held, (account).available, (account).created_at
  FROM grant_credits($1, $2, $3) AS account;

-- name: list_ledger
-- Newest first. $1 account id, $2 only ids below this or null, $3 limit.
SELECT id, account_id, job_id, kind, credits, balance_after, held_after, price_id, reason, created_at
  FROM ledger_entries
 WHERE account_id = $1 AND ($2::bigint IS NULL OR id < $2)
 ORDER BY id DESC LIMIT $3;

-- name: list_prices
SELECT model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing ORDER BY model, task, quantity;

-- name: get_price
-- $1 model, $2 task, $3 quantity.
SELECT model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id
  FROM pricing WHERE model = $1 AND task = $2 AND quantity = $3;

-- name: say_why
-- Who and why, for the change that follows in the same transaction. $1 actor, $2 reason.
SELECT set_config('darkroom.actor', $1, true), set_config('darkroom.reason', $2, true);

-- name: set_price
-- $1 model, $2 task, $3 quantity, $4 credits.
UPDATE pricing SET credits = $4 WHERE model = $1 AND task = $2 AND quantity = $3
RETURNING model, task, quantity, credits, provider_credits, updated_at, updated_by, price_id;

-- name: list_price_history
-- Newest first. $1 limit.
SELECT id, model, task, quantity, credits, provider_credits, lower(valid) AS valid_from,
       upper(valid) AS valid_to, changed_by, reason
  FROM pricing_history ORDER BY id DESC LIMIT $1;
