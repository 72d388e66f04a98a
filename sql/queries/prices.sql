-- Prices as programs change, preview and schedule them.

-- name: apply_scheduled_prices
-- Applies the scheduled prices whose time has come, and returns how many.
SELECT darkroom_apply_scheduled_prices() AS applied;

-- name: sum_settlements
-- Writes the totals of up to a day that has ended, and returns whether more is left.
SELECT darkroom_sum_settlements() AS is_more;

-- name: change_price
-- $1 model, $2 task, $3 quantity, $4 variant, $5 credits, $6 what Kie charges (null each: stays), $7 why,
-- $8 whether what looks like a typing error is meant, $9 who (JSON text), $10 the version that was read
-- (null: any).
SELECT model, task, quantity, variant, credits, provider_credits, updated_at, updated_by, price_id
  FROM darkroom_change_price($1, $2, $3, $5, $6, $7, $8, $9::text::jsonb, $4, $10);

-- name: preview_price
-- What a change would do. $1 model, $2 task, $3 quantity, $4 variant, $5 credits, $6 what Kie charges
-- (null each: stays). No row: there is no such price.
WITH price AS (
    SELECT model, task, quantity, variant, price_id, credits AS credits_before,
           provider_credits AS provider_credits_before, coalesce($5::numeric, credits) AS credits,
           coalesce($6::numeric, provider_credits) AS provider_credits
      FROM pricing WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4
), covered AS MATERIALIZED (
    SELECT first, last FROM darkroom_covered_period('hour', now() - interval '7 days', now())
)
SELECT price.*, waiting.*, recent.*, next.*,
       darkroom_price_doubts(credits_before, provider_credits_before, credits, provider_credits)
           AS doubts
  FROM price
 CROSS JOIN LATERAL (
       SELECT count(*) AS open_jobs, coalesce(sum(credits_quoted), 0) AS credits_held,
              count(*) FILTER (WHERE credits_quoted > price.credits) AS quoted_above,
              coalesce(sum(least(credits_quoted, price.credits)), 0) AS lower_of_both
         FROM jobs
        WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4
          AND state IN ('queued', 'submitting', 'unknown', 'generating')) AS waiting
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(part.jobs), 0)::bigint AS recent_jobs,
              coalesce(sum(part.charged), 0) AS recent_revenue
         FROM (SELECT total.price_id, total.jobs, total.charged
                 FROM covered JOIN hourly_totals AS total
                   ON total.starts_at >= covered.first AND total.starts_at < covered.last
                UNION ALL
               SELECT jobs.price_id, 1, jobs.credits_charged
                 FROM covered,
                      LATERAL (VALUES (now() - interval '7 days', covered.first),
                                      (covered.last, 'infinity')) AS gap (since, until)
                 JOIN jobs ON jobs.finished_at >= gap.since AND jobs.finished_at < gap.until
                WHERE jobs.state = 'succeeded') AS part
        WHERE part.price_id IN (SELECT id FROM pricing_history
                                 WHERE model = $1 AND task = $2 AND quantity = $3
                                   AND variant = $4)) AS recent
  LEFT JOIN LATERAL (
       SELECT takes_effect_at AS next_change_at, credits AS next_credits FROM scheduled_prices
        WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4 AND settled_at IS NULL
        ORDER BY takes_effect_at LIMIT 1) AS next ON true;

-- name: schedule_price
-- $1 model, $2 task, $3 quantity, $4 variant, $5 credits, $6 what Kie charges (null: stays), $7 when,
-- $8 why, $9 whether what looks like a typing error is meant, $10 who (JSON text).
SELECT id, model, task, quantity, variant, credits, provider_credits, takes_effect_at, reason,
       scheduled_by, scheduled_at, is_revoked, settled_at, settled_by, price_id, failure
  FROM darkroom_schedule_price($1, $2, $3, $5, $6, $7, $8, $9, $10::text::jsonb, $4);

-- name: unschedule_price
-- $1 id, $2 why, $3 who (JSON text).
SELECT id, model, task, quantity, variant, credits, provider_credits, takes_effect_at, reason,
       scheduled_by, scheduled_at, is_revoked, settled_at, settled_by, price_id, failure
  FROM darkroom_unschedule_price($1, $2, $3::text::jsonb);

-- name: list_scheduled
-- Those that wait, the next one first; then the settled ones, newest first. $1 limit, $2 whether settled
-- ones are wanted.
SELECT id, model, task, quantity, variant, credits, provider_credits, takes_effect_at, reason,
       scheduled_by, scheduled_at, is_revoked, settled_at, settled_by, price_id, failure
  FROM scheduled_prices
 WHERE settled_at IS NULL OR $2::boolean
 ORDER BY settled_at DESC NULLS FIRST, takes_effect_at, id LIMIT $1;

