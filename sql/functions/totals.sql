-- Totals of the past, and what they are totals of.

-- Images that came late and were not charged, and refunds, each when it happened. $1 from, $2 to
-- (exclusive). There are few. Reads with the rights of its caller; the planner inlines it.
CREATE OR REPLACE FUNCTION darkroom_corrections(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, model text, variant text, account_id text, refunded numeric,
               provider_credits numeric, uncharged_jobs bigint)
LANGUAGE sql STABLE AS $$
    SELECT late.ended_at, jobs.model, jobs.variant, jobs.account_id, 0::numeric,
           late.provider_credits, 1::bigint
      FROM late_tasks AS late JOIN jobs_masked AS jobs ON jobs.id = late.job_id
     WHERE late.outcome = 'delivered' AND late.ended_at >= since AND late.ended_at < until
     UNION ALL
    SELECT entry.created_at, jobs.model, jobs.variant, entry.account_id, entry.credits, 0, 0
      FROM ledger_entries AS entry JOIN jobs_masked AS jobs ON jobs.id = entry.job_id
     WHERE entry.kind = 'adjustment' AND entry.job_id IS NOT NULL
       AND entry.created_at >= since AND entry.created_at < until
$$;
COMMENT ON FUNCTION darkroom_corrections(timestamptz, timestamptz) IS
    'What was given back, and what was paid to Kie and not charged, in a period, event by event.';

-- What margins and previews of prices sum: an ended job that was charged, images that came late and
-- were not, and a refund. Each counts when it happened. $1 from, $2 to (exclusive). Kie's charge is that
-- of the price version of the job. Reads with the rights of its caller; the planner inlines it.
CREATE OR REPLACE FUNCTION darkroom_settlements(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, model text, account_id text, price_id bigint, jobs bigint,
               charged numeric, refunded numeric, provider_credits numeric, uncharged_jobs bigint,
               uncharged_provider_credits numeric)
LANGUAGE sql STABLE AS $$
    SELECT jobs.finished_at, jobs.model, jobs.account_id, jobs.price_id, 1::bigint,
           jobs.credits_charged, 0::numeric,
           coalesce(jobs.consumed_credits, version.provider_credits), 0::bigint, 0::numeric
      FROM jobs_masked AS jobs JOIN pricing_history AS version ON version.id = jobs.price_id
     WHERE jobs.finished_at >= since AND jobs.finished_at < until AND jobs.state = 'succeeded'
     UNION ALL
    SELECT at, model, account_id, 0, 0, 0, refunded, provider_credits, uncharged_jobs,
           provider_credits
      FROM darkroom_corrections(since, until)
$$;
COMMENT ON FUNCTION darkroom_settlements(timestamptz, timestamptz) IS
    'What was charged, given back and paid to Kie in a period, event by event.';

-- The part of a period that totals cover, as whole units of `hour` or `day`. It is empty, with both ends
-- at the beginning of the period, where they cover none.
CREATE OR REPLACE FUNCTION darkroom_covered_period(
    unit text, since timestamptz, until timestamptz, OUT first timestamptz, OUT last timestamptz
) LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT first, greatest(first, last)
      FROM (SELECT least(until, date_trunc(unit, since + ('1 ' || unit)::interval
                                                       - interval '1 microsecond', 'UTC')) AS first,
                   least(date_trunc(unit, until, 'UTC'),
                         coalesce(CASE unit WHEN 'hour' THEN hours_end ELSE days_end END,
                                  '-infinity')) AS last
              FROM totals_progress) AS whole
$$;
COMMENT ON FUNCTION darkroom_covered_period(text, timestamptz, timestamptz) IS
    'Which hours or days of a period have totals. The rest of it is read from jobs.';

-- Writes the totals of up to a day that has ended. Returns whether more is left.
--
-- The time of a settlement is the beginning of its transaction, so a time is past only when every
-- transaction that began before it has ended. Those that run are noted by their virtual ids, which every
-- role may see; when none of them runs any more, everything before the note is past. The minute allows
-- for the time between the beginning of a transaction and its id.
CREATE OR REPLACE FUNCTION darkroom_sum_settlements() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    progress  totals_progress;
    mark      CONSTANT timestamptz := clock_timestamp() - interval '1 minute';
    running   text[];
    first_at  timestamptz;
    since     timestamptz;
    until     timestamptz;
    is_more   boolean := false;
BEGIN
    SELECT * INTO progress FROM totals_progress FOR UPDATE SKIP LOCKED;
    -- Under another isolation level, statements below would not see what ended meanwhile.
    IF NOT FOUND OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;
    END IF;
    running := ARRAY(
        SELECT DISTINCT held.virtualtransaction
          FROM pg_locks AS held LEFT JOIN pg_stat_activity AS backend ON backend.pid = held.pid
         WHERE held.locktype IN ('virtualxid', 'transactionid')
           AND held.pid IS DISTINCT FROM pg_backend_pid()
           -- Autovacuum has no user.
           AND (backend.pid IS NULL
                OR backend.datname = current_database() AND backend.usesysid IS NOT NULL));
    IF NOT progress.open_transactions && running THEN
        progress.closed_until := greatest(
            progress.closed_until, CASE WHEN running = '{}' THEN mark ELSE progress.marked_at END);
        progress.marked_at := mark;
        progress.open_transactions := running;
    END IF;

    -- Read after the transactions were: whatever is earlier is visible.
    IF progress.hours_end IS NULL OR progress.days_end IS NULL THEN
        SELECT least((SELECT min(finished_at) FROM jobs),
                     (SELECT min(ended_at) FROM late_tasks WHERE outcome = 'delivered'),
                     (SELECT min(created_at) FROM ledger_entries
                       WHERE kind = 'adjustment' AND job_id IS NOT NULL)) INTO first_at;
    END IF;
    IF progress.hours_end IS NULL THEN
        DELETE FROM hourly_totals;
    END IF;
    since := coalesce(progress.hours_end, date_trunc('hour', first_at, 'UTC'));
    until := least(date_trunc('hour', progress.closed_until, 'UTC'), since + interval '1 day');
    IF since < until THEN
        INSERT INTO hourly_totals
        SELECT date_trunc('hour', at, 'UTC'), model, price_id, sum(jobs), sum(charged), sum(refunded),
               sum(provider_credits), sum(uncharged_jobs), sum(uncharged_provider_credits)
          FROM darkroom_settlements(since, until) GROUP BY 1, 2, 3;
        progress.hours_end := until;
        is_more := until + interval '1 hour' <= progress.closed_until;
    END IF;

    IF progress.days_end IS NULL THEN
        DELETE FROM daily_account_totals;
    END IF;
    since := coalesce(progress.days_end, date_trunc('day', first_at, 'UTC'));
    until := since + interval '1 day';
    IF until <= progress.closed_until THEN
        INSERT INTO daily_account_totals
        SELECT since, account_id, sum(jobs), sum(charged), sum(refunded), sum(provider_credits),
               sum(uncharged_jobs), sum(uncharged_provider_credits)
          FROM darkroom_settlements(since, until) GROUP BY account_id;
        progress.days_end := until;
        is_more := is_more OR until + interval '1 day' <= progress.closed_until;
    END IF;
    UPDATE totals_progress
       SET (hours_end, days_end, closed_until, marked_at, open_transactions)
         = (progress.hours_end, progress.days_end, progress.closed_until, progress.marked_at,
            progress.open_transactions);
    RETURN is_more;
END $$;
COMMENT ON FUNCTION darkroom_sum_settlements() IS
    'For workers: writes the totals of hours and days that can change no more, a day at a time.';
