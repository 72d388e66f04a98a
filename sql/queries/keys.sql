-- API keys. Nothing but find_key reads the hash.

-- name: create_key
-- $1 id, $2 prefix, $3 SHA-256 of the whole key, $4 role, $5 account id or null, $6 what it is for
-- or null, $7 who (JSON text).
SELECT id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at
  FROM darkroom_create_key($1, $2, $3, $4, $5, $6, $7::text::jsonb);

-- name: list_keys
-- Those that hold, then the revoked ones; newest first. $1 account id, or null for all keys.
SELECT id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at
  FROM api_keys
 WHERE $1::text IS NULL OR account_id = $1
 ORDER BY revoked_at IS NOT NULL, created_at DESC, id DESC;

-- name: revoke_key
-- Revokes once; again, it changes nothing. $1 prefix or null, $2 id or null, $3 who (JSON text).
SELECT id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at
  FROM darkroom_revoke_key($1, $2, $3::text::jsonb);

-- name: find_key
-- $1 prefix.
SELECT secret_sha256, role, account_id, revoked_at IS NOT NULL AS is_revoked
  FROM api_keys WHERE prefix = $1;

-- name: any_key_exists
-- Whether a key was ever created: revoked ones count.
SELECT EXISTS (SELECT FROM api_keys) AS is_there;

-- name: ended_keys
-- Those of some keys that are revoked. $1 prefixes, $2 whether to say (as null) that any key exists.
SELECT prefix FROM api_keys WHERE prefix = ANY($1::text[]) AND revoked_at IS NOT NULL
UNION ALL
SELECT NULL WHERE $2::boolean AND EXISTS (SELECT FROM api_keys);

-- name: note_key_uses
-- Moves the last use forward, by no less than $3 seconds. $1 prefixes, $2 how many seconds ago each
-- was last used.
UPDATE api_keys SET last_used_at = use.at
  FROM (SELECT prefix, now() - make_interval(secs => seconds_ago) AS at
          FROM unnest($1::text[], $2::double precision[]) AS told (prefix, seconds_ago)) AS use
 WHERE api_keys.prefix = use.prefix
   AND (last_used_at IS NULL OR last_used_at <= use.at - make_interval(secs => $3))
RETURNING api_keys.prefix;
