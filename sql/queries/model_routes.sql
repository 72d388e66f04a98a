-- The routes of models: chosen by operators, read by workers and callers.

-- name: route_model
-- $1 model, $2 family, $3 reason or null, $4 who (JSON text).
SELECT * FROM darkroom_route_model($1, $2, $3, $4::text::jsonb);

-- name: newest_routes
-- The row in force of each model that ever had one; via is the model itself where it was taken back.
SELECT DISTINCT ON (model) id, model, via, reason, routed_by, routed_at,
       extract(epoch FROM now() - routed_at)::double precision AS age_seconds
  FROM model_routes ORDER BY model, id DESC;

-- name: end_route_waits
-- $1 model.
SELECT darkroom_end_route_waits($1) AS ended;

-- name: record_route_unfit
SELECT * FROM darkroom_record_route_unfit($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: due_jobs_of_model
-- A page of the chosen jobs of a model that are due. $1 model, $2 due_at and $3 id after which to
-- begin, $4 limit.
SELECT id, due_at, extract(epoch FROM due_at - now())::double precision AS due_in_seconds
  FROM chosen_jobs JOIN jobs ON id = job_id
 WHERE state = 'queued' AND model = $1 AND due_at <= now() AND (due_at, id) > ($2, $3)
 ORDER BY due_at, id LIMIT $4;

-- name: queued_shapes
-- The queued jobs of a model by the shape of their requests, and what they hold. Prompts and URLs are
-- replaced, because only whether they are there matters. $1 model.
SELECT task, shape, count(*) AS jobs, sum(credits_quoted) AS credits_held
  FROM (SELECT task, credits_quoted,
               request
               || CASE WHEN jsonb_typeof(request -> 'prompt') = 'string'
                       THEN '{"prompt": "x"}'::jsonb ELSE '{}' END
               || CASE WHEN jsonb_typeof(request -> 'mask_url') = 'string'
                       THEN '{"mask_url": "https://example.com/x.png"}'::jsonb ELSE '{}' END
               || CASE WHEN jsonb_typeof(request -> 'image_urls') = 'array'
                       THEN jsonb_build_object('image_urls', array_to_json(array_fill(
                                'https://example.com/x.png'::text,
                                ARRAY[jsonb_array_length(request -> 'image_urls')])))
                       ELSE '{}' END AS shape
          FROM jobs WHERE state = 'queued' AND model = $1) AS queued
 GROUP BY task, shape;
