-- Who did what to prices, credits, jobs, keys and webhook secrets: one entry per act, written by the
-- statement that does it, whatever program or person sends that statement.

CREATE TABLE audit_entries (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    act            text        NOT NULL,
    actor          text        NOT NULL,
    via            text        NOT NULL,
    key_prefix     text,
    key_role       text,
    os_user        text,
    origin         text,
    database_role  text        NOT NULL DEFAULT session_user,
    client_address inet        DEFAULT inet_client_addr(),
    account_id     text,
    job_id         uuid,
    subject        text        NOT NULL,
    before         jsonb,
    after          jsonb,
    reason         text,
    CONSTRAINT act_must_be_known CHECK (act IN
        ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
         'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
         'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed')),
    CONSTRAINT via_must_be_known CHECK (via IN ('api', 'cli', 'python', 'sql'))
);
COMMENT ON TABLE audit_entries IS
    'Who did what to prices, credits, jobs, keys and webhooks. Append-only: UPDATE, DELETE and TRUNCATE are refused for every role.';
COMMENT ON COLUMN audit_entries.id IS 'Rises with each entry.';
COMMENT ON COLUMN audit_entries.at IS 'When it was done.';
COMMENT ON COLUMN audit_entries.act IS 'What was done.';
COMMENT ON COLUMN audit_entries.actor IS
    'Who did it: as one of our services names him; in any other session the login itself.';
COMMENT ON COLUMN audit_entries.via IS 'api, cli, python (a program of yours), or sql.';
COMMENT ON COLUMN audit_entries.key_prefix IS 'The API key that was presented; null elsewhere.';
COMMENT ON COLUMN audit_entries.key_role IS 'The role of that key.';
COMMENT ON COLUMN audit_entries.os_user IS
    'The user of the operating system who typed the command, as the command line states it.';
COMMENT ON COLUMN audit_entries.origin IS
    'From where: the address of the HTTP peer, or the host of the command line, as the program states it.';
COMMENT ON COLUMN audit_entries.database_role IS 'The login of the database session. Nobody can state another.';
COMMENT ON COLUMN audit_entries.client_address IS
    'The address of the database session''s client; null: a socket of this machine.';
COMMENT ON COLUMN audit_entries.account_id IS 'Whose account it concerns; null: none, or all.';
COMMENT ON COLUMN audit_entries.job_id IS 'The job it concerns.';
COMMENT ON COLUMN audit_entries.subject IS 'The row: its table and its key.';
COMMENT ON COLUMN audit_entries.before IS 'What the act changed, as it was; null: there was nothing.';
COMMENT ON COLUMN audit_entries.after IS 'What the act changed, as it is since; null: it is gone.';
COMMENT ON COLUMN audit_entries.reason IS 'Why, in the words of who did it.';
CREATE INDEX audit_entries_of_account ON audit_entries (account_id, id DESC) WHERE account_id IS NOT NULL;
CREATE INDEX audit_entries_of_job ON audit_entries (job_id, id DESC) WHERE job_id IS NOT NULL;
CREATE INDEX audit_entries_by_act ON audit_entries (act, id DESC);

CREATE TRIGGER audit_entries_are_append_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change('What was done stays on record.');
CREATE TRIGGER audit_entries_are_not_truncated BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION darkroom_refuse_change('What was done stays on record.');

-- Who acts -----------------------------------------------------------------------------------

CREATE FUNCTION darkroom_enter_act(by jsonb, why text) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before CONSTANT text[] := ARRAY[current_setting('darkroom.context', true),
                                    current_setting('darkroom.actor', true),
                                    current_setting('darkroom.reason', true)];
BEGIN
    IF by IS NOT NULL THEN
        PERFORM set_config('darkroom.context', by::text, true),
                set_config('darkroom.actor', coalesce(by ->> 'actor', ''), true);
    END IF;
    PERFORM set_config('darkroom.reason', coalesce(why, ''), true);
    RETURN before;
END $$;
COMMENT ON FUNCTION darkroom_enter_act(jsonb, text) IS
    'Says who acts and why, for the triggers that note it, until darkroom_leave_act() is given what this returns.';

