-- Functions that act with their owner's rights act for their own table or for a role that was told so,
-- and for nobody else. Until now anybody could hang them on a table of his own and write price
-- versions by it.

-- Prices -------------------------------------------------------------------------------------

CREATE FUNCTION darkroom_trusts_session() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_or(pg_has_role(session_user, oid, 'MEMBER')), false)
      FROM pg_roles
     WHERE rolname IN ('darkroom_service', 'darkroom_api')
        OR oid = (SELECT relowner FROM pg_class WHERE oid = 'public.pricing'::regclass)
$$;
COMMENT ON FUNCTION darkroom_trusts_session() IS
    'Whether what this session says about who acts is believed: its login is one of our services, or the owner of the tables.';

CREATE OR REPLACE FUNCTION darkroom_guard_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_price() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.model, NEW.task, NEW.quantity) IS DISTINCT FROM (OLD.model, OLD.task, OLD.quantity) THEN
            RAISE EXCEPTION 'model, task and quantity of a price cannot change'
                USING ERRCODE = 'DR001', HINT = 'Insert a row for the new combination instead.';
        END IF;
        IF (NEW.credits, NEW.provider_credits) IS NOT DISTINCT FROM (OLD.credits, OLD.provider_credits) THEN
            RETURN OLD;  -- nothing about the price changes, so no version is opened
        END IF;
    END IF;
    -- The table's constraints say the same; here it is a sentence. NaN is above every number.
    IF (NEW.credits BETWEEN 0 AND 1000000) IS NOT TRUE
       OR (NEW.provider_credits BETWEEN 0 AND 1000000) IS NOT TRUE THEN
        RAISE EXCEPTION 'credits and provider_credits must be numbers from 0 to 1000000, not % and %',
            coalesce(NEW.credits::text, 'NULL'), coalesce(NEW.provider_credits::text, 'NULL')
            USING ERRCODE = 'DR001';
    END IF;
    IF NEW.model = 'gpt-4o-image' AND NOT (NEW.task IN ('text-to-image', 'image-to-image')
                                           AND NEW.quantity IN (1, 2, 4)) THEN
        RAISE EXCEPTION 'gpt-4o-image has the tasks text-to-image and image-to-image and the quantities 1, 2 and 4, not % with %',
            NEW.task, NEW.quantity USING ERRCODE = 'DR001';
    END IF;
    NEW.price_id := nextval(pg_get_serial_sequence('public.pricing_history', 'id'));
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := session_user;
    IF public.darkroom_trusts_session() THEN
        NEW.updated_by := coalesce(nullif(current_setting('darkroom.actor', true), ''), session_user);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_price() IS
    'Trigger of pricing: numbers each new price version and notes who and when. darkroom.actor counts in sessions of our services alone.';
COMMENT ON COLUMN pricing.updated_by IS
    'Who set it: the session user, or darkroom.actor where one of our services acts for a person; kept by trigger.';

CREATE OR REPLACE FUNCTION darkroom_record_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_record_price() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.price_id = OLD.price_id THEN
        RETURN NULL;
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        -- Two changes within one clock tick still get versions that hold for some time.
        SELECT greatest(moment, lower(valid) + interval '1 microsecond') INTO moment
          FROM public.pricing_history WHERE id = OLD.price_id;
        UPDATE public.pricing_history SET valid = tstzrange(lower(valid), moment)
         WHERE id = OLD.price_id;
    END IF;
    IF TG_OP = 'INSERT' THEN
        -- A price that comes back begins after its last version ended, even where the clock was
        -- set back meanwhile.
        SELECT greatest(moment, max(upper(valid))) INTO moment FROM public.pricing_history
         WHERE (model, task, quantity) = (NEW.model, NEW.task, NEW.quantity);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO public.pricing_history
            (id, model, task, quantity, credits, provider_credits, valid, changed_by, reason)
        VALUES (NEW.price_id, NEW.model, NEW.task, NEW.quantity, NEW.credits, NEW.provider_credits,
                tstzrange(moment, NULL), NEW.updated_by,
                nullif(current_setting('darkroom.reason', true), ''));
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_record_price() IS
    'Trigger of pricing: closes the version that held and opens the new one.';

