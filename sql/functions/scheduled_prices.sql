-- Price changes that take hold at their time. Every function that prices a job applies first what is
-- due, so the first enqueue or settlement at or after that time is priced by it, whether or not a worker
-- lives; a worker applies it within seconds where nobody enqueues or settles.

CREATE OR REPLACE FUNCTION darkroom_guard_scheduled_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held  record;
    fault text;
BEGIN
    IF TG_RELID <> 'public.scheduled_prices'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_scheduled_price() is a trigger of scheduled_prices alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    -- The price that it replaces: that of the change before it, or the one in force.
    SELECT price.credits, price.provider_credits INTO held
      FROM (SELECT waiting.takes_effect_at, waiting.credits,
                   coalesce(waiting.provider_credits, pricing.provider_credits) AS provider_credits
              FROM public.scheduled_prices AS waiting
              JOIN public.pricing USING (model, task, quantity, variant)
             WHERE (waiting.model, waiting.task, waiting.quantity, waiting.variant)
                 = (NEW.model, NEW.task, NEW.quantity, NEW.variant)
               AND waiting.settled_at IS NULL AND waiting.takes_effect_at < NEW.takes_effect_at
             UNION ALL
            SELECT '-infinity', pricing.credits, pricing.provider_credits FROM public.pricing
             WHERE (model, task, quantity, variant)
                 = (NEW.model, NEW.task, NEW.quantity, NEW.variant)) AS price
     ORDER BY price.takes_effect_at DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'pricing has no row %; priced are: %',
            concat_ws(' ', NEW.model, NEW.task, NEW.quantity, nullif(NEW.variant, '')),
            public.darkroom_list_priced()
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_scheduled_price_has_its_row';
    END IF;
    fault := public.darkroom_price_numbers_fault(
        NEW.credits, coalesce(NEW.provider_credits, held.provider_credits));
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault USING ERRCODE = 'DR001';
    END IF;
    IF (NEW.takes_effect_at > now() AND NEW.takes_effect_at < now() + interval '2 years') IS NOT TRUE THEN
        RAISE EXCEPTION 'takes_effect_at must be a time of the next two years, not %',
            coalesce(NEW.takes_effect_at::text, 'NULL')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_scheduled_price_lies_ahead';
    END IF;
    NEW.reason := coalesce(public.darkroom_readable_reason(NEW.reason),
                           public.darkroom_readable_reason(current_setting('darkroom.reason', true)));
    IF NEW.reason IS NULL THEN
        RAISE EXCEPTION 'a scheduled price needs a reason' USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_require_confirmation(public.darkroom_price_doubts(
        held.credits, held.provider_credits, NEW.credits,
        coalesce(NEW.provider_credits, held.provider_credits)));
    IF NEW.credits < coalesce(NEW.provider_credits, held.provider_credits) THEN
        RAISE WARNING '%: the price of % is below the % that Kie charges',
            concat_ws(' ', NEW.model, NEW.task, NEW.quantity, nullif(NEW.variant, '')),
            trim_scale(NEW.credits),
            trim_scale(coalesce(NEW.provider_credits, held.provider_credits));
    END IF;
    NEW.scheduled_by := public.darkroom_actor();
    NEW.scheduled_at := clock_timestamp();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_scheduled_price() IS
    'Trigger of scheduled_prices: refuses typing errors, as pricing does, and notes who and when.';
CREATE OR REPLACE TRIGGER scheduled_prices_guard BEFORE INSERT ON scheduled_prices
    FOR EACH ROW EXECUTE FUNCTION darkroom_guard_scheduled_price();

