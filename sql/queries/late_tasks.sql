-- Tasks that their job does not wait for any more: checked rarely, and their images kept. What is
-- written, and its parameters, is in sql/functions/late_tasks.sql.

-- name: note_late_task
SELECT * FROM darkroom_note_late_task($1, $2, $3);

-- name: claim_late_tasks
SELECT * FROM darkroom_claim_late_tasks($1, $2, $3, $4);

-- name: record_delivered_late
SELECT * FROM darkroom_record_delivered_late($1, $2, $3, $4, $5, $6, $7, $8);

-- name: record_failed_late
SELECT * FROM darkroom_record_failed_late($1, $2, $3, $4, $5, $6);

-- name: end_late_task
SELECT * FROM darkroom_end_late_task($1, $2, $3, $4, $5);

-- name: record_late_check
SELECT * FROM darkroom_record_late_check($1, $2, $3, $4, $5, $6);

-- name: list_late_tasks
-- $1 job id: its tasks that it did not wait for, oldest first.
SELECT attempt, provider_task_id, noted_at,
       CASE WHEN outcome IS NULL THEN next_check_at END AS next_check_at, checks, outcome, ended_at,
       provider_credits, in_doubt_since, answer
  FROM late_tasks WHERE job_id = $1 ORDER BY noted_at, provider_task_id;

-- name: late_deliveries
-- What came late in the last so many seconds ($1), and what it cost us.
SELECT count(*) AS tasks, coalesce(sum(provider_credits), 0) AS provider_credits
  FROM late_tasks WHERE outcome = 'delivered' AND ended_at >= now() - make_interval(secs => $1);
