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