CREATE OR REPLACE FUNCTION darkroom_guard_price_history() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Allowed is what the trigger on pricing does: to open the version that a row of pricing has just
    -- been given, and to close one that no row of pricing has any more. Both are checked against
    -- pricing itself: being inside some trigger proves nothing.
    IF TG_OP = 'INSERT' AND pg_trigger_depth() > 1 AND upper_inf(NEW.valid) AND EXISTS (
        SELECT FROM public.pricing AS price
         WHERE (price.price_id, price.model, price.task, price.quantity, price.credits,
                price.provider_credits, price.updated_by)
             = (NEW.id, NEW.model, NEW.task, NEW.quantity, NEW.credits, NEW.provider_credits,
                NEW.changed_by))
    THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1
        AND upper_inf(OLD.valid) AND lower(NEW.valid) = lower(OLD.valid)
        AND NOT upper_inf(NEW.valid)
        AND (NEW.id, NEW.model, NEW.task, NEW.quantity, NEW.credits, NEW.provider_credits,
             NEW.changed_by, NEW.reason)
            IS NOT DISTINCT FROM
            (OLD.id, OLD.model, OLD.task, OLD.quantity, OLD.credits, OLD.provider_credits,
             OLD.changed_by, OLD.reason)
        AND NOT EXISTS (SELECT FROM public.pricing WHERE price_id = OLD.id)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'pricing_history is append-only: % is refused', TG_OP
        USING ERRCODE = 'DR001', HINT = 'Change the price in pricing; history follows by itself.';
END $$;
COMMENT ON FUNCTION darkroom_guard_price_history() IS
    'Trigger: refuses every change but those that the trigger on pricing makes, and those where they do not agree with pricing.';

CREATE OR REPLACE FUNCTION darkroom_guard_price_in_use() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_price_in_use() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF EXISTS (SELECT FROM public.jobs
                WHERE (model, task, quantity) = (OLD.model, OLD.task, OLD.quantity)
                  AND state IN ('queued', 'submitting', 'unknown', 'generating')) THEN
        RAISE EXCEPTION 'the price of % % quantity % is in use by open jobs', OLD.model, OLD.task, OLD.quantity
            USING ERRCODE = 'DR001', HINT = 'Change its credits, or wait until those jobs have ended.';
    END IF;
    RETURN OLD;
END $$;
COMMENT ON FUNCTION darkroom_guard_price_in_use() IS
    'Trigger of pricing: a price that open jobs will be charged by is not deleted.';

-- What was forged before ---------------------------------------------------------------------

