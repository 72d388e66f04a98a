-- Operators' acts: who is about to act, and what was noted.

-- name: say_who
-- Who acts in the rest of this transaction. $1 who (JSON text), $2 the name in it.
SELECT set_config('darkroom.context', $1, true), set_config('darkroom.actor', $2, true);

-- name: list_audit
-- Newest first. Each null: any. $1 act, $2 account id, $3 job id, $4 who (the actor, the login or the
-- key), $5 only ids below this, $6 limit.
SELECT id, at, act, actor, via, key_prefix, key_role, os_user, origin, database_role,
       host(client_address) AS client_address, account_id, job_id, subject, before, after, reason
  FROM audit_entries
 WHERE ($1::text IS NULL OR act = $1) AND ($2::text IS NULL OR account_id = $2)
   AND ($3::uuid IS NULL OR job_id = $3)
   AND ($4::text IS NULL OR $4 IN (actor, database_role, key_prefix))
   AND ($5::bigint IS NULL OR id < $5)
 ORDER BY id DESC LIMIT $6;

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
