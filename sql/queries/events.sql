-- Events as they are committed, for whoever listens. Snapshots and transactions travel as text.

-- name: snapshot_now
-- What is committed by now, as a snapshot.
SELECT pg_current_snapshot()::text AS snapshot;

-- name: new_events
-- What was committed since a look. $1 the snapshot of that look, $2 job ids, $3 account ids: events
-- of any of them, or of all jobs where $2 is null. The snapshot of this look is in every row; with nothing new there is one row, of
-- which the event is null. Rows of a database that was restored from elsewhere carry transactions
-- of elsewhere: what is older than a day is never news.
WITH look AS MATERIALIZED (
    SELECT pg_current_snapshot() AS snapshot
), fresh AS (
    SELECT event.id, event.tx::text AS tx, event.job_id, event.at, event.event, event.detail,
           jobs.account_id, jobs.state
      FROM job_events AS event JOIN jobs ON jobs.id = event.job_id
     WHERE event.tx >= pg_snapshot_xmin($1::text::pg_snapshot)
       AND event.tx < (SELECT pg_snapshot_xmax(snapshot) FROM look)
       AND NOT pg_visible_in_snapshot(event.tx, $1::text::pg_snapshot)
       AND event.at > now() - interval '1 day'
       AND ($2::uuid[] IS NULL OR event.job_id = ANY($2::uuid[])
            OR jobs.account_id = ANY($3::text[]))
)
SELECT look.snapshot::text AS snapshot, fresh.*
  FROM look LEFT JOIN fresh ON true
 ORDER BY fresh.id;

-- name: job_events_after
-- A page of one job's events, oldest first. $1 job id, $2 only ids above this, $3 limit, $4 the
-- names of events that end a job's stream, but for a success that waits for its images. In every row: the newest id there is, and the id of the end, if
-- any; 0 for an ended job whose events are pruned. With nothing above $2 there is one row, of which the event is null; no row: no such job.
SELECT whole.newest_id,
       CASE WHEN whole.newest_id IS NULL AND jobs.finished_at IS NOT NULL THEN 0 ELSE whole.end_id END AS end_id,
       page.*, jobs.account_id, jobs.state
  FROM jobs
  LEFT JOIN LATERAL (
        SELECT max(id) AS newest_id, min(id) FILTER (WHERE event = ANY($4::text[]) AND NOT detail ? 'images_due_at') AS end_id
          FROM job_events WHERE job_id = jobs.id
       ) AS whole ON true
  LEFT JOIN LATERAL (
        SELECT id, tx::text AS tx, job_id, at, event, detail
          FROM job_events WHERE job_id = jobs.id AND id > $2::bigint ORDER BY id LIMIT $3
       ) AS page ON true
 WHERE jobs.id = $1
 ORDER BY page.id;

-- name: account_events_after
-- A page through everybody's events in the order of their transactions, keeping one account's.
-- $1 account id, $2 and $3 transaction and id after which to begin, $4 only what this snapshot
-- shows, $5 and what this one did not show (null: whatever it was), $6 how many events to go
-- through, $7 how many bytes of text; the first always fits. In every row: how many were found and
-- how many gone through, and the last of these; no row: none were left.
WITH found AS MATERIALIZED (
    SELECT * FROM job_events
     WHERE (tx, id) > ($2::text::xid8, $3::bigint)
       AND tx < pg_snapshot_xmax($4::text::pg_snapshot)
     ORDER BY tx, id LIMIT $6
), sized AS (
    SELECT *, row_number() OVER oldest AS place,
           sum(300 + octet_length(detail::text)) OVER oldest AS bytes_so_far
      FROM found WINDOW oldest AS (ORDER BY tx, id)
), page AS MATERIALIZED (
    SELECT * FROM sized WHERE place = 1 OR bytes_so_far <= $7::bigint
), edge AS (
    SELECT tx::text AS last_tx, id AS last_id, place AS passed,
           (SELECT count(*) FROM found) AS found
      FROM page ORDER BY tx DESC, id DESC LIMIT 1
), wanted AS (
    SELECT page.id, page.tx::text AS tx, page.job_id, page.at, page.event, page.detail,
           jobs.account_id, jobs.state
      FROM page JOIN jobs ON jobs.id = page.job_id
     WHERE jobs.account_id = $1
       AND pg_visible_in_snapshot(page.tx, $4::text::pg_snapshot)
       AND ($5::text IS NULL OR NOT pg_visible_in_snapshot(page.tx, $5::text::pg_snapshot))
)
SELECT edge.*, wanted.* FROM edge LEFT JOIN wanted ON true ORDER BY wanted.id;
