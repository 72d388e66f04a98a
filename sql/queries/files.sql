-- Uploaded images.

-- name: account_exists
-- $1 account: a row where it exists.
SELECT 1 AS found FROM accounts WHERE id = $1;

-- name: find_file_of_content
-- $1 account, $2 SHA-256, $3 seconds for which it must be served at least.
SELECT id, account_id, sha256, bytes, content_type, width, height, url, created_at, expires_at
  FROM files
 WHERE account_id = $1 AND sha256 = $2 AND expires_at > now() + make_interval(secs => $3);

-- name: record_file
-- Stores a file, or its new URL where the URL that is stored ends within $10 seconds. Two uploads of
-- the same bytes at once get the same row. $1 id, $2 account, $3 SHA-256, $4 bytes, $5 type, $6 width,
-- $7 height, $8 url, $9 seconds for which it is served.
INSERT INTO files AS file
       (id, account_id, sha256, bytes, content_type, width, height, url, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))
    ON CONFLICT (account_id, sha256) DO UPDATE
   SET url = CASE WHEN file.expires_at > now() + make_interval(secs => $10)
                  THEN file.url ELSE EXCLUDED.url END,
       former_urls = CASE WHEN file.expires_at > now() + make_interval(secs => $10)
                          THEN file.former_urls
                          ELSE (file.former_urls || file.url)[greatest(cardinality(file.former_urls) - 398, 1):] END,
       expires_at = CASE WHEN file.expires_at > now() + make_interval(secs => $10)
                         THEN file.expires_at ELSE EXCLUDED.expires_at END
RETURNING id, account_id, sha256, bytes, content_type, width, height, url, created_at, expires_at;

-- name: file_by_id
-- $1 id.
SELECT id, account_id, sha256, bytes, content_type, width, height, url, created_at, expires_at
  FROM files WHERE id = $1;

-- name: url_of_file_in_job
-- $1 account, $2 idempotency key, $3 file: the URL by which the job of the key names the file, if it does.
SELECT image.url
  FROM files, jobs, LATERAL (
       SELECT value #>> '{}' FROM jsonb_path_query(jobs.request, 'lax $.image_urls[*]') AS value
        UNION ALL SELECT jobs.request ->> 'mask_url') AS image (url)
 WHERE jobs.account_id = $1 AND jobs.idempotency_key = $2 AND files.id = $3
   AND files.account_id = jobs.account_id
   AND (image.url = files.url OR image.url = ANY (files.former_urls))
 LIMIT 1;

-- name: files_by_url
-- $1 account, $2 URLs: the files that have or had one of them.
SELECT id, url, former_urls, expires_at, expires_at <= now() AS is_expired
  FROM files
 WHERE account_id = $1 AND (url = ANY ($2::text[]) OR former_urls && $2::text[]);

-- name: files_to_renew
-- The files that end within $1 seconds and that a queued job names, those that end first first. $2 at
-- most so many. Without a file that ends, no job is read.
WITH ending AS MATERIALIZED (
    SELECT id, account_id, url, content_type, unnest(former_urls || url) AS named, expires_at
      FROM files
     WHERE expires_at > now() AND expires_at <= now() + make_interval(secs => $1)
)
SELECT ending.id, ending.url, ending.content_type
  FROM ending
 WHERE EXISTS (SELECT FROM ending)
   AND (ending.account_id, ending.named) IN (
       SELECT jobs.account_id, image.url
         FROM jobs, LATERAL (
              SELECT value #>> '{}' FROM jsonb_path_query(jobs.request, 'lax $.image_urls[*]') AS value
               UNION ALL SELECT jobs.request ->> 'mask_url') AS image (url)
        WHERE jobs.state = 'queued' AND jobs.task = 'image-to-image')
 GROUP BY ending.id, ending.url, ending.content_type, ending.expires_at
 ORDER BY ending.expires_at LIMIT $2;

-- name: renew_file
-- $1 id, $2 the URL that is replaced, $3 the new URL, $4 seconds for which it is served. No row back:
-- another process has replaced it.
UPDATE files
   SET url = $3, expires_at = now() + make_interval(secs => $4),
       former_urls = (former_urls || url)[greatest(cardinality(former_urls) - 398, 1):]
 WHERE id = $1 AND url = $2
RETURNING id;

-- name: prune_files
-- $1 days after the end of a file. Returns how many rows were deleted.
WITH deleted AS (
    DELETE FROM files WHERE expires_at < now() - make_interval(days => $1) RETURNING 1
)
SELECT count(*) AS files FROM deleted;
