-- The job's life: the calls of sql/functions/transitions.sql, which has the statements and says what
-- the parameters are.

-- name: claim_jobs
SELECT * FROM darkroom_claim_jobs($1, $2, $3, $4, $6, $7, $8, $9, $5);

-- name: record_submitted
SELECT * FROM darkroom_record_submitted($1, $2, $3, $4, $5, $6, $7, $8);

-- name: record_stray_task
SELECT * FROM darkroom_record_stray_task($1, $2, $3);

-- name: record_deferred
SELECT * FROM darkroom_record_deferred($1, $2, $3, $4, $5, $6, $7, $8);

-- name: record_unknown
SELECT * FROM darkroom_record_unknown($1, $2, $3, $4, $5, $6, $7, $8);

-- name: record_progress
SELECT * FROM darkroom_record_progress($1, $2, $3, $4, $5, $6);

-- name: hold_for_review
SELECT * FROM darkroom_hold_for_review($1, $2, $3, $4, $5, $6, $7, $8);

-- name: settle_jobs
SELECT * FROM darkroom_settle_jobs($1, $2, $3, $4, $5, $6, $9, $10, $11, $12, $7, $13, $8);

-- name: release_job
SELECT * FROM darkroom_release_job($1, $2, $3, $4, $5, $6, $7, $8);

-- name: held_rows
SELECT * FROM darkroom_held_rows($1);

-- name: find_claim
-- The claim that a lost connection left in doubt. $1 job id, $2 token, $3 state it must be in.
SELECT jobs.*, job_attempts.provider_account FROM jobs
  JOIN job_attempts ON job_attempts.job_id = jobs.id AND job_attempts.number = jobs.attempt
 WHERE jobs.id = $1 AND job_attempts.token = $2 AND jobs.state = $3;
