-- The roles. Applied before the functions, and again where the server has other roles of Darkroom than
-- the last time. What each may do is in rights.sql. Logins are the operator's to make, each a member of
-- one of these:
--
--   darkroom_api       the HTTP API, and whoever enqueues by the Python package
--   darkroom_worker    workers
--   darkroom_pricing   who sets prices, by UPDATE of pricing
--   darkroom_billing   who opens accounts, grants credits and makes API keys
--   darkroom_readonly  who looks: no prompts, no images, no secrets
--   darkroom_service   darkroom_api and darkroom_worker in one
--   darkroom_admin     darkroom_pricing, darkroom_billing and darkroom_readonly in one
--
-- Where roles cannot be made (some managed servers), this says so and goes on.

DO $$
DECLARE
    wanted text;
    one    record;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['darkroom_api', 'darkroom_worker', 'darkroom_pricing',
        'darkroom_billing', 'darkroom_readonly', 'darkroom_service', 'darkroom_admin'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- roles belong to the whole server: another database has just made it
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role % was not created: %', wanted, SQLERRM;
        END;
    END LOOP;
    FOR one IN
        SELECT whole.rolname AS whole, part.rolname AS part
          FROM (VALUES ('darkroom_service', 'darkroom_api'), ('darkroom_service', 'darkroom_worker'),
                       ('darkroom_admin', 'darkroom_pricing'), ('darkroom_admin', 'darkroom_billing'),
                       ('darkroom_admin', 'darkroom_readonly')) AS member (whole, part)
          JOIN pg_roles AS whole ON whole.rolname = member.whole
          JOIN pg_roles AS part ON part.rolname = member.part
         WHERE NOT EXISTS (SELECT FROM pg_auth_members
                            WHERE pg_auth_members.member = whole.oid AND roleid = part.oid)
    LOOP
        BEGIN
            EXECUTE format('GRANT %I TO %I', one.part, one.whole);
        EXCEPTION
            WHEN unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role % was not made a member of %: %', one.whole, one.part, SQLERRM;
        END;
    END LOOP;
END $$;
