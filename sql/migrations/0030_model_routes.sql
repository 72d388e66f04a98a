-- The route of a model: by which family its jobs are sent to Kie. A route is a row, so workers agree on
-- it, and who chose it stays known.

CREATE TABLE model_routes (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model     text        NOT NULL,
    via       text        NOT NULL,
    reason    text,
    routed_by text        NOT NULL,
    routed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT route_reason_must_be_short CHECK (btrim(reason) <> '' AND length(reason) <= 500)
);
COMMENT ON TABLE model_routes IS
    'By which family of the catalog the jobs of a model are sent to Kie. The newest row of a model is in force; without a row, or where via is the model itself, it is sent by its own family. Rows stay as history.';
COMMENT ON COLUMN model_routes.id IS 'Rises with each change.';
COMMENT ON COLUMN model_routes.model IS 'The model, as jobs.model has it.';
COMMENT ON COLUMN model_routes.via IS 'The family by which it is sent from then on.';
COMMENT ON COLUMN model_routes.reason IS 'Why, in the words of who chose it; null: not said.';
COMMENT ON COLUMN model_routes.routed_by IS 'Who chose it, as audit_entries.actor has it.';
COMMENT ON COLUMN model_routes.routed_at IS 'Since when, by Postgres''s clock.';
CREATE INDEX model_routes_newest ON model_routes (model, id DESC);

CREATE VIEW active_routes AS
SELECT id, model, via, reason, routed_by, routed_at FROM model_routes AS newest
 WHERE via <> model
   AND NOT EXISTS (SELECT FROM model_routes AS later
                    WHERE later.model = newest.model AND later.id > newest.id);
COMMENT ON VIEW active_routes IS 'The models that are sent by another family than their own.';
COMMENT ON COLUMN active_routes.id IS 'As in model_routes.';
COMMENT ON COLUMN active_routes.model IS 'As in model_routes.';
COMMENT ON COLUMN active_routes.via IS 'As in model_routes.';
COMMENT ON COLUMN active_routes.reason IS 'As in model_routes.';
COMMENT ON COLUMN active_routes.routed_by IS 'As in model_routes.';
COMMENT ON COLUMN active_routes.routed_at IS 'As in model_routes.';

ALTER TABLE job_attempts ADD COLUMN route text;
COMMENT ON COLUMN job_attempts.route IS
    'The family by which the attempt is sent, and by which its task is asked about; null: that of the model.';
ALTER TABLE jobs ADD COLUMN route text;
COMMENT ON COLUMN jobs.route IS
    'The route of the newest attempt, as job_attempts.route has it.';

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended', 'model_routed')) NOT VALID;

CREATE FUNCTION darkroom_audit_route() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text;
BEGIN
    IF TG_RELID <> 'public.model_routes'::regclass THEN
        RAISE EXCEPTION 'darkroom_audit_route() is a trigger of model_routes alone, not of %', TG_RELID::regclass
            USING ERRCODE = 'DR001';
    END IF;
    SELECT via INTO before FROM public.model_routes
     WHERE model = NEW.model AND id < NEW.id ORDER BY id DESC LIMIT 1;
    PERFORM public.darkroom_write_audit_entry(
        'model_routed', 'model ' || NEW.model, NULL, NULL,
        jsonb_build_object('via', coalesce(before, NEW.model)), jsonb_build_object('via', NEW.via));
    -- Workers make the waiting jobs of the model due.
    PERFORM pg_notify('darkroom_routes', NEW.model);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION darkroom_audit_route() IS
    'Trigger of model_routes: records who chose a route, and notifies the workers.';
CREATE TRIGGER model_routes_note_who AFTER INSERT ON model_routes
    FOR EACH ROW EXECUTE FUNCTION darkroom_audit_route();
SELECT darkroom_grant_execute('darkroom_audit_route()', '{}');
