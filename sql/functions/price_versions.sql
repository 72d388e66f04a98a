-- Prices and their versions: what a change of pricing must satisfy, and how it closes the version that
-- held and opens the next one in pricing_history. These are triggers: an UPDATE typed in psql and a
-- program's change pass through the same ones.
--
-- Each acts with its owner's rights where it must read or write what the session may not, and then
-- serves its own table alone.

-- What asks for a confirmation ---------------------------------------------------------------

CREATE OR REPLACE FUNCTION darkroom_price_doubts(
    old_credits numeric, old_provider_credits numeric, new_credits numeric,
    new_provider_credits numeric
) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(format('%s from %s to %s is a change of more than 5 times', name,
                                     trim_scale(before), trim_scale(after)) ORDER BY name), '{}')
      FROM (VALUES ('credits', old_credits, new_credits),
                   ('provider_credits', old_provider_credits, new_provider_credits))
           AS change (name, before, after)
     WHERE after > 5 * before OR before > 5 * after
$$;
COMMENT ON FUNCTION darkroom_price_doubts IS
    'Why a change of a price looks like a typing error, as sentences; empty: it does not. From or to 0 is more than 5 times.';

CREATE OR REPLACE FUNCTION darkroom_require_confirmation(doubts text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(doubts) > 0 AND current_setting('darkroom.confirm', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION '%', array_to_string(doubts, '; ')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_doubtful_price_is_confirmed',
                  HINT = 'If it is meant, confirm it: SET LOCAL darkroom.confirm = ''yes'' before it, in one transaction.';
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_require_confirmation IS
    'Refuses what looks like a typing error, unless darkroom.confirm is yes.';

CREATE OR REPLACE FUNCTION darkroom_price_numbers_fault(credits numeric, provider_credits numeric)
RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s must be a number from 0 to 1000000 with at most 2 decimals, not %s',
                             name, coalesce(number::text, 'NULL')), '; ' ORDER BY name)
      FROM (VALUES ('credits', credits), ('provider_credits', provider_credits))
           AS given (name, number)
     -- NaN is above every number.
     WHERE (number BETWEEN 0 AND 1000000 AND scale(trim_scale(number)) <= 2) IS NOT TRUE
$$;
COMMENT ON FUNCTION darkroom_price_numbers_fault IS
    'Why these are no credits of a price, as a sentence; null: they are. Nothing is rounded.';

CREATE OR REPLACE FUNCTION darkroom_list_priced() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(line, '; '), 'nothing')
      FROM (SELECT format('%s %s %s', model, task,
                          string_agg(concat_ws(' ', quantity, nullif(variant, '')), ', '
                                     ORDER BY quantity, variant)) AS line
              FROM public.pricing GROUP BY model, task ORDER BY model, task LIMIT 20) AS priced
$$;
COMMENT ON FUNCTION darkroom_list_priced IS
    'The rows of pricing in one line: model, task, and quantities with their variants.';

-- Changes of pricing -------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION darkroom_guard_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fault text;
    last  public.pricing_history;
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_price() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.model, NEW.task, NEW.quantity, NEW.variant)
           IS DISTINCT FROM (OLD.model, OLD.task, OLD.quantity, OLD.variant) THEN
            RAISE EXCEPTION 'model, task, quantity and variant of a price cannot change'
                USING ERRCODE = 'DR001', HINT = 'Insert a row for the new combination instead.';
        END IF;
        IF (NEW.credits, NEW.provider_credits) IS NOT DISTINCT FROM (OLD.credits, OLD.provider_credits) THEN
            RETURN OLD;  -- nothing about the price changes, so no version is opened
        END IF;
    END IF;
    fault := public.darkroom_price_numbers_fault(NEW.credits, NEW.provider_credits);
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault USING ERRCODE = 'DR001';
    END IF;
    IF NEW.model = 'gpt-4o-image' AND NOT (NEW.task IN ('text-to-image', 'image-to-image')
                                           AND NEW.quantity IN (1, 2, 4)) THEN
        RAISE EXCEPTION 'gpt-4o-image has the tasks text-to-image and image-to-image and the quantities 1, 2 and 4, not % with %',
            NEW.task, NEW.quantity USING ERRCODE = 'DR001';
    END IF;
    IF NEW.model = 'gpt-4o-image' AND NEW.variant <> '' THEN
        RAISE EXCEPTION 'gpt-4o-image has no variants: variant must be empty, not %',
            quote_literal(NEW.variant) USING ERRCODE = 'DR001';
    END IF;
    IF (NEW.variant ~ '^[^[:cntrl:][:space:]]{0,40}$') IS NOT TRUE THEN
        RAISE EXCEPTION 'variant must be up to 40 printable characters without spaces, not %',
            quote_nullable(NEW.variant) USING ERRCODE = 'DR001';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        PERFORM public.darkroom_require_confirmation(public.darkroom_price_doubts(
            OLD.credits, OLD.provider_credits, NEW.credits, NEW.provider_credits));
    ELSE
        SELECT * INTO last FROM public.pricing_history
         WHERE (model, task, quantity, variant)
             = (NEW.model, NEW.task, NEW.quantity, NEW.variant)
         ORDER BY lower(valid) DESC LIMIT 1;
        IF NOT FOUND THEN
            PERFORM public.darkroom_require_confirmation(ARRAY[format(
                '%s was never sold before; priced are: %s',
                concat_ws(' ', NEW.model, NEW.task, NEW.quantity, nullif(NEW.variant, '')),
                public.darkroom_list_priced())]);
        ELSE
            PERFORM public.darkroom_require_confirmation(public.darkroom_price_doubts(
                last.credits, last.provider_credits, NEW.credits, NEW.provider_credits));
        END IF;
    END IF;
    IF NEW.credits < NEW.provider_credits THEN
        RAISE WARNING '%: the price of % is below the % that Kie charges',
            concat_ws(' ', NEW.model, NEW.task, NEW.quantity, nullif(NEW.variant, '')),
            trim_scale(NEW.credits), trim_scale(NEW.provider_credits);
    END IF;
    NEW.price_id := nextval(pg_get_serial_sequence('public.pricing_history', 'id'));
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := public.darkroom_actor();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_price() IS
    'Trigger of pricing: refuses typing errors, numbers each new price version and notes who and when. darkroom.actor counts in sessions of our services alone.';

