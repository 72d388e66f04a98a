-- What the roles of Darkroom may do.

-- name: list_rights
-- Every right of a role of sql/roles.sql in this database, as GRANT writes it.
WITH home (oid) AS (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('darkroom_migrations')
), ours AS (
    SELECT oid, rolname FROM pg_roles
     WHERE rolname IN ('darkroom_api', 'darkroom_worker', 'darkroom_pricing', 'darkroom_billing',
                       'darkroom_readonly', 'darkroom_service', 'darkroom_admin')
), found AS (
    SELECT ours.rolname, acl.privilege_type || ' ON ' || relname AS privilege
      FROM pg_class CROSS JOIN aclexplode(relacl) AS acl JOIN ours ON ours.oid = acl.grantee
     WHERE relnamespace = (SELECT oid FROM home)
    UNION ALL
    SELECT ours.rolname, format('%s (%s) ON %s', acl.privilege_type,
                                string_agg(attname, ', ' ORDER BY attnum), relname)
      FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
     CROSS JOIN aclexplode(attacl) AS acl JOIN ours ON ours.oid = acl.grantee
     WHERE relnamespace = (SELECT oid FROM home)
     GROUP BY ours.rolname, acl.privilege_type, relname
    UNION ALL
    SELECT ours.rolname, format('EXECUTE ON FUNCTION %s', pg_proc.oid::regprocedure)
      FROM pg_proc CROSS JOIN aclexplode(proacl) AS acl JOIN ours ON ours.oid = acl.grantee
     WHERE pronamespace = (SELECT oid FROM home)
)
SELECT coalesce(array_agg(rolname || ' ' || privilege ORDER BY rolname, privilege), '{}') AS rights
  FROM found;

-- name: rights_as_applied
-- The rights that sql/rights.sql gave when it was last applied.
SELECT rights FROM darkroom_definitions WHERE name = 'rights';

-- name: logins_without_their_role
-- The logins by which a process of Darkroom is connected that are no member of the role for it, and the
-- login of this session unless it is a member of either. The owner of the tables needs none.
WITH session AS (
    SELECT DISTINCT usename AS login, CASE application_name WHEN 'darkroom-worker' THEN 'darkroom_worker'
                                                   ELSE 'darkroom_api' END AS role
      FROM pg_stat_activity
     WHERE datname = current_database() AND usename IS NOT NULL
       AND application_name IN ('darkroom-worker', 'darkroom-api', 'darkroom-producer')
    UNION
    SELECT current_user, 'darkroom_worker'
     WHERE NOT coalesce((SELECT pg_has_role(current_user, oid, 'usage') FROM pg_roles
                          WHERE rolname = 'darkroom_api'), false)
)
SELECT login, role, EXISTS (SELECT FROM pg_roles WHERE rolname = session.role) AS is_there
  FROM session
 WHERE NOT pg_has_role(login, (SELECT relowner FROM pg_class WHERE oid = 'jobs'::regclass),
                       'usage')
   -- By oid, so that a server without that role is asked nothing it would refuse.
   AND NOT coalesce((SELECT pg_has_role(session.login, oid, 'usage') FROM pg_roles
                      WHERE rolname = session.role), false)
 ORDER BY login, role;

-- name: migration_lock_holders
-- Who holds the lock of migrations in this database. $1 is its key.
SELECT pid FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND objsubid = 1
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32) + objid::bigint = $1::bigint
 ORDER BY pid;
