-- What Kie says of its models, and what its responses contain that no reader knows.

-- name: record_kie_surprises
-- Adds to the counts of the day. At most 200 different ones are kept of a day. $1 families, $2 kinds,
-- $3 values, $4 counts, $5 examples.
WITH today AS (
    SELECT (now() AT TIME ZONE 'UTC')::date AS day
), old AS (
    DELETE FROM kie_surprises WHERE day < (SELECT day FROM today) - 90
)
INSERT INTO kie_surprises AS kept (day, family, kind, value, seen, example)
SELECT today.day, found.*
  FROM today, unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
           AS found (family, kind, value, seen, example)
 WHERE (SELECT count(*) FROM kie_surprises WHERE day = today.day) < 200
    OR EXISTS (SELECT FROM kie_surprises AS same
                WHERE (same.day, same.family, same.kind, same.value)
                      = (today.day, found.family, found.kind, found.value))
 ORDER BY family, kind, value
    ON CONFLICT (day, family, kind, value) DO UPDATE
   SET seen = kept.seen + excluded.seen, last_seen_at = now();

-- name: list_kie_surprises
-- Those of the last days, the newest first. $1 how many days, $2 limit.
SELECT day, family, kind, value, seen, first_seen_at, last_seen_at, example
  FROM kie_surprises
 WHERE day > (now() AT TIME ZONE 'UTC')::date - $1::integer
 ORDER BY last_seen_at DESC, family, kind, value LIMIT $2;

-- name: list_kie_models
-- What Kie said of its models, by family and name.
SELECT kie_model, family, sold_as, tasks, checked_at, is_listed, missing_parts, price_text, price_credits,
       rated_at, success_percent, usual_success_percent
  FROM kie_models ORDER BY family, kie_model;

-- name: kie_models_to_check
-- Which of these models were not checked for so long, or against another catalog. $1 the names at Kie,
-- $2 seconds, $3 fingerprint of the catalog.
SELECT model.kie_model
  FROM unnest($1::text[]) AS model (kie_model) LEFT JOIN kie_models AS known USING (kie_model)
 WHERE known.kie_model IS NULL OR known.checked_at < now() - make_interval(secs => $2)
    OR known.catalog_fingerprint <> $3::text;

-- name: record_kie_models
-- Stores what Kie's catalogue says, and forgets the models that no family uses any more. $1 names at
-- Kie, $2 families, $3 models of pricing (JSON lists), $4 tasks (JSON lists), $5 is listed, $6 missing
-- parts (JSON lists), $7 price texts, $8 credits in them (JSON lists of text), $9 fingerprint, $10 the
-- names of all models that families use.
WITH old AS (
    DELETE FROM kie_models WHERE kie_model <> ALL($10::text[])
)
INSERT INTO kie_models (kie_model, family, sold_as, tasks, checked_at, is_listed, missing_parts, price_text,
                        price_credits, catalog_fingerprint)
SELECT kie_model, family, ARRAY(SELECT jsonb_array_elements_text(sold_as::jsonb)),
       ARRAY(SELECT jsonb_array_elements_text(tasks::jsonb)), now(), is_listed,
       ARRAY(SELECT jsonb_array_elements_text(missing::jsonb)), price_text,
       ARRAY(SELECT jsonb_array_elements_text(credits::jsonb)::numeric), $9::text
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
              $8::text[])
    AS told (kie_model, family, sold_as, tasks, is_listed, missing, price_text, credits)
 ORDER BY kie_model
    ON CONFLICT (kie_model) DO UPDATE
   SET family = excluded.family, sold_as = excluded.sold_as, tasks = excluded.tasks, checked_at = excluded.checked_at,
       is_listed = excluded.is_listed, missing_parts = excluded.missing_parts,
       price_text = excluded.price_text, price_credits = excluded.price_credits,
       catalog_fingerprint = excluded.catalog_fingerprint;

-- name: record_kie_success_rate
-- $1 name at Kie, $2 percent of the last hour, $3 usual percent.
UPDATE kie_models SET rated_at = now(), success_percent = $2, usual_success_percent = $3
 WHERE kie_model = $1;