CREATE OR REPLACE FUNCTION darkroom_guard_price_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    levelled text;
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_price_statement() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    -- A WHERE was forgotten: prices of several quantities, variants or models that differed are the
    -- same now.
    SELECT string_agg(said, '; ' ORDER BY name) INTO levelled
      FROM (SELECT name, format('%s %s from %s to %s are all set to %s', count(*), kind,
                                trim_scale(min(was)), trim_scale(max(was)), trim_scale(min(becomes)))
              FROM before JOIN changed USING (model, task, quantity, variant),
                   LATERAL (VALUES ('credits', 'prices', before.credits, changed.credits),
                                   ('provider_credits', 'charges of Kie', before.provider_credits,
                                    changed.provider_credits)) AS number (name, kind, was, becomes)
             WHERE was <> becomes
             GROUP BY name, kind
            HAVING count(DISTINCT was) > 1 AND count(DISTINCT (model, quantity, variant)) > 1
               AND count(DISTINCT becomes) = 1) AS same (name, said);
    IF levelled IS NOT NULL THEN
        PERFORM public.darkroom_require_confirmation(ARRAY[levelled]);
    END IF;
    IF NOT EXISTS (SELECT FROM changed) THEN
        RAISE WARNING 'no row of pricing matches; priced are: %', public.darkroom_list_priced();
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_guard_price_statement() IS
    'Trigger of pricing: refuses an UPDATE that sets different prices to one, unless confirmed, and says so where it matched nothing.';
CREATE OR REPLACE TRIGGER pricing_is_not_levelled AFTER UPDATE ON pricing
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION darkroom_guard_price_statement();

CREATE OR REPLACE FUNCTION darkroom_record_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    applied CONSTANT public.scheduled_prices := public.darkroom_applied_schedule();
    moment  timestamptz := clock_timestamp();
    why     text;
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_record_price() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF applied.id IS NOT NULL THEN
        -- It may be applied by the enqueue that it prices, whose time is now(). Its reason was judged
        -- when it was scheduled: one that is refused today must not refuse jobs.
        moment := now();
        why := applied.reason;
    ELSE
        why := public.darkroom_readable_reason(current_setting('darkroom.reason', true));
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
         WHERE (model, task, quantity, variant) = (NEW.model, NEW.task, NEW.quantity, NEW.variant);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO public.pricing_history
            (id, model, task, quantity, variant, credits, provider_credits, valid, changed_by, reason)
        VALUES (NEW.price_id, NEW.model, NEW.task, NEW.quantity, NEW.variant, NEW.credits,
                NEW.provider_credits, tstzrange(moment, NULL), NEW.updated_by, why);
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
         WHERE (price.price_id, price.model, price.task, price.quantity, price.variant, price.credits,
                price.provider_credits, price.updated_by)
             = (NEW.id, NEW.model, NEW.task, NEW.quantity, NEW.variant, NEW.credits,
                NEW.provider_credits, NEW.changed_by))
    THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1
        AND upper_inf(OLD.valid) AND lower(NEW.valid) = lower(OLD.valid)
        AND NOT upper_inf(NEW.valid)
        AND (NEW.id, NEW.model, NEW.task, NEW.quantity, NEW.variant, NEW.credits,
             NEW.provider_credits, NEW.changed_by, NEW.reason)
            IS NOT DISTINCT FROM
            (OLD.id, OLD.model, OLD.task, OLD.quantity, OLD.variant, OLD.credits,
             OLD.provider_credits, OLD.changed_by, OLD.reason)
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
                WHERE (model, task, quantity, variant)
                    = (OLD.model, OLD.task, OLD.quantity, OLD.variant)
                  AND state IN ('queued', 'submitting', 'unknown', 'generating')) THEN
        RAISE EXCEPTION 'the price of % is in use by open jobs',
            concat_ws(' ', OLD.model, OLD.task, 'quantity', OLD.quantity, nullif(OLD.variant, ''))
            USING ERRCODE = 'DR001', HINT = 'Change its credits, or wait until those jobs have ended.';
    END IF;
    RETURN OLD;
