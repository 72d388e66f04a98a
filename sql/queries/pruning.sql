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

-- name: erasures_of_account
-- $1 account, $2 limit: its requests to erase its prompts, newest first. No row back: no such account. One
-- with a null id: it has none. The copies are counted once, and only of accounts with an erasure.
SELECT erasure.id, accounts.id AS account_id, erasure.requested_at, erasure.jobs,
       cardinality(erasure.waiting) AS waiting, erasure.swept_at, erasure.ended_at,
       CASE WHEN erasure.id IS NOT NULL
            THEN (SELECT count(*) FROM job_images AS image JOIN jobs ON jobs.id = image.job_id
                   WHERE image.state = 'pruned' AND image.deleted_at IS NULL
                     AND jobs.account_id = $1 AND jobs.erased_at IS NOT NULL) END AS copies_to_delete
  FROM accounts LEFT JOIN prompt_erasures AS erasure ON erasure.account_id = accounts.id
 WHERE accounts.id = $1 ORDER BY erasure.requested_at DESC, erasure.id LIMIT $2;

-- name: count_unerased_jobs
-- $1 account: its ended jobs whose prompts or links are stored, its open ones, and the copies of its images
-- that are in the store. No row back: no such account.
SELECT count(jobs.id) FILTER (WHERE finished_at IS NOT NULL AND erased_at IS NULL) AS ended,
       count(jobs.id) FILTER (WHERE finished_at IS NULL) AS open,
       (SELECT count(*) FROM job_images AS image JOIN jobs AS its ON its.id = image.job_id
         WHERE its.account_id = $1
           AND (image.state = 'stored' OR image.state = 'pruned' AND image.deleted_at IS NULL)) AS copies
  FROM accounts LEFT JOIN jobs ON jobs.account_id = accounts.id
 WHERE accounts.id = $1 GROUP BY accounts.id;
