-- The registry of processes: who runs, since when, and when each was last seen.

-- name: record_process
-- Writes this process's row, deletes rows of long ago, and returns what a process compares. $1 id,
-- $2 kind, $3 name, $4 version, $5 Redis, $6 limits, $7 detail, $8 clock skew or null, $9 whether it
-- has just marked itself in Redis, $10 the ids marked there, $11 how long a process counts as alive
-- (seconds), $12 how long rows are kept (seconds), $13 fingerprints of its Kie keys by account, $14 whether
-- the pending work is read as well, with the parameters $15 and $16 of darkroom_pending_work.
WITH pruned AS (
    DELETE FROM processes
     WHERE id IN (
         SELECT id FROM processes
          WHERE seen_at < now() - make_interval(secs => $12) AND id <> $1
            FOR UPDATE SKIP LOCKED
     )
), own AS (
    INSERT INTO processes (id, kind, name, version, redis, limits, detail, clock_skew_seconds,
                           redis_seen_at, key_fingerprints)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $9::boolean THEN now() END, $13)
    ON CONFLICT (id) DO UPDATE
        SET seen_at = greatest(now(), processes.started_at), limits = excluded.limits,
            detail = excluded.detail, key_fingerprints = excluded.key_fingerprints,
            clock_skew_seconds = coalesce(excluded.clock_skew_seconds, processes.clock_skew_seconds),
            redis_seen_at = coalesce(excluded.redis_seen_at, processes.redis_seen_at),
            stopped_at = NULL
    RETURNING started_at
)
SELECT clock_timestamp() AS at, own.started_at, (SELECT key_salt FROM installation) AS key_salt,
       CASE WHEN $14::boolean THEN darkroom_pending_work($15, $16, $11) END AS pending_work,
       ARRAY(SELECT marked FROM unnest($10::uuid[]) AS marked
              WHERE marked <> $1
                AND NOT EXISTS (SELECT FROM processes WHERE id = marked)) AS unknown_ids,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'id', id, 'name', name, 'redis', redis, 'limits', limits,
                   'key_fingerprints', key_fingerprints,
                   'started', extract(epoch FROM started_at)::double precision,
                   'marked', extract(epoch FROM redis_seen_at)::double precision)
                   ORDER BY started_at, id), '[]')
          FROM processes
         WHERE kind = 'worker' AND id <> $1 AND stopped_at IS NULL
           AND seen_at > now() - make_interval(secs => $11)
           AND redis_seen_at > now() - make_interval(secs => $11)) AS workers
  FROM own;

-- name: record_process_stopped
-- $1 id.
UPDATE processes SET stopped_at = now(), seen_at = greatest(now(), started_at) WHERE id = $1;

-- name: list_processes
-- Newest first. $1 how long a process counts as alive (seconds), $2 how far to look back (seconds).
SELECT id, kind, name, version, redis, started_at, seen_at, redis_seen_at, clock_skew_seconds,
       stopped_at, limits, detail,
       extract(epoch FROM now() - started_at)::double precision AS started_seconds_ago,
       extract(epoch FROM now() - seen_at)::double precision AS seen_seconds_ago,
       extract(epoch FROM now() - redis_seen_at)::double precision AS redis_seen_seconds_ago,
       stopped_at IS NULL AND seen_at > now() - make_interval(secs => $1) AS is_alive
  FROM processes
 WHERE seen_at > now() - make_interval(secs => $2)
 ORDER BY started_at DESC, id;
