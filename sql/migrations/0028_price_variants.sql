-- Prices by variant: what moves the price of a model besides the quantity, such as its resolution.
-- Every row that there is has none. No table is rewritten: each column has a constant default.

ALTER TABLE pricing ADD COLUMN variant text NOT NULL DEFAULT '';
COMMENT ON COLUMN pricing.variant IS
    'What moves the price besides the quantity: 1K, 2K or 4K of gpt-image-2, medium or high of gpt-image-1.5. Empty where nothing does, as for gpt-4o-image.';
-- squawk-ignore ban-drop-constraint
ALTER TABLE pricing DROP CONSTRAINT pricing_pkey;
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid
ALTER TABLE pricing ADD PRIMARY KEY (model, task, quantity, variant);
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE pricing ADD CONSTRAINT variant_must_be_0_to_40_printable_characters
    CHECK (variant ~ '^[^[:cntrl:][:space:]]{0,40}$');
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE pricing ADD CONSTRAINT gpt_4o_image_has_no_variants
    CHECK (model <> 'gpt-4o-image' OR variant = '');

ALTER TABLE pricing_history ADD COLUMN variant text NOT NULL DEFAULT '';
COMMENT ON COLUMN pricing_history.variant IS 'As in pricing.';
-- squawk-ignore ban-drop-constraint
ALTER TABLE pricing_history DROP CONSTRAINT versions_of_one_price_must_not_overlap;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE pricing_history ADD CONSTRAINT versions_of_one_price_must_not_overlap
    EXCLUDE USING gist (model WITH =, task WITH =, quantity WITH =, variant WITH =, valid WITH &&);

ALTER TABLE scheduled_prices ADD COLUMN variant text NOT NULL DEFAULT '';
COMMENT ON COLUMN scheduled_prices.variant IS 'As in pricing.';
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX scheduled_prices_waiting;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX scheduled_prices_waiting
    ON scheduled_prices (takes_effect_at, model, task, quantity, variant) WHERE settled_at IS NULL;

ALTER TABLE jobs ADD COLUMN variant text NOT NULL DEFAULT '';
COMMENT ON COLUMN jobs.variant IS
    'With model, task and quantity, the key of the price. Empty where the price of the model has no variants.';
COMMENT ON COLUMN jobs.quantity IS 'Images asked for; with model, task and variant, the key of the price.';
-- The next migration builds its successor. To drop it needs the lock that is held here anyway.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX jobs_open_by_price;

CREATE OR REPLACE VIEW jobs_masked AS
SELECT id, account_id, model, task, quantity,
       CASE WHEN request ? 'prompt'
            THEN jsonb_set(request, '{prompt}', '"(masked)"') ELSE request END
           - 'image_urls' - 'mask_url' AS request,
       state, reason, message, progress, provider_task_id, credits_quoted, credits_charged,
       price_id, charge_basis, attempt, priority, run_at, due_at, created_at, attempted_at,
       submitted_at, deadline_at, finished_at, updated_at, retry_of, variant
  FROM jobs;

-- A migration after this one may insert prices, and sql/functions is applied after the last.
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
        SELECT greatest(moment, lower(valid) + interval '1 microsecond') INTO moment
          FROM public.pricing_history WHERE id = OLD.price_id;
        UPDATE public.pricing_history SET valid = tstzrange(lower(valid), moment)
         WHERE id = OLD.price_id;
    END IF;
    IF TG_OP = 'INSERT' THEN
        SELECT greatest(moment, max(upper(valid))) INTO moment FROM public.pricing_history
         WHERE (model, task, quantity, variant) = (NEW.model, NEW.task, NEW.quantity, NEW.variant);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO public.pricing_history
            (id, model, task, quantity, variant, credits, provider_credits, valid, changed_by, reason)
        VALUES (NEW.price_id, NEW.model, NEW.task, NEW.quantity, NEW.variant, NEW.credits,
                NEW.provider_credits, tstzrange(moment, NULL), NEW.updated_by,
                nullif(current_setting('darkroom.reason', true), ''));
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION darkroom_audit_price() RETURNS trigger
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
        key := concat_ws(' ', 'pricing', OLD.model, OLD.task, OLD.quantity, nullif(OLD.variant, ''));
    ELSE
        key := concat_ws(' ', 'pricing', NEW.model, NEW.task, NEW.quantity, nullif(NEW.variant, ''));
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

-- For programs of before prices had variants.
CREATE OR REPLACE FUNCTION public.darkroom_set_price(
    of_model text, of_task text, of_quantity integer, to_credits numeric, why text,
    by jsonb DEFAULT NULL
) RETURNS SETOF public.pricing
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[] := public.darkroom_enter_act(by, why);
BEGIN
    RETURN QUERY
    UPDATE public.pricing SET credits = to_credits
     WHERE model = of_model AND task = of_task AND quantity = of_quantity AND variant = ''
    RETURNING *;
    PERFORM public.darkroom_leave_act(before);
END $$;
