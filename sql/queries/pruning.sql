-- Pruning, and the erasing of prompts. What is done, and the parameters, is in sql/functions/pruning.sql.

-- name: prune
-- $1 days by kind (JSON text), $2 batch, $3 who (JSON text).
SELECT * FROM darkroom_prune($1, $2, $3::text::jsonb);

-- name: prune_at_interval
-- $1 days by kind (JSON text), $2 batch.
SELECT * FROM darkroom_prune_at_interval($1, $2);

-- name: count_prunable
-- $1 days by kind (JSON text).
SELECT * FROM darkroom_count_prunable($1);

-- name: erase_prompts
-- $1 account, $2 reason or null, $3 who (JSON text). No row back: no such account.
SELECT * FROM darkroom_erase_prompts($1, $2, $3::text::jsonb);

-- name: continue_erasures
-- $1 batch, $2 account.
SELECT * FROM darkroom_continue_erasures($1, $2);

-- name: newest_erasure
-- $1 account: its newest request to erase its prompts.
SELECT account_id, requested_at, swept_at, jobs, cardinality(waiting) AS waiting, ended_at
  FROM prompt_erasures WHERE account_id = $1 ORDER BY requested_at DESC LIMIT 1;

-- name: count_unerased_jobs
-- $1 account: its ended jobs whose prompts are stored, and its open ones. No row back: no such account.
SELECT count(jobs.id) FILTER (WHERE finished_at IS NOT NULL AND pruned_at IS NULL) AS ended,
       count(jobs.id) FILTER (WHERE finished_at IS NULL) AS open
  FROM accounts LEFT JOIN jobs ON jobs.account_id = accounts.id
 WHERE accounts.id = $1 GROUP BY accounts.id;
