-- The tables of a hand-written pipeline: its jobs and its money. Created again for each run.
DROP SCHEMA IF EXISTS peers CASCADE;
CREATE SCHEMA peers;

CREATE TABLE peers.accounts (
    id      text PRIMARY KEY,
    balance numeric NOT NULL
);

CREATE TABLE peers.prices (
    quantity integer PRIMARY KEY,
    credits  numeric NOT NULL
);

CREATE TABLE peers.jobs (
    id          integer PRIMARY KEY,
    account_id  text NOT NULL REFERENCES peers.accounts,
    prompt      text NOT NULL,
    quantity    integer NOT NULL,
    state       text NOT NULL DEFAULT 'queued',
    task_id     text,
    result_urls text[],
    credits     numeric,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);

CREATE TABLE peers.ledger_entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id    text NOT NULL REFERENCES peers.accounts,
    job_id        integer NOT NULL REFERENCES peers.jobs,
    credits       numeric NOT NULL,
    balance_after numeric NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

INSERT INTO peers.accounts VALUES ('peers', 1000000);
INSERT INTO peers.prices VALUES (1, 6), (2, 7), (4, 8);
