-- What the roles of producers and workers may do.

-- name: missing_privileges
-- What the role of this session, and each role by which a worker, an API or a producer is connected,
-- lacks of what they need. A needed column of null means the whole table. What is granted to
-- darkroom_service is what is needed; a test holds both equal.
WITH needed (kind, name, privilege, columns) AS (
    VALUES
        ('schema', 'public', 'usage', NULL::text[]),
        ('function', 'darkroom_refuse_credits(text,numeric)', 'execute', NULL),
        ('function', 'darkroom_webhook_endpoint(text)', 'execute', NULL),
        ('function', 'darkroom_new_webhook_secret()', 'execute', NULL),
        ('function', 'darkroom_require_webhook_endpoint(text,text)', 'execute', NULL),
        ('function', 'grant_credits(text,numeric,text,boolean,jsonb)', 'execute', NULL),
        ('function', 'darkroom_create_account(text,numeric,jsonb)', 'execute', NULL),
        ('function', 'darkroom_set_price(text,text,integer,numeric,text,jsonb)', 'execute', NULL),
        ('function', 'darkroom_cancel_job(uuid,jsonb)', 'execute', NULL),
        ('function', 'darkroom_record_resolution(uuid,integer,text,text,text,jsonb)', 'execute', NULL),
        ('function', 'darkroom_create_webhook_endpoint(text,text,jsonb)', 'execute', NULL),
        ('function', 'darkroom_rotate_webhook_secret(text,text,double precision,jsonb)', 'execute',
         NULL),
        ('function', 'darkroom_replay_webhooks(uuid,text,integer,jsonb)', 'execute', NULL),
        ('table', 'accounts', 'select', NULL),
        ('table', 'accounts', 'insert', '{id}'),
        ('table', 'accounts', 'update', '{balance,held}'),
        ('table', 'api_keys', 'select', NULL),
        ('table', 'api_keys', 'update', '{last_used_at}'),
        ('table', 'audit_entries', 'select', NULL),
        ('table', 'callback_inbox', 'select', NULL),
        ('table', 'callback_inbox', 'insert', NULL),
        ('table', 'callback_inbox', 'update', NULL),
        ('table', 'completion_times', 'select', NULL),
        ('table', 'completion_times', 'insert', NULL),
        ('table', 'completion_times', 'update', NULL),
        ('table', 'completion_times', 'delete', NULL),
        ('table', 'darkroom_migrations', 'select', NULL),
        ('table', 'installation', 'select', NULL),
        ('table', 'job_attempts', 'select', NULL),
        ('table', 'job_attempts', 'insert', NULL),
        ('table', 'job_attempts', 'update', NULL),
        ('table', 'job_events', 'select', NULL),
        ('table', 'job_events', 'insert', NULL),
        ('table', 'jobs', 'select', NULL),
        ('table', 'jobs', 'insert', NULL),
        ('table', 'jobs', 'update', NULL),
        ('table', 'late_tasks', 'select', NULL),
        ('table', 'late_tasks', 'insert', NULL),
        ('table', 'late_tasks', 'update', NULL),
        ('table', 'ledger_entries', 'select', NULL),
        ('table', 'ledger_entries', 'insert', NULL),
        ('table', 'pricing', 'select', NULL),
        ('table', 'pricing_history', 'select', NULL),
        ('table', 'processes', 'select', NULL),
        ('table', 'processes', 'insert', NULL),
        ('table', 'processes', 'update', NULL),
        ('table', 'processes', 'delete', NULL),
        ('table', 'provider_balance_checks', 'select', NULL),
        ('table', 'provider_balance_checks', 'insert', NULL),
        ('table', 'webhook_endpoints', 'select', NULL),
        ('table', 'webhook_endpoints', 'insert', NULL),
        ('table', 'webhook_endpoints', 'update',
         '{secret,previous_secret,previous_secret_until,rotated_at}'),
        ('table', 'webhook_messages', 'select', NULL),
        ('table', 'webhook_messages', 'insert', NULL),
        ('table', 'webhook_messages', 'update',
         '{state,tries,next_try_at,retry_until,last_try_at,last_status,last_error,delivered_at,replayed_at}')
), roles AS (
    SELECT current_user AS role
    UNION
    SELECT usename FROM pg_stat_activity
     WHERE datname = current_database() AND usename IS NOT NULL
       AND application_name IN ('darkroom-worker', 'darkroom-api', 'darkroom-producer')
), checked AS (
    -- The role that is granted to members is looked at as well, to say where to mend it.
    SELECT role FROM roles UNION SELECT rolname FROM pg_roles WHERE rolname = 'darkroom_service'
), lacking AS (
    SELECT checked.role, needed.kind, needed.name, needed.privilege, needed.columns
      FROM checked CROSS JOIN needed
     WHERE NOT CASE needed.kind
           WHEN 'schema' THEN has_schema_privilege(checked.role, needed.name, needed.privilege)
           WHEN 'function' THEN has_function_privilege(checked.role, needed.name, needed.privilege)
           ELSE CASE WHEN needed.columns IS NULL
                THEN has_table_privilege(checked.role, needed.name, needed.privilege)
                ELSE (SELECT bool_and(has_column_privilege(
                                 checked.role, needed.name, one, needed.privilege))
                        FROM unnest(needed.columns) AS one)
                END
           END
)
SELECT lacking.role,
       concat(upper(lacking.privilege),
              ' (' || array_to_string(lacking.columns, ', ') || ')',
              ' ON ', CASE WHEN lacking.kind <> 'table' THEN upper(lacking.kind) || ' ' END,
              lacking.name) AS privilege,
       EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service')
       AND NOT EXISTS (SELECT FROM lacking AS of_service
                        WHERE of_service.role = 'darkroom_service'
                          AND of_service.kind = lacking.kind AND of_service.name = lacking.name
                          AND of_service.privilege = lacking.privilege) AS service_has_it,
       -- By oid, so that a server without that role is asked nothing it would refuse.
       coalesce((SELECT pg_has_role(lacking.role, oid, 'usage') FROM pg_roles
                  WHERE rolname = 'darkroom_service'), false) AS is_member
  FROM lacking JOIN roles USING (role)
 ORDER BY lacking.role, lacking.kind, lacking.name, lacking.privilege;
