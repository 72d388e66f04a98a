-- Webhooks out: what the worker sends, and what operators look at. The messages themselves are
-- written by a trigger of the statement that ends the job.

-- name: webhook_to_send
-- A message with its job and its secrets. $1 message id. Every try tells the same: late images stand
-- in the message about them and in no other.
SELECT jobs.*, late.result_urls AS message_late_result_urls, message.id AS message_id,
       message.job_id AS message_job_id, message.account_id AS message_account_id,
       message.event AS message_event, message.url AS message_url, message.created_at AS message_created_at, message.tries,
       message.next_try_at, message.retry_until, endpoint.url AS endpoint_url, endpoint.secret,
       CASE WHEN endpoint.previous_secret_until > now() THEN endpoint.previous_secret END
           AS previous_secret,
       account.secret AS account_secret,
       CASE WHEN account.previous_secret_until > now() THEN account.previous_secret END
           AS previous_account_secret
  FROM webhook_messages AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
  LEFT JOIN webhook_account_secrets AS account ON account.account_id = message.account_id
  JOIN jobs ON jobs.id = message.job_id
  LEFT JOIN late_tasks AS late
    ON late.job_id = message.job_id AND late.provider_task_id = message.provider_task_id
   AND late.outcome = 'delivered'
 WHERE message.id = $1 AND message.state = 'pending';

-- name: webhook_to_try
-- The same message without its job, of which a value cannot be read here. $1 message id.
SELECT message.id AS message_id, message.job_id AS message_job_id,
       message.account_id AS message_account_id, message.event AS message_event,
       message.url AS message_url, message.created_at AS message_created_at, message.tries,
       message.next_try_at, message.retry_until, endpoint.url AS endpoint_url, endpoint.secret,
       CASE WHEN endpoint.previous_secret_until > now() THEN endpoint.previous_secret END
           AS previous_secret,
       account.secret AS account_secret,
       CASE WHEN account.previous_secret_until > now() THEN account.previous_secret END
           AS previous_account_secret
  FROM webhook_messages AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
  LEFT JOIN webhook_account_secrets AS account ON account.account_id = message.account_id
 WHERE message.id = $1 AND message.state = 'pending';

-- name: record_webhook_delivered
-- With its try. $1 message id, $2 status, $3 seconds. No row back: it is not pending any more.
WITH recorded AS (
    UPDATE webhook_messages
       SET state = 'delivered', tries = tries + 1, last_try_at = now(), last_status = $2,
           last_error = NULL, delivered_at = now()
     WHERE id = $1 AND state = 'pending'
    RETURNING id
)
INSERT INTO webhook_tries (message_id, status, seconds) SELECT id, $2, $3 FROM recorded
RETURNING message_id AS id;

-- name: record_webhook_failed
-- One more try failed. $1 message id, $2 tries before this one, $3 status or null, $4 error,
-- $5 when to try again (null: it is dead), $6 seconds. No row back: somebody else has recorded a try,
-- or an operator has had it sent anew.
WITH recorded AS (
    UPDATE webhook_messages
       SET tries = tries + 1, last_try_at = now(), last_status = $3, last_error = $4,
           state = CASE WHEN $5::timestamptz IS NULL THEN 'dead' ELSE 'pending' END,
           next_try_at = coalesce($5::timestamptz, next_try_at)
     WHERE id = $1 AND state = 'pending' AND tries = $2
    RETURNING id
)
INSERT INTO webhook_tries (message_id, status, error, seconds) SELECT id, $3, $4, $6 FROM recorded
RETURNING message_id AS id;

-- name: pending_webhooks_after
-- A page of messages that should have a delivery, in the order of their due times.
-- $1 and $2 only those beyond this due time and id, $3 due within this many seconds, $4 not newer
-- than this (seconds), so that a delivery under way is not raced; $5 limit.
SELECT id, endpoint_id, next_try_at,
       extract(epoch FROM next_try_at - now())::double precision AS due_in_seconds
  FROM webhook_messages
 WHERE state = 'pending' AND (next_try_at, id) > ($1::timestamptz, $2::uuid)
   AND next_try_at <= now() + make_interval(secs => $3)
   -- A message that waits for images becomes due sooner, which an existing delivery would not.
   AND (tries > 0 OR next_try_at <= now())
   AND created_at <= now() - make_interval(secs => $4)
 ORDER BY next_try_at, id LIMIT $5;

-- name: pending_webhooks
-- How many messages wait to be taken by their receivers.
SELECT count(*) AS pending FROM webhook_messages WHERE state = 'pending';

