-- Copies of images: the calls of sql/functions/job_images.sql, and what is read of them.

-- name: claim_images
SELECT * FROM darkroom_claim_images($1, $2);

-- name: record_image_stored
SELECT * FROM darkroom_record_image_stored($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: record_image_failed
SELECT * FROM darkroom_record_image_failed($1, $2, $3, $4, $5);

-- name: waiting_images
-- How many images wait to be copied, and the age of the oldest.
SELECT count(*) AS images,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::double precision AS oldest_seconds
  FROM job_images WHERE state = 'waiting';

-- name: find_image
-- $1 job id, $2 position.
SELECT kie_url, key, content_type, sha256, bytes, pruned_at FROM job_images
 WHERE job_id = $1 AND position = $2;

-- name: announce_overdue_images
SELECT * FROM darkroom_announce_overdue_images($1);

-- name: old_images
-- What a prune would delete. $1 age in seconds, from which a copy is old. `left_over`: of earlier runs.
WITH due AS (SELECT now() - make_interval(secs => $1) AS stored_before)
SELECT due.stored_before, count(image.job_id) AS images, count(DISTINCT image.job_id) AS jobs,
       coalesce(sum(image.bytes), 0)::bigint AS bytes,
       (SELECT count(*) FROM job_images WHERE state = 'pruned' AND deleted_at IS NULL) AS left_over
  FROM due LEFT JOIN job_images AS image
    ON image.state = 'stored' AND image.stored_at < due.stored_before
 GROUP BY due.stored_before;

-- name: newest_stored_images
-- $1 limit.
SELECT key FROM job_images WHERE state = 'stored' ORDER BY stored_at DESC LIMIT $1;

-- name: prune_images
-- $1 time, $2 limit, $3 who (JSON text).
SELECT * FROM darkroom_prune_images($1, $2, $3::text::jsonb);

-- name: images_to_delete
-- Pruned images that are still in the store. $1 limit.
SELECT job_id, position, key FROM job_images
 WHERE state = 'pruned' AND deleted_at IS NULL ORDER BY pruned_at LIMIT $1;

-- name: record_images_deleted
SELECT darkroom_record_images_deleted($1, $2) AS deleted;

-- name: retry_images
-- $1 job ids or null, $2 a filter of jobs (JSON text) or null, $3 when the act began, $4 limit, $5 who (JSON
-- text).
SELECT * FROM darkroom_retry_images($1::uuid[], $2::text::jsonb, $3, $4, $5::text::jsonb);

-- name: expired_images
-- How many images were never copied, and Kie has deleted them. $1 job ids or null, $2 a filter of jobs (JSON
-- text) or null.
SELECT now() AS since, count(*) AS images
  FROM job_images AS image JOIN jobs ON jobs.id = image.job_id
 WHERE image.state IN ('failed', 'waiting') AND image.expires_at <= now()
   AND ($1::uuid[] IS NULL OR image.job_id = ANY($1::uuid[]))
   AND ($2::text IS NULL OR darkroom_job_matches(jobs, $2::text::jsonb));
