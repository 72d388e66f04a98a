-- What the poll timetable is learned from.

-- name: record_completion_times
-- Adds completions, oldest first, and deletes those whose rank has become too low; who else deletes
-- is not waited for. $1 models, $2 tasks, $3 quantities, $4 variants, $5 seconds, $6 how many of a kind
-- stay beside the new ones. Arrays are computed once. IN (SELECT ...) would be computed for each row
-- where Postgres believes that the table is empty.
WITH too_low AS (
    DELETE FROM completion_times
     WHERE id = ANY (ARRAY(
         SELECT id FROM completion_times
          WHERE id = ANY (ARRAY(
              SELECT id FROM (
                  SELECT id, row_number() OVER (PARTITION BY model, task, quantity, variant
                                                ORDER BY keep_rank DESC) AS place
                    FROM completion_times
              ) AS placed WHERE place > $6::integer
          ))
            FOR UPDATE SKIP LOCKED
     ))
)
INSERT INTO completion_times (model, task, quantity, variant, seconds)
SELECT model, task, quantity, variant, seconds
  FROM unnest($1::text[], $2::text[], $3::integer[], $4::text[], $5::double precision[])
       WITH ORDINALITY AS seen (model, task, quantity, variant, seconds, place)
 ORDER BY place;

-- name: read_completion_times
-- One row per kind, oldest completion first. $1 how many of a kind.
SELECT model, task, quantity, variant, array_agg(seconds ORDER BY id) AS seconds
  FROM (
      SELECT *, row_number() OVER (PARTITION BY model, task, quantity, variant
                                   ORDER BY keep_rank DESC) AS place
        FROM completion_times
  ) AS placed
 WHERE place <= $1::integer
 GROUP BY model, task, quantity, variant;