-- name: list_webhooks
-- Newest first. $1 account id or null, $2 state or null, $3 limit, $4 job id or null, $5 only those
-- before this message or null.
SELECT message.id, message.job_id, message.account_id, message.event, message.state,
       endpoint.url AS endpoint, message.created_at, message.tries, message.next_try_at,
       message.retry_until, message.last_try_at, message.last_status, message.last_error,
       message.delivered_at, message.replayed_at
  FROM webhook_messages AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
 WHERE ($1::text IS NULL OR message.account_id = $1)
   AND ($2::text IS NULL OR message.state = $2)
   AND ($4::uuid IS NULL OR message.job_id = $4)
   AND ($5::uuid IS NULL OR (message.created_at, message.id)
                            < (SELECT created_at, id FROM webhook_messages WHERE id = $5))
 ORDER BY message.created_at DESC, message.id DESC LIMIT $3;

-- name: get_webhook
-- $1 message id.
SELECT message.id, message.job_id, message.account_id, message.event, message.state,
       endpoint.url AS endpoint, message.created_at, message.tries, message.next_try_at,
       message.retry_until, message.last_try_at, message.last_status, message.last_error,
       message.delivered_at, message.replayed_at
  FROM webhook_messages AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
 WHERE message.id = $1;

-- name: list_webhook_tries
-- The newest first, of the tries before replays as well. $1 message id, $2 limit.
SELECT at, status, error, seconds FROM webhook_tries
 WHERE message_id = $1 ORDER BY id DESC LIMIT $2;

-- name: list_webhooks_of_job
-- $1 job id: the messages about it, oldest first.
SELECT message.id, message.job_id, message.account_id, message.event, message.state,
       endpoint.url AS endpoint, message.created_at, message.tries, message.next_try_at,
       message.retry_until, message.last_try_at, message.last_status, message.last_error,
       message.delivered_at, message.replayed_at
  FROM webhook_messages AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id
 WHERE message.job_id = $1
 ORDER BY message.created_at, message.id;

-- name: replay_webhook
-- The same message anew, with another day. $1 message id, $2 who (JSON text).
SELECT message.id, message.job_id, message.account_id, message.event, message.state,
       endpoint.url AS endpoint, message.created_at, message.tries, message.next_try_at,
       message.retry_until, message.last_try_at, message.last_status, message.last_error,
       message.delivered_at, message.replayed_at
  FROM darkroom_replay_webhooks($1, NULL, 1, $2::text::jsonb) AS message
  JOIN webhook_endpoints AS endpoint ON endpoint.id = message.endpoint_id;

-- name: replay_dead_webhooks
-- The oldest dead messages of an account anew, each with another day, and each named to the
-- workers. $1 account id, $2 limit, $3 who (JSON text).
SELECT id FROM darkroom_replay_webhooks(NULL, $1, $2, $3::text::jsonb);

-- name: list_webhook_endpoints
-- Without their secrets. $1 account id or null.
SELECT id, account_id, url, created_at, rotated_at, previous_secret_until
  FROM webhook_endpoints WHERE $1::text IS NULL OR account_id = $1
 ORDER BY account_id, url;

-- name: webhook_secret
-- The secret that signs what is sent to an endpoint. $1 account id, $2 a webhook URL.
SELECT endpoint.id, endpoint.account_id, endpoint.url, endpoint.secret, endpoint.created_at,
       endpoint.rotated_at, endpoint.previous_secret_until
  FROM webhook_endpoints AS endpoint
 WHERE endpoint.account_id = $1
   AND darkroom_text_hash(endpoint.url) = darkroom_text_hash(darkroom_webhook_endpoint($2));

-- name: make_webhook_endpoint
-- $1 account id, $2 a webhook URL, $3 who (JSON text): makes its endpoint, or finds it.
SELECT darkroom_create_webhook_endpoint($1, $2, $3::text::jsonb) AS id;

-- name: rotate_webhook_secret
-- A new secret; the old one signs as well for $3 seconds. $1 account id, $2 a webhook URL, $4 who
-- (JSON text). No row back: the account has no such endpoint.
SELECT id, account_id, url, secret, created_at, rotated_at, previous_secret_until
  FROM darkroom_rotate_webhook_secret($1, $2, $3, $4::text::jsonb);

-- name: account_webhook_secret
-- $1 account id.
SELECT account_id, secret, created_at, rotated_at, previous_secret_until
  FROM webhook_account_secrets WHERE account_id = $1;

-- name: create_account_webhook_secret
-- $1 account id, $2 who (JSON text): makes its secret, or finds it.
SELECT account_id, secret, created_at, rotated_at, previous_secret_until
  FROM darkroom_create_account_secret($1, $2::text::jsonb);

-- name: rotate_account_webhook_secret
-- $1 account id, $2 for how many seconds the old one signs as well, $3 who (JSON text). No row back:
-- the account has none.
SELECT account_id, secret, created_at, rotated_at, previous_secret_until
  FROM darkroom_rotate_account_secret($1, $2, $3::text::jsonb);

-- name: revoke_account_webhook_secret
-- $1 account id, $2 who (JSON text). No row back: the account has none.
SELECT account_id, created_at, rotated_at FROM darkroom_revoke_account_secret($1, $2::text::jsonb);