CREATE FUNCTION darkroom_rebuild_price_history(why text) RETURNS TABLE (version_id bigint, what text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    never  CONSTANT timestamptz := '0001-01-01 00:00:00+00';
    forged public.pricing_history;
    price  public.pricing;
    opened bigint;
    done   jsonb := '{}';
    said   text[];
BEGIN
    IF coalesce(btrim(why), '') = '' THEN
        RAISE EXCEPTION 'say why the history is rebuilt' USING ERRCODE = 'DR001';
    END IF;
    -- Jobs can be enqueued and settled meanwhile; prices cannot change.
    LOCK TABLE public.pricing, public.pricing_history IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE public.pricing_history DISABLE TRIGGER pricing_history_is_append_only;
    ALTER TABLE public.pricing DISABLE TRIGGER USER;
    -- What is open beside the version in force, or follows it, was never in force itself. It stays on
    -- record, since a charge may cite it, at a time when nothing was sold. Where pricing has lost its
    -- row, jobs that were quoted a version show that it was in force until now.
    FOR forged IN
        SELECT version.*
          FROM public.pricing_history AS version
          LEFT JOIN public.pricing AS price USING (model, task, quantity)
          LEFT JOIN public.pricing_history AS held
            ON held.id = price.price_id
           AND (held.model, held.task, held.quantity) = (price.model, price.task, price.quantity)
         WHERE version.id IS DISTINCT FROM price.price_id
           AND (upper_inf(version.valid) OR lower(version.valid) >= lower(held.valid))
    LOOP
        version_id := forged.id;
        IF EXISTS (SELECT FROM public.jobs WHERE quoted_price_id = forged.id) THEN
            UPDATE public.pricing_history AS version
               SET valid = tstzrange(lower(valid), greatest(clock_timestamp(),
                                     lower(valid) + interval '1 microsecond'))
             WHERE version.id = forged.id AND upper_inf(valid);
            what := 'is closed: no row of pricing has it';
        ELSE
            UPDATE public.pricing_history AS version
               SET valid = tstzrange(place.since, place.since + interval '1 millisecond'),
                   reason = 'never in force: ' || btrim(why)
              FROM (SELECT never + count(*) * interval '1 millisecond' AS since
                      FROM public.pricing_history
                     WHERE (model, task, quantity) = (forged.model, forged.task, forged.quantity)
                       AND lower(valid) < never + interval '1 year') AS place
             WHERE version.id = forged.id;
            what := format('was never in force: %s credits by %s, %s', forged.credits,
                           forged.changed_by, forged.valid);
        END IF;
        done := done || jsonb_build_object(version_id::text, what);
        RETURN NEXT;
    END LOOP;
    FOR price IN
        SELECT pricing.*
          FROM public.pricing LEFT JOIN public.pricing_history AS version
            ON version.id = pricing.price_id AND upper_inf(version.valid)
           AND (version.model, version.task, version.quantity, version.credits,
                version.provider_credits)
             = (pricing.model, pricing.task, pricing.quantity, pricing.credits,
                pricing.provider_credits)
         WHERE version.id IS NULL
    LOOP
        UPDATE public.pricing_history SET valid = tstzrange(lower(valid), NULL)
         WHERE (id, model, task, quantity, credits, provider_credits)
             = (price.price_id, price.model, price.task, price.quantity, price.credits,
                price.provider_credits)
        RETURNING id INTO opened;
        what := 'is open again';
        IF opened IS NULL THEN
            UPDATE public.pricing_history
               SET valid = tstzrange(lower(valid), greatest(clock_timestamp(),
                                     lower(valid) + interval '1 microsecond'))
             WHERE id = price.price_id AND upper_inf(valid);
            INSERT INTO public.pricing_history
                (model, task, quantity, credits, provider_credits, valid, changed_by, reason)
            SELECT price.model, price.task, price.quantity, price.credits, price.provider_credits,
                   tstzrange(greatest(clock_timestamp(), max(upper(valid))), NULL), session_user,
                   'rebuilt: ' || btrim(why)
              FROM public.pricing_history
             WHERE (model, task, quantity) = (price.model, price.task, price.quantity)
            RETURNING id INTO opened;
            UPDATE public.pricing SET price_id = opened
             WHERE (model, task, quantity) = (price.model, price.task, price.quantity);
            what := format('holds now, as pricing says: %s credits', price.credits);
        END IF;
        version_id := opened;
        done := done || jsonb_build_object(version_id::text, what);
        RETURN NEXT;
    END LOOP;
    -- An id that was made up must not be met again by the numbers to come.
    PERFORM setval(pg_get_serial_sequence('public.pricing_history', 'id'),
                   greatest(nextval(pg_get_serial_sequence('public.pricing_history', 'id')),
                            (SELECT max(id) FROM public.pricing_history)));
    ALTER TABLE public.pricing ENABLE TRIGGER USER;
    ALTER TABLE public.pricing_history ENABLE TRIGGER pricing_history_is_append_only;
    -- The next migration makes what notes who did it.
    IF done <> '{}' AND to_regclass('public.audit_entries') IS NOT NULL THEN
        said := public.darkroom_enter_act(NULL, btrim(why));
        PERFORM public.darkroom_write_audit_entry('price_history_rebuilt', 'pricing_history', NULL,
                                                  NULL, NULL, done);
        PERFORM public.darkroom_leave_act(said);
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_rebuild_price_history(text) IS
    'For the owner of the tables: makes pricing_history agree with pricing again where somebody forged it, and returns what it did: SELECT * FROM darkroom_rebuild_price_history(''why'');';

-- Who may call what --------------------------------------------------------------------------

ALTER FUNCTION grant_credits(text, numeric, text) SET search_path = pg_catalog, public, pg_temp;

DO $$
DECLARE
    ours record;
BEGIN
    -- Triggers need no right to be called when they fire, only when somebody makes a trigger of them.
    -- Each looks names up where its owner does, whatever the path of who fires it.
    FOR ours IN
        SELECT oid::regprocedure AS name, proconfig, prorettype = 'trigger'::regtype AS is_trigger
          FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace
           AND (proname = 'grant_credits' OR proname LIKE 'darkroom\_%')
           AND (prosecdef OR prorettype = 'trigger'::regtype
                OR proname IN ('darkroom_trusts_session', 'darkroom_rebuild_price_history'))
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', ours.name);
        IF ours.is_trigger AND ours.proconfig IS NULL THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp',
                           ours.name);
        END IF;
    END LOOP;
END $$;

-- Functions that later migrations make are nobody's until they are granted.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Nobody needs tables of his own here. A role that does is granted it: GRANT TEMPORARY ON DATABASE.
DO $$
BEGIN
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'PUBLIC may still create objects in the schema public: %', SQLERRM
        USING HINT = 'As the owner of the schema: REVOKE CREATE ON SCHEMA public FROM PUBLIC.';
END $$;
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'PUBLIC may still create temporary tables in this database: %', SQLERRM
        USING HINT = 'As the owner of the database: REVOKE TEMPORARY ON DATABASE … FROM PUBLIC.';
END $$;
