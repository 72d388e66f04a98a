-- Pauses of submits: started and ended by operators, read by workers.

-- name: pause
-- $1 scope, $2 value, $3 reason, $4 until or null, $5 seconds from now instead or null, $6 who (JSON
-- text).
SELECT *, true AS is_active
  FROM darkroom_pause($1, $2, $3, coalesce($4, clock_timestamp() + make_interval(secs => $5)), $6::text::jsonb);

-- name: resume
-- $1 pause id, $2 who (JSON text).
SELECT *, false AS is_active FROM darkroom_resume($1, $2::text::jsonb);

-- name: resume_scope
-- $1 scope, $2 value, $3 who (JSON text).
SELECT *, false AS is_active FROM darkroom_resume_scope($1, $2, $3::text::jsonb);

-- name: list_active_pauses
-- The oldest first.
SELECT *, true AS is_active FROM active_pauses ORDER BY id;

-- name: list_pauses
-- A page, newest first. $1 only ids below this or null, $2 how many at most, $3 how many bytes of text,
-- $4 only those that are active, or have ended, or null. In every row: its place, and how many were
-- found, which is one more than $2 where there are more.
WITH page AS (
    SELECT *, id IN (SELECT id FROM active_pauses) AS is_active
      FROM pauses
     WHERE ($1::bigint IS NULL OR id < $1)
       AND ($4::boolean IS NULL OR (id IN (SELECT id FROM active_pauses)) = $4)
     ORDER BY id DESC LIMIT $2::bigint + 1
), sized AS (
    SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
           sum(400 + octet_length(concat(value, reason, paused_by, resumed_by))) OVER newest
               AS bytes_so_far
      FROM page WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM sized
 WHERE place <= $2 AND (place = 1 OR bytes_so_far <= $3::bigint)
 ORDER BY id DESC;

-- name: watch_pauses
-- For workers: the active pauses.
SELECT id, scope, value, extract(epoch FROM until - now())::double precision AS ends_in_seconds
  FROM active_pauses;

-- name: why_not_claimed
-- Why a job was not claimed. $1 id, $2 attempt, $3 states it may be claimed in, $4 Kie account.
SELECT extract(epoch FROM due_at - now())::double precision AS due_seconds,
       EXISTS (SELECT FROM active_pauses
                WHERE scope = 'everything'
                   OR (scope, value) IN (('model', jobs.model), ('account', jobs.account_id))) AS is_paused,
       EXISTS (SELECT FROM active_pauses
                WHERE scope = 'kie_account' AND value = $4::text) AS is_kie_account_paused,
       (SELECT via FROM active_routes WHERE active_routes.model = jobs.model) AS route_in_force
  FROM jobs WHERE id = $1 AND attempt = $2 AND state = ANY($3::text[]);

-- name: record_brake_end
-- $1 Kie account, $2 its brakes (JSON text), $3 reason, $4 who (JSON text).
SELECT darkroom_record_brake_end($1, $2::text::jsonb, $3, $4::text::jsonb);

-- name: record_acknowledgement
-- $1 alert, $2 its evidence (JSON text), $3 who (JSON text).
SELECT darkroom_record_acknowledgement($1, $2::text::jsonb, $3::text::jsonb);
