-- Images that callers have uploaded. Kie's upload host stores the bytes, for a day; a row names them.

CREATE TABLE files (
    id           uuid        PRIMARY KEY,
    account_id   text        NOT NULL REFERENCES accounts (id),
    sha256       bytea       NOT NULL,
    bytes        bigint      NOT NULL,
    content_type text        NOT NULL,
    width        integer     NOT NULL,
    height       integer     NOT NULL,
    url          text        NOT NULL,
    former_urls  text[]      NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    CONSTRAINT file_must_be_unique_per_account UNIQUE (account_id, sha256),
    CONSTRAINT sha256_of_a_file_must_be_32_bytes CHECK (octet_length(sha256) = 32),
    CONSTRAINT file_must_have_bytes CHECK (bytes > 0),
    CONSTRAINT file_must_be_an_image
        CHECK (content_type IN ('image/png', 'image/jpeg', 'image/webp')),
    CONSTRAINT image_must_have_pixels CHECK (width > 0 AND height > 0)
);
COMMENT ON TABLE files IS
    'Images that callers have uploaded for image-to-image jobs. Kie''s upload host stores the bytes for 24 hours. One row per account and content: the same bytes again are the same file. No money depends on it.';
COMMENT ON COLUMN files.id IS 'The file, as GET /v1/files/{id} names it.';
COMMENT ON COLUMN files.account_id IS 'Who uploaded it. Nobody else sees it.';
COMMENT ON COLUMN files.sha256 IS 'SHA-256 of its bytes.';
COMMENT ON COLUMN files.bytes IS 'How many bytes it has.';
COMMENT ON COLUMN files.content_type IS 'Its type, as its bytes tell it.';
COMMENT ON COLUMN files.width IS 'In pixels.';
COMMENT ON COLUMN files.height IS 'In pixels.';
COMMENT ON COLUMN files.url IS
    'Where Kie''s upload host serves it now. Everybody who knows the URL can read the image.';
COMMENT ON COLUMN files.former_urls IS
    'Its earlier URLs, oldest first. A queued job that names one of them is submitted with url.';
COMMENT ON COLUMN files.created_at IS 'When it was first uploaded.';
COMMENT ON COLUMN files.expires_at IS
    'Until when url is served. A file that a queued job names is renewed before. The row is deleted 30 days later.';
CREATE INDEX files_by_url ON files (url);
CREATE INDEX files_by_former_url ON files USING gin (former_urls);
CREATE INDEX files_by_expiry ON files (expires_at);
