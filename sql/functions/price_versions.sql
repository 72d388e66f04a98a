-- Prices and their versions: what a change of pricing must satisfy, and how it closes the version that
-- held and opens the next one in pricing_history. These are triggers: an UPDATE typed in psql and a
-- program's change pass through the same ones.
--
-- Each acts with its owner's rights where it must read or write what the session may not, and then
-- serves its own table alone.

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