END $$;
COMMENT ON FUNCTION darkroom_guard_price_in_use() IS
    'Trigger of pricing: a price that open jobs will be charged by is not deleted.';

CREATE OR REPLACE FUNCTION darkroom_guard_price_deletion() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    prices bigint;
BEGIN
    IF TG_RELID <> 'public.pricing'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_price_deletion() is a trigger of pricing alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    SELECT count(*) INTO prices FROM gone;
    -- A WHERE was forgotten, or a part of it.
    IF prices > 1 THEN
        PERFORM public.darkroom_require_confirmation(ARRAY[
            (SELECT format('%s prices are deleted, and nothing is sold by them any more: %s', prices,
                           string_agg(line, ', '))
               FROM (SELECT concat_ws(' ', model, task, quantity, nullif(variant, '')) AS line
                       FROM gone ORDER BY model, task, quantity, variant LIMIT 20) AS named)]);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_guard_price_deletion() IS
    'Trigger of pricing: refuses a DELETE of more than one price, unless confirmed.';
CREATE OR REPLACE TRIGGER pricing_is_not_emptied AFTER DELETE ON pricing
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION darkroom_guard_price_deletion();

-- What was forged ---------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION darkroom_rebuild_price_history(why text) RETURNS TABLE (version_id bigint, what text)
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
    why := public.darkroom_readable_reason(why);
    IF why IS NULL THEN
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
          LEFT JOIN public.pricing AS price USING (model, task, quantity, variant)
          LEFT JOIN public.pricing_history AS held
            ON held.id = price.price_id
           AND (held.model, held.task, held.quantity, held.variant)
             = (price.model, price.task, price.quantity, price.variant)
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
                   reason = 'never in force: ' || why
              FROM (SELECT never + count(*) * interval '1 millisecond' AS since
                      FROM public.pricing_history
                     WHERE (model, task, quantity, variant)
                         = (forged.model, forged.task, forged.quantity, forged.variant)
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
           AND (version.model, version.task, version.quantity, version.variant, version.credits,
                version.provider_credits)
             = (pricing.model, pricing.task, pricing.quantity, pricing.variant, pricing.credits,
                pricing.provider_credits)
         WHERE version.id IS NULL
    LOOP
        UPDATE public.pricing_history SET valid = tstzrange(lower(valid), NULL)
         WHERE (id, model, task, quantity, variant, credits, provider_credits)
             = (price.price_id, price.model, price.task, price.quantity, price.variant,
                price.credits, price.provider_credits)
        RETURNING id INTO opened;
        what := 'is open again';
        IF opened IS NULL THEN
            UPDATE public.pricing_history
               SET valid = tstzrange(lower(valid), greatest(clock_timestamp(),
                                     lower(valid) + interval '1 microsecond'))
             WHERE id = price.price_id AND upper_inf(valid);
            INSERT INTO public.pricing_history
                (model, task, quantity, variant, credits, provider_credits, valid, changed_by, reason)
            SELECT price.model, price.task, price.quantity, price.variant, price.credits,
                   price.provider_credits,
                   tstzrange(greatest(clock_timestamp(), max(upper(valid))), NULL), session_user,
                   'rebuilt: ' || why
              FROM public.pricing_history
             WHERE (model, task, quantity, variant)
                 = (price.model, price.task, price.quantity, price.variant)
            RETURNING id INTO opened;
            UPDATE public.pricing SET price_id = opened
             WHERE (model, task, quantity, variant)
                 = (price.model, price.task, price.quantity, price.variant);
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
    IF done <> '{}' THEN
        said := public.darkroom_enter_act(NULL, why);
        PERFORM public.darkroom_write_audit_entry('price_history_rebuilt', 'pricing_history', NULL,
                                                  NULL, NULL, done);
        PERFORM public.darkroom_leave_act(said);
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_rebuild_price_history(text) IS
    'For the owner of the tables: makes pricing_history agree with pricing again where somebody forged it, and returns what it did: SELECT * FROM darkroom_rebuild_price_history(''why'');';
