-- Who may ask over HTTP. A key is shown once, when it is made; here is only what recognises it.

CREATE TABLE api_keys (
    id            uuid        PRIMARY KEY,
    prefix        text        NOT NULL,
    -- 256 random bits cannot be guessed however fast the hash is, so a slow one with salt, as
    -- passwords need it, would only cost time on every request.
    secret_sha256 bytea       NOT NULL,
    role          text        NOT NULL,
    account_id    text,
    name          text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text        NOT NULL DEFAULT session_user,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    CONSTRAINT prefix_must_be_unique UNIQUE (prefix),
    CONSTRAINT the_account_of_a_key_must_exist FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT prefix_must_be_dk_and_12_letters_or_digits
        CHECK (prefix ~ '^dk_[0-9A-Za-z]{12}$'),
    CONSTRAINT secret_sha256_must_be_32_bytes CHECK (octet_length(secret_sha256) = 32),
    CONSTRAINT role_must_be_service_operator_or_admin
        CHECK (role IN ('service', 'operator', 'admin')),
    CONSTRAINT a_service_key_has_an_account_and_no_other_has
        CHECK ((role = 'service') = (account_id IS NOT NULL)),
    CONSTRAINT name_must_be_1_to_200_printable_characters
        CHECK (name ~ '^[^[:cntrl:]]{1,200}$')
);
COMMENT ON TABLE api_keys IS
    'The API keys that were ever made. Rows are never deleted: whom an old key belonged to stays known, and revoking the last key does not open the API.';
COMMENT ON COLUMN api_keys.id IS 'Rises with time.';
COMMENT ON COLUMN api_keys.prefix IS 'How the key begins: what people recognise it by. No secret.';
COMMENT ON COLUMN api_keys.secret_sha256 IS 'SHA-256 of the whole key, which is stored nowhere.';
COMMENT ON COLUMN api_keys.role IS
    'service: enqueues and sees for its own account; operator: sees every account, spends nobody''s credits; admin: does all that, sets prices and grants.';
COMMENT ON COLUMN api_keys.account_id IS 'The only account that a service key sees; null for the other roles.';
COMMENT ON COLUMN api_keys.name IS 'What the key is for, in its maker''s words.';
COMMENT ON COLUMN api_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN api_keys.created_by IS 'Who made it: the session user, or the person for whom a program acted.';
COMMENT ON COLUMN api_keys.last_used_at IS 'When it was last presented, true to a minute or two; null: never.';
COMMENT ON COLUMN api_keys.revoked_at IS 'Since when it is refused, for ever; null while it holds.';

CREATE FUNCTION darkroom_guard_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.prefix, NEW.secret_sha256, NEW.role, NEW.account_id, NEW.created_at, NEW.created_by)
       IS DISTINCT FROM
       (OLD.id, OLD.prefix, OLD.secret_sha256, OLD.role, OLD.account_id, OLD.created_at, OLD.created_by) THEN
        RAISE EXCEPTION 'what API key % is and whose it is never changes', OLD.prefix
            USING ERRCODE = 'DR001', HINT = 'Revoke it and create another: darkroom keys create.';
    END IF;
    IF OLD.revoked_at IS DISTINCT FROM NEW.revoked_at AND OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'API key % is revoked and stays so', OLD.prefix
            USING ERRCODE = 'DR001', HINT = 'Create another: darkroom keys create.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_key() IS
    'Trigger: a key may be named, used and revoked; all else about it stays.';

CREATE TRIGGER api_keys_stay_what_they_are BEFORE UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION darkroom_guard_key();
CREATE TRIGGER api_keys_are_not_deleted BEFORE DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change('Revoke the key instead: darkroom keys revoke.');
CREATE TRIGGER api_keys_are_not_truncated BEFORE TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION darkroom_refuse_change('Revoke the keys instead: darkroom keys revoke.');

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_service') THEN
        GRANT SELECT, UPDATE (last_used_at) ON api_keys TO darkroom_service;
    END IF;
    -- The hash is for the service alone: it is not among the columns that people may read.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_admin') THEN
        GRANT SELECT (id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at),
              INSERT (id, prefix, secret_sha256, role, account_id, name, created_by),
              UPDATE (revoked_at)
           ON api_keys TO darkroom_admin;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'darkroom_readonly') THEN
        GRANT SELECT (id, prefix, role, account_id, name, created_at, created_by, last_used_at, revoked_at)
           ON api_keys TO darkroom_readonly;
    END IF;
END $$;
