-- Workers whose keys differ under one name of a Kie account share the brake and the limits of two Kie
-- accounts. Each tells a fingerprint of its keys, so that they find out without showing a key.

CREATE TABLE installation (
    is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    key_salt text    NOT NULL
        DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
);
COMMENT ON TABLE installation IS 'One row: what this database alone has.';
COMMENT ON COLUMN installation.is_only IS 'Always true: there is one row.';
COMMENT ON COLUMN installation.key_salt IS
    'The secret with which workers make the fingerprints of their Kie keys; random, never shown.';
INSERT INTO installation DEFAULT VALUES;

ALTER TABLE processes ADD COLUMN key_fingerprints jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN processes.key_fingerprints IS
    'By the name of each Kie account, a shortened keyed hash of its key: equal where the keys are. Empty for processes without keys and for older versions.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT ON installation TO darkroom_service;
    END IF;
END $$;
