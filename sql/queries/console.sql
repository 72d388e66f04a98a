-- Logins to the console. Nothing but find_session reads by the hash of a token.

-- name: open_session
-- $1 id, $2 SHA-256 of the token, $3 prefix of the key, $4 seconds until it expires, $5 address,
-- $6 user agent, $7 who (JSON text).
SELECT id FROM darkroom_open_session($1, $2, $3, $4, $5, $6, $7::text::jsonb);

-- name: find_session
-- The session of a token, while its key holds. $1 SHA-256 of the token, $2 seconds without a request
-- after which it has ended.
SELECT session.id, key.prefix, key.role, session.expires_at,
       session.last_seen_at < now() - interval '60 seconds' AS is_stale
  FROM console_sessions AS session JOIN api_keys AS key ON key.id = session.key_id
 WHERE session.token_sha256 = $1 AND session.ended_at IS NULL AND session.expires_at > now()
   AND session.last_seen_at > now() - make_interval(secs => $2) AND key.revoked_at IS NULL;

-- name: note_session_seen
-- $1 id.
UPDATE console_sessions SET last_seen_at = now()
 WHERE id = $1 AND last_seen_at < now() - interval '60 seconds'
RETURNING id;

-- name: list_sessions
-- Newest first: those that hold, or all of the last 30 days. $1 seconds without a request after which
-- one has ended, $2 prefix of a key or null for all, $3 whether to list the ended ones too, $4 how many.
SELECT session.id, key.prefix, key.role, key.name AS key_name, session.created_at,
       session.last_seen_at, session.expires_at, session.address, session.user_agent,
       session.ended_at, session.ended_by,
       session.ended_at IS NULL AND session.expires_at > now() AND key.revoked_at IS NULL
       AND session.last_seen_at > now() - make_interval(secs => $1) AS is_open
  FROM console_sessions AS session JOIN api_keys AS key ON key.id = session.key_id
 WHERE ($2::text IS NULL OR key.prefix = $2)
   AND ($3::boolean OR (session.ended_at IS NULL AND session.expires_at > now()
                        AND key.revoked_at IS NULL
                        AND session.last_seen_at > now() - make_interval(secs => $1)))
 ORDER BY session.created_at DESC, session.id DESC
 LIMIT $4;

-- name: end_session
-- $1 id, $2 who (JSON text), $3 prefix of a key or null for all. Returns it as list_sessions does.
SELECT session.id, key.prefix, key.role, key.name AS key_name, session.created_at,
       session.last_seen_at, session.expires_at, session.address, session.user_agent,
       session.ended_at, session.ended_by, false AS is_open
  FROM darkroom_end_session($1, $2::text::jsonb, $3) AS session
  JOIN api_keys AS key ON key.id = session.key_id;

-- name: login_wait
-- For how many seconds a login is refused because others have failed; null: it is not. $1 the network,
-- $2 the seconds in which failures count, $3 how many of a network are allowed, $4 how many in all.
SELECT ceil(extract(epoch FROM max(at) + make_interval(secs => $2) - clock_timestamp()))::integer
           AS seconds
  FROM ((SELECT at FROM login_failures WHERE network = $1
          ORDER BY at DESC OFFSET $3::integer - 1 LIMIT 1)
        UNION ALL
        (SELECT at FROM login_failures ORDER BY at DESC OFFSET $4::integer - 1 LIMIT 1)) AS last_allowed
 WHERE at > clock_timestamp() - make_interval(secs => $2);

-- name: record_login_failure
-- $1 network, $2 address, $3 user agent, $4 why it was refused, $5 prefix of the key, $6 from where
-- (JSON text).
SELECT darkroom_record_login_failure($1, $2, $3, $4, $5, $6::text::jsonb) AS id;