CREATE FUNCTION darkroom_leave_act(before text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('darkroom.context', coalesce(before[1], ''), true),
            set_config('darkroom.actor', coalesce(before[2], ''), true),
            set_config('darkroom.reason', coalesce(before[3], ''), true);
END $$;
COMMENT ON FUNCTION darkroom_leave_act(text[]) IS
    'Ends what darkroom_enter_act() said: what follows in the same transaction is somebody else''s act.';

CREATE FUNCTION darkroom_actor() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF public.darkroom_trusts_session() THEN
        RETURN left(coalesce(nullif(current_setting('darkroom.actor', true), ''), session_user), 500);
    END IF;
    RETURN session_user;
END $$;
COMMENT ON FUNCTION darkroom_actor() IS
    'Who acts: darkroom.actor in sessions of our services and of the owner, the login in all others.';

CREATE FUNCTION darkroom_write_audit_entry(
    act text, subject text, account text, job uuid, before jsonb, after jsonb
) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_trusted CONSTANT boolean := public.darkroom_trusts_session();
    stated     jsonb;
    written    bigint;
BEGIN
    BEGIN
        stated := nullif(current_setting('darkroom.context', true), '')::jsonb;
    EXCEPTION WHEN data_exception THEN
        stated := NULL;  -- whatever the session says, the act is noted
    END;
    INSERT INTO public.audit_entries
        (act, actor, via, key_prefix, key_role, os_user, origin, account_id, job_id, subject, before,
         after, reason)
    VALUES (
        act, public.darkroom_actor(),
        -- That a key was presented is believed of our services alone.
        CASE WHEN stated ->> 'via' = 'cli' THEN 'cli'
             WHEN is_trusted AND stated ->> 'via' IN ('api', 'python') THEN stated ->> 'via'
             ELSE 'sql' END,
        CASE WHEN is_trusted THEN left(stated ->> 'key_prefix', 200) END,
        CASE WHEN is_trusted THEN left(stated ->> 'key_role', 200) END,
        left(stated ->> 'os_user', 200), left(stated ->> 'origin', 200),
        account, job, subject, before, after,
        left(nullif(current_setting('darkroom.reason', true), ''), 1000)
    ) RETURNING id INTO written;
    RETURN written;
END $$;
COMMENT ON FUNCTION darkroom_write_audit_entry(text, text, text, uuid, jsonb, jsonb) IS
    'Notes an act, with who, from where and why as far as the session says so and is believed.';

-- What is noted whoever does it --------------------------------------------------------------

CREATE FUNCTION darkroom_audit_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_price() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.price_id = OLD.price_id THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        key := format('pricing %s %s %s', OLD.model, OLD.task, OLD.quantity);
    ELSE
        key := format('pricing %s %s %s', NEW.model, NEW.task, NEW.quantity);
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        'price_changed', key, NULL, NULL,
        CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object(
            'credits', OLD.credits, 'provider_credits', OLD.provider_credits,
            'price_id', OLD.price_id) END,
        CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object(
            'credits', NEW.credits, 'provider_credits', NEW.provider_credits,
            'price_id', NEW.price_id) END);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_price() IS 'Trigger of pricing: notes who changed a price.';
CREATE TRIGGER pricing_notes_who AFTER INSERT OR UPDATE OR DELETE ON pricing
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_price();

CREATE FUNCTION darkroom_audit_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.accounts'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_account() is a trigger of accounts alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        'account_created', 'accounts ' || NEW.id, NEW.id, NULL, NULL,
        jsonb_build_object('balance', NEW.balance, 'held', NEW.held));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_account() IS 'Trigger of accounts: notes who created one.';
CREATE TRIGGER accounts_note_who AFTER INSERT ON accounts
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_account();

CREATE FUNCTION darkroom_audit_ledger_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.ledger_entries'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_ledger_entry() is a trigger of ledger_entries alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        CASE NEW.kind WHEN 'grant' THEN 'credits_granted' ELSE 'credits_adjusted' END,
        'ledger_entries ' || NEW.id, NEW.account_id, NULL,
        jsonb_build_object('balance', NEW.balance_after - NEW.balance_change),
        jsonb_build_object('balance', NEW.balance_after, 'credits', NEW.credits));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_ledger_entry() IS
    'Trigger of ledger_entries: notes who granted or adjusted credits.';
CREATE TRIGGER ledger_entries_note_who AFTER INSERT ON ledger_entries
    FOR EACH ROW WHEN (NEW.kind IN ('grant', 'adjustment'))
    EXECUTE FUNCTION darkroom_audit_ledger_entry();

CREATE FUNCTION darkroom_audit_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.jobs'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_job() is a trigger of jobs alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM public.darkroom_write_audit_entry(
            'job_retried', 'jobs ' || NEW.id, NEW.account_id, NEW.id, NULL,
            jsonb_build_object('state', NEW.state, 'retry_of', NEW.retry_of,
                               'credits_quoted', NEW.credits_quoted));
    ELSE
        PERFORM public.darkroom_write_audit_entry(
            'job_cancelled', 'jobs ' || NEW.id, NEW.account_id, NEW.id,
            jsonb_build_object('state', OLD.state, 'reason', OLD.reason),
            jsonb_build_object('state', NEW.state, 'reason', NEW.reason));
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_job() IS
    'Trigger of jobs: notes who ran an ended job again, and which operator cancelled one.';
