-- What a caller notes on a job is bounded by what it becomes: 13 KB of `1e308` become 700 KB, as
-- jsonb writes numbers digit by digit, and every list of jobs would carry them. A trigger and no
-- CHECK: a row that is longer already must still be able to end.

CREATE FUNCTION darkroom_refuse_long_metadata() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'metadata becomes % bytes as stored; at most 65536 are allowed',
        octet_length(NEW.metadata::text)
        USING ERRCODE = 'check_violation', CONSTRAINT = 'metadata_must_stay_short';
END
$$;
COMMENT ON FUNCTION darkroom_refuse_long_metadata() IS
    'Refuses a job whose metadata is longer than 64 KiB as text.';

CREATE TRIGGER jobs_metadata_must_stay_short
    BEFORE INSERT OR UPDATE OF metadata ON jobs
    FOR EACH ROW WHEN (octet_length(NEW.metadata::text) > 65536)
    EXECUTE FUNCTION darkroom_refuse_long_metadata();
