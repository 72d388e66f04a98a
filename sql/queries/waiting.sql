-- When waiting jobs are submitted. sql/functions/waiting.sql has the functions.

-- name: places_in_turn
-- $1 ids of jobs.
SELECT * FROM darkroom_places_in_turn($1);

-- name: waiting_accounts
SELECT * FROM darkroom_waiting_accounts();

-- name: priority_turns_now
SELECT priority, weight, greatest(turn, max(served) OVER ()) AS turn, account_clock
  FROM priority_turns ORDER BY weight DESC;

-- name: submit_pace
-- What the speed of submits depends on, beside Redis. $1 how long a process counts as alive (seconds),
-- $2 seconds over which submits are counted. The jobs that are generating and those that ended since
-- have all that were submitted since.
WITH worker AS MATERIALIZED (
    SELECT id, started_at, limits, key_fingerprints FROM processes
     WHERE kind = 'worker' AND stopped_at IS NULL AND seen_at > now() - make_interval(secs => $1)
), period AS (
    SELECT greatest(now() - make_interval(secs => $2), (SELECT min(started_at) FROM worker),
                    (SELECT max(coalesce(resumed_at, until)) FROM pauses
                      WHERE coalesce(resumed_at, until) <= now())) AS since
), ended AS MATERIALIZED (
    SELECT submitted_at, finished_at FROM jobs
     WHERE finished_at IS NOT NULL AND isfinite(finished_at)
     ORDER BY finished_at DESC LIMIT 50
)
SELECT clock_timestamp() AS at,
       (SELECT count(*) FROM worker) AS workers,
       ARRAY(SELECT DISTINCT account FROM worker, jsonb_object_keys(key_fingerprints) AS account) AS kie_accounts,
       (SELECT limits ->> 'KIE_SUBMITS_PER_10_SECONDS' FROM worker
         ORDER BY started_at DESC LIMIT 1)::integer AS submits_per_10_seconds,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'scope', scope, 'value', value,
                   'ends_in_seconds', extract(epoch FROM until - now())::double precision)), '[]')
          FROM active_pauses) AS pauses,
       (SELECT coalesce(jsonb_object_agg(model, via), '{}') FROM active_routes) AS routes,
       extract(epoch FROM now() - since)::double precision AS measured_seconds,
       (SELECT count(*) FROM jobs WHERE state = 'generating' AND submitted_at >= since)
       + (SELECT count(*) FROM jobs WHERE finished_at >= since AND submitted_at >= since) AS submitted,
       (SELECT avg(extract(epoch FROM finished_at - submitted_at)) FROM ended
         WHERE submitted_at IS NOT NULL AND isfinite(submitted_at))::double precision AS run_seconds
  FROM period;
