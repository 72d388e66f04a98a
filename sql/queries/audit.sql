-- Operators' acts: who is about to act, and what was noted.

-- name: say_who
-- Who acts in the rest of this transaction. $1 who (JSON text), $2 the name in it.
SELECT set_config('darkroom.context', $1, true), set_config('darkroom.actor', $2, true);

-- name: list_audit
-- A page, newest first: as many entries as there may be and as fit; the first always fits. Each
-- null: any. $1 act, $2 account id, $3 job id, $4 who (the actor, the login or the key), $5 only ids
-- below this, $6 how many at most, $7 how many bytes of text. In every row: its place, and how many
-- were found, which is one more than $6 where there are more.
WITH page AS (
    SELECT id, at, act, actor, via, key_prefix, key_role, os_user, origin, database_role,
           host(client_address) AS client_address, account_id, job_id, subject, before, after, reason
      FROM audit_entries
     WHERE ($1::text IS NULL OR act = $1) AND ($2::text IS NULL OR account_id = $2)
       AND ($3::uuid IS NULL OR job_id = $3)
       AND ($4::text IS NULL OR $4 IN (actor, database_role, key_prefix))
       AND ($5::bigint IS NULL OR id < $5)
     ORDER BY id DESC LIMIT $6::bigint + 1
), sized AS (
    SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
           sum(800 + octet_length(concat(actor, subject, before::text, after::text, reason)))
               OVER newest AS bytes_so_far
      FROM page WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM sized
 WHERE place <= $6 AND (place = 1 OR bytes_so_far <= $7::bigint)
 ORDER BY id DESC;

-- name: audit_of_entries
-- Who wrote these grants and adjustments. $1 account id, $2 ledger entry ids.
SELECT substring(subject FROM '[0-9]+$')::bigint AS entry_id, actor FROM audit_entries
 WHERE account_id = $1
   AND subject IN (SELECT 'ledger_entries ' || id FROM unnest($2::bigint[]) AS id);

-- name: audit_of_job
-- $1 job id: what operators did to it, oldest first.
SELECT id, at, act, actor, via, key_prefix, key_role, os_user, origin, database_role,
       host(client_address) AS client_address, account_id, job_id, subject, before, after, reason
  FROM audit_entries WHERE job_id = $1 ORDER BY id;
