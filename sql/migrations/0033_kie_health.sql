-- What Kie says of the models that we use, and what its responses contain that no reader knows.

CREATE TABLE kie_models (
    kie_model             text        PRIMARY KEY,
    family                text        NOT NULL,
    sold_as               text[]      NOT NULL,
    tasks                 text[]      NOT NULL,
    checked_at            timestamptz NOT NULL,
    is_listed             boolean     NOT NULL,
    missing_parts         text[]      NOT NULL,
    price_text            text,
    price_credits         numeric[]   NOT NULL,
    rated_at              timestamptz,
    success_percent       numeric,
    usual_success_percent numeric,
    catalog_fingerprint   text        NOT NULL,
    CONSTRAINT kie_model_must_be_named CHECK (kie_model <> '' AND family <> ''),
    CONSTRAINT success_must_be_0_to_100_percent
        CHECK (success_percent BETWEEN 0 AND 100 AND usual_success_percent BETWEEN 0 AND 100)
);
COMMENT ON TABLE kie_models IS
    'What Kie''s catalogue last said of each of its models that a family of ours uses. Safe to empty: the next check fills it.';
COMMENT ON COLUMN kie_models.kie_model IS 'The name of the model at Kie.';
COMMENT ON COLUMN kie_models.family IS 'Our family that uses it.';
COMMENT ON COLUMN kie_models.sold_as IS 'The models of pricing whose images it makes: the family, and those that can be sent by it.';
COMMENT ON COLUMN kie_models.tasks IS 'The tasks of the family that use it, as in pricing.task.';
COMMENT ON COLUMN kie_models.checked_at IS 'When Kie was asked for catalogue, schema and price.';
COMMENT ON COLUMN kie_models.is_listed IS 'Whether Kie''s catalogue lists the model.';
COMMENT ON COLUMN kie_models.missing_parts IS 'Fields and values that our requests use and Kie''s schema lacks, and fields that it newly requires.';
COMMENT ON COLUMN kie_models.price_text IS 'Kie''s price, as prose; null: Kie names none.';
COMMENT ON COLUMN kie_models.price_credits IS 'The credits that the prose names, in its order.';
COMMENT ON COLUMN kie_models.rated_at IS 'When Kie was asked for the success rate; null: it reported none.';
COMMENT ON COLUMN kie_models.success_percent IS 'Kie''s success rate of the last hour that it reports, in percent.';
COMMENT ON COLUMN kie_models.usual_success_percent IS 'The mean of all that it reports, about a day.';
COMMENT ON COLUMN kie_models.catalog_fingerprint IS 'Of our catalog when it was compared: another version compares anew.';

CREATE TABLE kie_surprises (
    day           date        NOT NULL,
    family        text        NOT NULL,
    kind          text        NOT NULL,
    value         text        NOT NULL,
    seen          bigint      NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    example       text        NOT NULL,
    PRIMARY KEY (day, family, kind, value)
);
COMMENT ON TABLE kie_surprises IS
    'What Kie''s responses contained and no reader knows, one row a day for each. Kept for 90 days; safe to empty.';
COMMENT ON COLUMN kie_surprises.day IS 'The day in UTC.';
COMMENT ON COLUMN kie_surprises.family IS 'The family whose response it was.';
COMMENT ON COLUMN kie_surprises.kind IS 'code, failure_code, field, state, status or success_flag.';
COMMENT ON COLUMN kie_surprises.value IS 'The name of the field, or the word or code.';
COMMENT ON COLUMN kie_surprises.seen IS 'How often, over all workers.';
COMMENT ON COLUMN kie_surprises.first_seen_at IS 'When a worker first stored it on that day.';
COMMENT ON COLUMN kie_surprises.last_seen_at IS 'When a worker last stored it on that day.';
COMMENT ON COLUMN kie_surprises.example IS 'The first response of the day with it as JSON text, without prompts, keys, URLs of callbacks and input images.';