CREATE OR REPLACE FUNCTION darkroom_guard_scheduled_price_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'public.scheduled_prices'::regclass THEN
        RAISE EXCEPTION 'darkroom_guard_scheduled_price_end() is a trigger of scheduled_prices alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    IF (NEW.id, NEW.model, NEW.task, NEW.quantity, NEW.variant, NEW.credits, NEW.provider_credits,
        NEW.takes_effect_at, NEW.reason, NEW.scheduled_by, NEW.scheduled_at)
       IS DISTINCT FROM
       (OLD.id, OLD.model, OLD.task, OLD.quantity, OLD.variant, OLD.credits, OLD.provider_credits,
        OLD.takes_effect_at, OLD.reason, OLD.scheduled_by, OLD.scheduled_at) THEN
        RAISE EXCEPTION 'a scheduled price does not change'
            USING ERRCODE = 'DR001', HINT = 'Revoke it (SET is_revoked = true) and insert another.';
    END IF;
    IF NEW.is_revoked IS NOT DISTINCT FROM OLD.is_revoked THEN
        RETURN NEW;
    END IF;
    IF OLD.settled_at IS NOT NULL THEN
        RAISE EXCEPTION 'scheduled price % was % at % already', OLD.id,
            CASE WHEN OLD.is_revoked THEN 'revoked' WHEN OLD.failure IS NULL THEN 'applied' ELSE 'given up' END,
            to_char(OLD.settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_scheduled_price_ends_once';
    ELSIF OLD.takes_effect_at <= now() THEN
        -- Nobody has enqueued or settled since. Whoever does so first is to find what was announced.
        RAISE EXCEPTION 'scheduled price % has taken effect at %: it is not revoked any more', OLD.id,
            to_char(OLD.takes_effect_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_scheduled_price_ends_once',
                  HINT = 'Change the price in pricing.';
    END IF;
    NEW.settled_at := clock_timestamp();
    NEW.settled_by := public.darkroom_actor();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_scheduled_price_end() IS
    'Trigger of scheduled_prices: a row is revoked once, before it is applied, and changes in no other way.';
CREATE OR REPLACE TRIGGER scheduled_prices_end_once BEFORE UPDATE ON scheduled_prices
    FOR EACH ROW EXECUTE FUNCTION darkroom_guard_scheduled_price_end();
CREATE OR REPLACE TRIGGER scheduled_prices_are_kept BEFORE DELETE ON scheduled_prices
    FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change('Revoke it: UPDATE scheduled_prices SET is_revoked = true.');
CREATE OR REPLACE TRIGGER scheduled_prices_are_not_truncated BEFORE TRUNCATE ON scheduled_prices
    FOR EACH STATEMENT EXECUTE FUNCTION darkroom_refuse_change('Revoke single rows: UPDATE scheduled_prices SET is_revoked = true.');

CREATE OR REPLACE FUNCTION darkroom_audit_scheduled_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state jsonb;
BEGIN
    IF TG_RELID <> 'public.scheduled_prices'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_scheduled_price() is a trigger of scheduled_prices alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    state := jsonb_build_object(
        'credits', NEW.credits, 'provider_credits', NEW.provider_credits,
        'takes_effect_at', NEW.takes_effect_at);
    IF TG_OP = 'INSERT' THEN
        PERFORM public.darkroom_write_audit_entry(
            'price_scheduled', 'scheduled_prices ' || NEW.id, NULL, NULL, NULL,
            state || jsonb_build_object('model', NEW.model, 'task', NEW.task, 'quantity', NEW.quantity,
                                        'variant', NEW.variant, 'reason', NEW.reason));
    ELSE
        PERFORM public.darkroom_write_audit_entry(
            'price_unscheduled', 'scheduled_prices ' || NEW.id, NULL, NULL, state, NULL);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_scheduled_price() IS
    'Trigger of scheduled_prices: notes who scheduled or revoked a change.';
CREATE OR REPLACE TRIGGER scheduled_prices_note_who AFTER INSERT ON scheduled_prices
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_scheduled_price();
CREATE OR REPLACE TRIGGER scheduled_prices_note_who_revoked AFTER UPDATE ON scheduled_prices
    FOR EACH ROW WHEN (NEW.is_revoked AND NOT OLD.is_revoked)
    EXECUTE FUNCTION darkroom_audit_scheduled_price();

CREATE OR REPLACE FUNCTION darkroom_apply_scheduled_prices() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due     public.scheduled_prices;
    price   public.pricing;
    said    text[];
    asked   text;
    opened  bigint;
    applied integer := 0;
BEGIN
    -- Nobody is waited for: what another session applies, or whose price it is changing, holds from
    -- that session's commit, or is applied by the next statement after it.
    FOR due IN
        SELECT * FROM public.scheduled_prices
         WHERE settled_at IS NULL AND takes_effect_at <= now()
         ORDER BY takes_effect_at, id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        SELECT * INTO price FROM public.pricing
         WHERE (model, task, quantity, variant)
             = (due.model, due.task, due.quantity, due.variant)
           FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            UPDATE public.scheduled_prices
               SET settled_at = clock_timestamp(), failure = 'pricing had no such row any more'
             WHERE id = due.id AND NOT EXISTS (
                   SELECT FROM public.pricing
                    WHERE (model, task, quantity, variant)
                        = (due.model, due.task, due.quantity, due.variant));
            CONTINUE;
        END IF;
        -- Of two acts the later one holds: a change by hand since that time is not taken back.
        IF EXISTS (SELECT FROM public.pricing_history AS version
                    WHERE version.id = price.price_id AND lower(version.valid) > due.takes_effect_at
                      AND NOT EXISTS (SELECT FROM public.scheduled_prices WHERE price_id = version.id)) THEN
            UPDATE public.scheduled_prices
               SET settled_at = clock_timestamp(),
                   failure = 'the price had been changed since that time'
             WHERE id = due.id;
            CONTINUE;
        END IF;
        UPDATE public.scheduled_prices SET settled_at = clock_timestamp(), settled_by = scheduled_by
         WHERE id = due.id;
        said := public.darkroom_enter_act(NULL, due.reason);
        asked := current_setting('darkroom.confirm', true);
        PERFORM set_config('darkroom.schedule', due.id::text, true),
                set_config('darkroom.confirm', 'yes', true);
        UPDATE public.pricing
           SET credits = due.credits,
               provider_credits = coalesce(due.provider_credits, pricing.provider_credits)
         WHERE (model, task, quantity, variant)
             = (due.model, due.task, due.quantity, due.variant)
        RETURNING price_id INTO opened;
        PERFORM set_config('darkroom.schedule', '', true),
                set_config('darkroom.confirm', coalesce(asked, ''), true),
                public.darkroom_leave_act(said);
        UPDATE public.scheduled_prices SET price_id = opened WHERE id = due.id;
        applied := applied + 1;
    END LOOP;
    RETURN applied;
END $$;
COMMENT ON FUNCTION darkroom_apply_scheduled_prices IS
    'Applies the scheduled prices whose time has come, each once, and returns how many.';

-- As programs change prices ------------------------------------------------------------------

CREATE OR REPLACE FUNCTION darkroom_change_price(
    of_model text, of_task text, of_quantity integer, to_credits numeric,
    to_provider_credits numeric, why text, confirmed boolean DEFAULT false, by jsonb DEFAULT NULL,
    of_variant text DEFAULT '', from_price_id bigint DEFAULT NULL
) RETURNS SETOF pricing
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked CONSTANT text := current_setting('darkroom.confirm', true);
    before text[];
    held   public.pricing;
BEGIN
    why := public.darkroom_readable_reason(why);
    IF why IS NULL THEN
        RAISE EXCEPTION 'a price change needs a reason' USING ERRCODE = 'DR001';
    END IF;
    PERFORM public.darkroom_apply_scheduled_prices();
    before := public.darkroom_enter_act(by, why);
    PERFORM set_config('darkroom.confirm', CASE WHEN confirmed THEN 'yes' ELSE '' END, true);
    RETURN QUERY
    UPDATE public.pricing
       SET credits = coalesce(to_credits, pricing.credits),
           provider_credits = coalesce(to_provider_credits, pricing.provider_credits)
     WHERE model = of_model AND task = of_task AND quantity = of_quantity AND variant = of_variant
       AND price_id = coalesce(from_price_id, price_id)
    RETURNING *;
    IF NOT FOUND AND from_price_id IS NOT NULL THEN
        SELECT * INTO held FROM public.pricing
         WHERE model = of_model AND task = of_task AND quantity = of_quantity AND variant = of_variant;
        IF FOUND THEN
            RAISE EXCEPTION 'the price was changed since it was read: % changed it at %, it is % credits now and Kie charges %; nothing was changed',
                held.updated_by, to_char(held.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'),
                trim_scale(held.credits), trim_scale(held.provider_credits)
                USING ERRCODE = 'DR001', CONSTRAINT = 'a_price_is_changed_from_what_was_read';
        END IF;
    END IF;
    PERFORM set_config('darkroom.confirm', coalesce(asked, ''), true),
            public.darkroom_leave_act(before);
END $$;
-- With fewer parameters; a call without them finds the function above.
DROP FUNCTION IF EXISTS darkroom_change_price(
    text, text, integer, numeric, numeric, text, boolean, jsonb);
DROP FUNCTION IF EXISTS darkroom_change_price(
    text, text, integer, numeric, numeric, text, boolean, jsonb, text);
COMMENT ON FUNCTION darkroom_change_price IS
    'Changes what one row of pricing charges, what Kie charges for it, or both (null: stays), and returns it; no row where there is none. confirmed: a change of more than 5 times is meant. from_price_id: the version that was read; another one in force is refused. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_schedule_price(
    of_model text, of_task text, of_quantity integer, to_credits numeric,
    to_provider_credits numeric, at timestamptz, why text, confirmed boolean DEFAULT false,
    by jsonb DEFAULT NULL, of_variant text DEFAULT ''
) RETURNS SETOF scheduled_prices
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked  CONSTANT text := current_setting('darkroom.confirm', true);
    before text[] := public.darkroom_enter_act(by, public.darkroom_readable_reason(why));
BEGIN
    PERFORM set_config('darkroom.confirm', CASE WHEN confirmed THEN 'yes' ELSE '' END, true);
    RETURN QUERY
    INSERT INTO public.scheduled_prices
        (model, task, quantity, variant, credits, provider_credits, takes_effect_at, reason)
    VALUES (of_model, of_task, of_quantity, of_variant, to_credits, to_provider_credits, at, coalesce(why, ''))
    RETURNING *;
    PERFORM set_config('darkroom.confirm', coalesce(asked, ''), true),
            public.darkroom_leave_act(before);
END $$;
DROP FUNCTION IF EXISTS darkroom_schedule_price(
    text, text, integer, numeric, numeric, timestamptz, text, boolean, jsonb);
COMMENT ON FUNCTION darkroom_schedule_price IS
    'Schedules a change of a price and returns the row. confirmed: a change of more than 5 times is meant. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION darkroom_unschedule_price(
    of_id bigint, why text DEFAULT NULL, by jsonb DEFAULT NULL
) RETURNS SETOF scheduled_prices
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[] := public.darkroom_enter_act(by, public.darkroom_readable_reason(why));
BEGIN
    -- What is due is applied, and then says so.
    PERFORM public.darkroom_apply_scheduled_prices();
    RETURN QUERY
    UPDATE public.scheduled_prices SET is_revoked = true WHERE id = of_id AND NOT is_revoked
    RETURNING *;
    IF NOT FOUND THEN
        -- Again, it changes nothing.
        RETURN QUERY SELECT * FROM public.scheduled_prices WHERE id = of_id;
    END IF;
    PERFORM public.darkroom_leave_act(before);
END $$;
COMMENT ON FUNCTION darkroom_unschedule_price IS
    'Revokes a scheduled price before its time and returns the row; no row where there is none. by: who, as one of our programs states it.';
