-- What only a superuser may do, for a Postgres of Darkroom's own: the owner of the database, the roles
-- of sql/roles.sql, and a login for each part of Darkroom. Safe to run again; passwords are set anew.
--
-- Each login's password is a setting of the session, so that none stands in a file:
--   PGOPTIONS='-c darkroom.owner_password=... -c darkroom.api_password=...
--              -c darkroom.worker_password=... -c darkroom.admin_password=...'

DO $$
DECLARE
    one      record;
    password text;
BEGIN
    -- Not in the log of statements, whatever this server logs.
    SET LOCAL log_statement = 'none';
    SET LOCAL log_min_error_statement = 'panic';
    SET LOCAL client_min_messages = 'warning';

    FOR one IN SELECT unnest(ARRAY['darkroom_api', 'darkroom_worker', 'darkroom_pricing',
                                   'darkroom_billing', 'darkroom_readonly', 'darkroom_service',
                                   'darkroom_admin']) AS name LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one.name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', one.name);
        END IF;
    END LOOP;
    GRANT darkroom_api, darkroom_worker TO darkroom_service;
    GRANT darkroom_pricing, darkroom_billing, darkroom_readonly TO darkroom_admin;

    -- The owner makes tables and functions, and no roles.
    FOR one IN SELECT * FROM (VALUES
        ('darkroom_owner', NULL, 'darkroom.owner_password'),
        ('darkroom_api_login', 'darkroom_api', 'darkroom.api_password'),
        ('darkroom_worker_login', 'darkroom_worker', 'darkroom.worker_password'),
        ('darkroom_admin_login', 'darkroom_admin', 'darkroom.admin_password')
    ) AS login (name, role, setting) LOOP
        password := current_setting(one.setting);
        IF length(password) < 16 THEN
            RAISE EXCEPTION '% must have at least 16 characters', one.setting;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one.name) THEN
            EXECUTE format('CREATE ROLE %I', one.name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L',
                       one.name, password);
        IF one.role IS NOT NULL THEN
            EXECUTE format('GRANT %I TO %I', one.role, one.name);
        END IF;
    END LOOP;

    EXECUTE format('ALTER DATABASE %I OWNER TO darkroom_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO darkroom_api, darkroom_worker, darkroom_pricing,
                        darkroom_billing, darkroom_readonly', current_database());
    -- Who locks rows for long, and whether a worker is connected, is read from other logins' sessions.
    GRANT pg_read_all_stats TO darkroom_api, darkroom_worker;
END $$;
