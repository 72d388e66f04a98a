-- As in 0027_distant_clocks.sql, for times at the ends of the calendar as well.
CREATE OR REPLACE FUNCTION darkroom_clock_distance(id uuid, created_at timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('{2, 1, 0, 1, 2}'::integer[])[1 + width_bucket(
        least(greatest(created_at, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 00:00:00+00')
            - timestamptz '1970-01-01 00:00:00+00'
            - ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond',
        ARRAY[interval '-10 minutes', interval '-5 seconds', interval '5 seconds', interval '10 minutes'])]
$$;

-- Totals of the past, so that margins and previews of prices need not read every job. They hold what
-- darkroom_settlements() (sql/functions/totals.sql) says of their hours and days, which can change no
-- more.

CREATE TABLE hourly_totals (
    starts_at                   timestamptz NOT NULL,
    model                       text        NOT NULL,
    price_id                    bigint      NOT NULL,
    jobs                        bigint      NOT NULL,
    charged                     numeric     NOT NULL,
    refunded                    numeric     NOT NULL,
    provider_credits            numeric     NOT NULL,
    uncharged_jobs              bigint      NOT NULL,
    uncharged_provider_credits  numeric     NOT NULL,
    PRIMARY KEY (starts_at, model, price_id)
);
COMMENT ON TABLE hourly_totals IS
    'What was charged and paid in each hour, by model and price version. Sums of other tables: safe to rebuild, by UPDATE totals_progress SET hours_end = NULL.';
COMMENT ON COLUMN hourly_totals.starts_at IS 'When the hour begins (UTC).';
COMMENT ON COLUMN hourly_totals.model IS 'As in jobs.';
COMMENT ON COLUMN hourly_totals.price_id IS 'The price version by which jobs were charged; 0 for refunds and late images.';
COMMENT ON COLUMN hourly_totals.jobs IS 'How many jobs succeeded.';
COMMENT ON COLUMN hourly_totals.charged IS 'What accounts were charged for them.';
COMMENT ON COLUMN hourly_totals.refunded IS 'What accounts were given back in this hour.';
COMMENT ON COLUMN hourly_totals.provider_credits IS 'What Kie charged us, late images included.';
COMMENT ON COLUMN hourly_totals.uncharged_jobs IS 'How many tasks delivered images late, for which nobody was charged.';
COMMENT ON COLUMN hourly_totals.uncharged_provider_credits IS 'What Kie charged us for those.';

CREATE TABLE daily_account_totals (
    starts_at                   timestamptz NOT NULL,
    account_id                  text        NOT NULL,
    jobs                        bigint      NOT NULL,
    charged                     numeric     NOT NULL,
    refunded                    numeric     NOT NULL,
    provider_credits            numeric     NOT NULL,
    uncharged_jobs              bigint      NOT NULL,
    uncharged_provider_credits  numeric     NOT NULL,
    PRIMARY KEY (starts_at, account_id)
);
COMMENT ON TABLE daily_account_totals IS
    'What each account was charged, and what Kie charged us for it, by day. Sums of other tables: safe to rebuild, by UPDATE totals_progress SET days_end = NULL.';
COMMENT ON COLUMN daily_account_totals.starts_at IS 'When the day begins (UTC).';
COMMENT ON COLUMN daily_account_totals.account_id IS 'The account.';
COMMENT ON COLUMN daily_account_totals.jobs IS 'As in hourly_totals.';
COMMENT ON COLUMN daily_account_totals.charged IS 'As in hourly_totals.';
COMMENT ON COLUMN daily_account_totals.refunded IS 'As in hourly_totals.';
COMMENT ON COLUMN daily_account_totals.provider_credits IS 'As in hourly_totals.';
COMMENT ON COLUMN daily_account_totals.uncharged_jobs IS 'As in hourly_totals.';
COMMENT ON COLUMN daily_account_totals.uncharged_provider_credits IS 'As in hourly_totals.';

CREATE TABLE totals_progress (
    is_only            boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    hours_end          timestamptz,
    days_end           timestamptz,
    closed_until       timestamptz NOT NULL DEFAULT '-infinity',
    marked_at          timestamptz NOT NULL DEFAULT '-infinity',
    open_transactions  text[]      NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE totals_progress IS 'How far the totals reach. One row.';
COMMENT ON COLUMN totals_progress.is_only IS 'true.';
COMMENT ON COLUMN totals_progress.hours_end IS 'Up to when hourly_totals has every hour; null: it has none.';
COMMENT ON COLUMN totals_progress.days_end IS 'Up to when daily_account_totals has every day; null: it has none.';
COMMENT ON COLUMN totals_progress.closed_until IS
    'Every transaction that began before has ended, so nothing of an earlier time is written any more.';
COMMENT ON COLUMN totals_progress.marked_at IS 'What closed_until becomes once open_transactions have ended.';
COMMENT ON COLUMN totals_progress.open_transactions IS
    'The virtual ids of the transactions that ran at marked_at.';
INSERT INTO totals_progress DEFAULT VALUES;
