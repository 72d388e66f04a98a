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
-- login of this session unless it is a member of either, or may look at least. The owner of the tables needs
-- none. A command and a service that enqueues have one name of application: people look, and change prices
-- and credits, as members of other roles.
WITH session AS (
    SELECT DISTINCT usename AS login, CASE application_name WHEN 'darkroom-worker' THEN 'darkroom_worker'
                                                   ELSE 'darkroom_api' END AS role,
           application_name = 'darkroom-producer' AS is_command
      FROM pg_stat_activity
     WHERE datname = current_database() AND usename IS NOT NULL
       AND application_name IN ('darkroom-worker', 'darkroom-api', 'darkroom-producer')
    UNION
    SELECT current_user, 'darkroom_worker', false
     WHERE NOT EXISTS (SELECT FROM pg_roles
                        WHERE rolname IN ('darkroom_api', 'darkroom_readonly')
                          AND pg_has_role(current_user, oid, 'usage'))
)
SELECT login, role, EXISTS (SELECT FROM pg_roles WHERE rolname = session.role) AS is_there
  FROM session
 WHERE NOT pg_has_role(login, (SELECT relowner FROM pg_class WHERE oid = 'jobs'::regclass),
                       'usage')
   -- By oid, so that a server without that role is asked nothing it would refuse.
   AND NOT coalesce((SELECT pg_has_role(session.login, oid, 'usage') FROM pg_roles
                      WHERE rolname = session.role), false)
   AND NOT (is_command AND EXISTS (
               SELECT FROM pg_roles
                WHERE rolname IN ('darkroom_readonly', 'darkroom_pricing', 'darkroom_billing')
                  AND pg_has_role(session.login, oid, 'usage')))
 ORDER BY login, role;

-- name: migration_lock_holders
-- Who holds the lock of migrations in this database. $1 is its key.
SELECT pid FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND objsubid = 1
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32) + objid::bigint = $1::bigint
 ORDER BY pid;

-- name: missing_rights
-- What this login lacks to migrate, each with the statement of an administrator. $1 the schema.
WITH target AS (
    SELECT $1::text AS name, (SELECT oid FROM pg_namespace WHERE nspname = $1) AS oid,
           has_database_privilege(current_database(), 'CREATE') AS may_create
)
SELECT format('%s may not create tables in schema %I', current_user, name) AS lack,
       format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', name, current_user) AS statement
  FROM target
 WHERE oid IS NOT NULL
   AND NOT (has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE'))
 UNION ALL
SELECT format('schema %I does not exist', name),
       format('CREATE SCHEMA %I AUTHORIZATION %I;', name, current_user)
  FROM target WHERE oid IS NULL AND NOT may_create
 UNION ALL
SELECT format('%s does not own the tables of Darkroom, which are those of %s', current_user, owner),
       format('GRANT %I TO %I;', owner, current_user)
  FROM (SELECT DISTINCT relowner, pg_get_userbyid(relowner) AS owner
          FROM pg_class JOIN target ON target.oid = relnamespace
         WHERE relname IN ('darkroom_migrations', 'darkroom_definitions', 'jobs', 'accounts')) AS table_owner
 WHERE NOT pg_has_role(relowner, 'USAGE')
 UNION ALL
SELECT format('the language %s cannot be used', wanted.name),
       CASE WHEN lanname IS NULL THEN format('CREATE EXTENSION %I;', wanted.name)
            ELSE format('GRANT USAGE ON LANGUAGE %I TO %I;', lanname, current_user) END
  FROM (VALUES ('plpgsql')) AS wanted (name) LEFT JOIN pg_language ON lanname = wanted.name
 WHERE lanname IS NULL OR NOT has_language_privilege(pg_language.oid, 'USAGE')
 UNION ALL
SELECT CASE WHEN found.name IS NULL THEN format('the server has no extension %s: install its package of'
                                                ' contributed extensions (postgresql-contrib) first', wanted.name)
            ELSE format('extension %s is missing', wanted.name) END,
       format('CREATE EXTENSION %I;', wanted.name)
  FROM target CROSS JOIN (VALUES ('btree_gist')) AS wanted (name)
  LEFT JOIN (SELECT name, bool_or(trusted) AS is_trusted
               FROM pg_available_extension_versions GROUP BY name) AS found ON found.name = wanted.name
 WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted.name)
   AND (found.name IS NULL
        OR NOT (found.is_trusted AND may_create)
           AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user));

-- name: missing_roles
-- What the roles of sql/roles.sql lack, as the statements of an administrator. $1 the schema.
WITH part AS (
    SELECT * FROM (VALUES ('darkroom_service', 'darkroom_api'), ('darkroom_service', 'darkroom_worker'),
                          ('darkroom_admin', 'darkroom_pricing'), ('darkroom_admin', 'darkroom_billing'),
                          ('darkroom_admin', 'darkroom_readonly')) AS one (whole, name)
), wanted AS (
    SELECT names.name, pg_roles.oid
      FROM (SELECT whole AS name FROM part UNION SELECT name FROM part) AS names
      LEFT JOIN pg_roles ON rolname = names.name
)
SELECT statement
  FROM (SELECT 1 AS step, format('CREATE ROLE %I NOLOGIN;', name) AS statement
          FROM wanted WHERE oid IS NULL
         UNION ALL
        SELECT 2, format('GRANT %s TO %I;', string_agg(quote_ident(part.name), ', ' ORDER BY part.name), part.whole)
          FROM part JOIN wanted AS one ON one.name = part.name JOIN wanted AS whole ON whole.name = part.whole
         WHERE NOT EXISTS (SELECT FROM pg_auth_members
                            WHERE roleid = one.oid AND pg_auth_members.member = whole.oid)
         GROUP BY part.whole
         UNION ALL
        SELECT 3, format('GRANT USAGE ON SCHEMA %I TO %s;', $1::text,
                         string_agg(quote_ident(name), ', ' ORDER BY name))
          FROM wanted
         WHERE oid IS NULL AND NOT EXISTS (
                   SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
                    WHERE nspname = $1 AND grantee = 0 AND privilege_type = 'USAGE')
            OR oid IS NOT NULL AND NOT has_schema_privilege(oid, $1::text, 'USAGE')
        HAVING count(*) > 0) AS list
 ORDER BY step, statement;