CREATE TRIGGER jobs_note_who_retried AFTER INSERT ON jobs FOR EACH ROW
    WHEN (NEW.retry_of IS NOT NULL) EXECUTE FUNCTION darkroom_audit_job();
CREATE TRIGGER jobs_note_who_cancelled AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled'
          AND NEW.reason IS DISTINCT FROM 'cancelled_by_caller')
    EXECUTE FUNCTION darkroom_audit_job();

CREATE FUNCTION darkroom_audit_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.api_keys'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_key() is a trigger of api_keys alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM public.darkroom_write_audit_entry(
            'key_created', 'api_keys ' || NEW.prefix, NEW.account_id, NULL, NULL,
            jsonb_build_object('role', NEW.role, 'name', NEW.name));
    ELSE
        PERFORM public.darkroom_write_audit_entry(
            'key_revoked', 'api_keys ' || NEW.prefix, NEW.account_id, NULL,
            jsonb_build_object('role', OLD.role, 'revoked_at', OLD.revoked_at),
            jsonb_build_object('role', NEW.role, 'revoked_at', NEW.revoked_at));
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_key() IS
    'Trigger of api_keys: notes who created or revoked a key.';
CREATE TRIGGER api_keys_note_who_created AFTER INSERT ON api_keys
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_key();
CREATE TRIGGER api_keys_note_who_revoked AFTER UPDATE OF revoked_at ON api_keys FOR EACH ROW
    WHEN (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) EXECUTE FUNCTION darkroom_audit_key();

CREATE FUNCTION darkroom_audit_webhook_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.webhook_endpoints'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_webhook_secret() is a trigger of webhook_endpoints alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        'webhook_secret_rotated', 'webhook_endpoints ' || NEW.id, NEW.account_id, NULL,
        jsonb_build_object('url', OLD.url, 'rotated_at', OLD.rotated_at),
        jsonb_build_object('url', NEW.url, 'rotated_at', NEW.rotated_at));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_webhook_secret() IS
    'Trigger of webhook_endpoints: notes who changed a secret or a URL; neither secret is kept here.';
CREATE TRIGGER webhook_endpoints_note_who AFTER UPDATE OF secret, url ON webhook_endpoints FOR EACH ROW
    WHEN ((NEW.secret, NEW.url) IS DISTINCT FROM (OLD.secret, OLD.url))
    EXECUTE FUNCTION darkroom_audit_webhook_secret();

CREATE FUNCTION darkroom_audit_webhook_replay() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.webhook_messages'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_webhook_replay() is a trigger of webhook_messages alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_write_audit_entry(
        'webhook_replayed', 'webhook_messages ' || NEW.id, NEW.account_id, NEW.job_id,
        jsonb_build_object('state', OLD.state, 'tries', OLD.tries, 'replayed_at', OLD.replayed_at),
        jsonb_build_object('state', NEW.state, 'tries', NEW.tries, 'replayed_at', NEW.replayed_at));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_webhook_replay() IS
    'Trigger of webhook_messages: notes who had one sent anew.';
CREATE TRIGGER webhook_messages_note_who AFTER UPDATE OF replayed_at ON webhook_messages FOR EACH ROW
    WHEN (NEW.replayed_at IS DISTINCT FROM OLD.replayed_at)
    EXECUTE FUNCTION darkroom_audit_webhook_replay();

-- Who may call what --------------------------------------------------------------------------

CREATE FUNCTION darkroom_grant_execute(called regprocedure, roles text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one text;
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', called);
    FOR one IN SELECT rolname FROM pg_roles WHERE rolname = ANY(roles) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', called, one);
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_grant_execute(regprocedure, text[]) IS
    'For migrations: takes a function from everybody and gives it to those of the roles that this server has.';

DO $$
DECLARE
    reader text;
    made   regprocedure;
BEGIN
    FOR made IN
        SELECT oid::regprocedure FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace
           AND (proname LIKE 'darkroom\_audit\_%'
                OR proname IN ('darkroom_enter_act', 'darkroom_leave_act', 'darkroom_actor',
                               'darkroom_write_audit_entry', 'darkroom_grant_execute'))
    LOOP
        PERFORM darkroom_grant_execute(made, '{}');
    END LOOP;
    FOREACH reader IN ARRAY ARRAY['darkroom_service', 'darkroom_admin', 'darkroom_readonly'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader);
        EXECUTE format('GRANT SELECT ON audit_entries TO %I', reader);
    END LOOP;
END $$;