-- name: read_margin
-- What accounts were charged, less what Kie charged us, by day, model or account. $1 day, model or
-- account, $2 from, $3 to (exclusive), $4 how many rows at most. Refunds and late images count on the day
-- on which they come. Whole hours and days are read from their totals, the rest event by event.
WITH covered AS MATERIALIZED (
    SELECT first, last
      FROM darkroom_covered_period(CASE $1::text WHEN 'account' THEN 'day' ELSE 'hour' END, $2, $3)
), movement AS (
    SELECT one.starts_at AS at, one.model, NULL AS account_id, one.jobs, one.charged, one.refunded,
           one.provider_credits, one.uncharged_jobs, one.uncharged_provider_credits
      FROM covered JOIN hourly_totals AS one
        ON $1 <> 'account' AND one.starts_at >= covered.first AND one.starts_at < covered.last
     UNION ALL
    SELECT one.starts_at, NULL, one.account_id, one.jobs, one.charged, one.refunded,
           one.provider_credits, one.uncharged_jobs, one.uncharged_provider_credits
      FROM covered JOIN daily_account_totals AS one
        ON $1 = 'account' AND one.starts_at >= covered.first AND one.starts_at < covered.last
     UNION ALL
    SELECT one.at, one.model, one.account_id, one.jobs, one.charged, one.refunded,
           one.provider_credits, one.uncharged_jobs, one.uncharged_provider_credits
      FROM covered,
           LATERAL (VALUES ($2::timestamptz, covered.first), (covered.last, $3::timestamptz))
               AS gap (since, until),
           LATERAL darkroom_settlements(gap.since, gap.until) AS one
), grouped AS (
    SELECT CASE $1 WHEN 'day' THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                   WHEN 'model' THEN model ELSE account_id END AS name,
           sum(jobs) AS jobs, sum(charged) AS charged, sum(refunded) AS refunded,
           sum(provider_credits) AS provider_credits, sum(uncharged_jobs) AS uncharged_jobs,
           sum(uncharged_provider_credits) AS uncharged_provider_credits,
           sum(charged - refunded - provider_credits) AS margin
      FROM movement GROUP BY 1
)
SELECT name, jobs::bigint AS jobs, charged, refunded, provider_credits,
       uncharged_jobs::bigint AS uncharged_jobs, uncharged_provider_credits, margin
  FROM grouped
 ORDER BY CASE WHEN $1 = 'day' THEN name END DESC, margin, name LIMIT $4;

-- name: read_margin_by_variant
-- The same by model and variant, whose name is that of the model, a space and the variant. $1 from, $2 to
-- (exclusive), $3 how many rows at most. The totals know the variant of what was charged, by its price
-- version. Refunds and late images, which are few, are read event by event.
WITH covered AS MATERIALIZED (
    SELECT first, last FROM darkroom_covered_period('hour', $1, $2)
), charged AS (
    SELECT one.price_id, one.jobs, one.charged, one.provider_credits
      FROM covered JOIN hourly_totals AS one
        ON one.price_id <> 0 AND one.starts_at >= covered.first AND one.starts_at < covered.last
     UNION ALL
    SELECT one.price_id, one.jobs, one.charged, one.provider_credits
      FROM covered,
           LATERAL (VALUES ($1::timestamptz, covered.first), (covered.last, $2::timestamptz))
               AS gap (since, until),
           LATERAL darkroom_settlements(gap.since, gap.until) AS one
     WHERE one.price_id <> 0
), movement AS (
    SELECT version.model, version.variant, charged.jobs, charged.charged, 0::numeric AS refunded,
           charged.provider_credits, 0::bigint AS uncharged_jobs,
           0::numeric AS uncharged_provider_credits
      FROM charged JOIN pricing_history AS version ON version.id = charged.price_id
     UNION ALL
    SELECT model, variant, 0, 0, refunded, provider_credits, uncharged_jobs, provider_credits
      FROM darkroom_corrections($1, $2)
), grouped AS (
    SELECT concat_ws(' ', model, nullif(variant, '')) AS name,
           sum(jobs) AS jobs, sum(charged) AS charged, sum(refunded) AS refunded,
           sum(provider_credits) AS provider_credits, sum(uncharged_jobs) AS uncharged_jobs,
           sum(uncharged_provider_credits) AS uncharged_provider_credits,
           sum(charged - refunded - provider_credits) AS margin
      FROM movement GROUP BY 1
)
SELECT name, jobs::bigint AS jobs, charged, refunded, provider_credits,
       uncharged_jobs::bigint AS uncharged_jobs, uncharged_provider_credits, margin
  FROM grouped
 ORDER BY margin, name LIMIT $3;
