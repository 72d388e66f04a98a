-- Prices as programs change, preview and schedule them.

-- name: apply_scheduled_prices
-- Applies the scheduled prices whose time has come, and returns how many.
SELECT darkroom_apply_scheduled_prices() AS applied;

-- name: change_price
-- $1 model, $2 task, $3 quantity, $4 variant, $5 credits, $6 what Kie charges (null each: stays), $7 why,
-- $8 whether what looks like a typing error is meant, $9 who (JSON text).
SELECT model, task, quantity, variant, credits, provider_credits, updated_at, updated_by, price_id
  FROM darkroom_change_price($1, $2, $3, $5, $6, $7, $8, $9::text::jsonb, $4);

-- name: preview_price
-- What a change would do. $1 model, $2 task, $3 quantity, $4 variant, $5 credits, $6 what Kie charges
-- (null each: stays). No row: there is no such price.
WITH price AS (
    SELECT model, task, quantity, variant, credits AS credits_before,
           provider_credits AS provider_credits_before, coalesce($5::numeric, credits) AS credits,
           coalesce($6::numeric, provider_credits) AS provider_credits
      FROM pricing WHERE model = $1 AND task = $2 AND quantity = $3 AND variant = $4
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
       SELECT count(*) AS recent_jobs, coalesce(sum(credits_charged), 0) AS recent_revenue
         FROM jobs
        WHERE finished_at > now() - interval '7 days' AND state = 'succeeded'
          AND price_id IN (SELECT id FROM pricing_history
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
-- account, $2 from, $3 to (exclusive), $4 how many rows at most. Kie's charge is that of the price
-- version of the job, and what late images did cost; refunds count on the day on which they are made.
WITH movement AS (
    SELECT jobs.finished_at AS at, jobs.model, jobs.account_id, jobs.credits_charged AS charged,
           0 AS refunded, version.provider_credits AS cost, 1 AS jobs, 0 AS uncharged_jobs
      FROM jobs_masked AS jobs JOIN pricing_history AS version ON version.id = jobs.price_id
     WHERE jobs.finished_at >= $2::timestamptz AND jobs.finished_at < $3::timestamptz
       AND jobs.state = 'succeeded'
     UNION ALL
    SELECT late.ended_at, jobs.model, jobs.account_id, 0, 0, late.provider_credits, 0, 1
      FROM late_tasks AS late JOIN jobs_masked AS jobs ON jobs.id = late.job_id
     WHERE late.outcome = 'delivered' AND late.ended_at >= $2 AND late.ended_at < $3
     UNION ALL
    SELECT entry.created_at, jobs.model, entry.account_id, 0, entry.credits, 0, 0, 0
      FROM ledger_entries AS entry JOIN jobs_masked AS jobs ON jobs.id = entry.job_id
     WHERE entry.kind = 'adjustment' AND entry.job_id IS NOT NULL
       AND entry.created_at >= $2 AND entry.created_at < $3
), grouped AS (
    SELECT CASE $1::text WHEN 'day' THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                         WHEN 'model' THEN model ELSE account_id END AS name,
           sum(jobs) AS jobs, sum(charged) AS charged, sum(refunded) AS refunded,
           sum(cost) AS provider_credits, sum(uncharged_jobs) AS uncharged_jobs,
           sum(cost) FILTER (WHERE uncharged_jobs = 1) AS uncharged_provider_credits,
           sum(charged - refunded - cost) AS margin
      FROM movement GROUP BY 1
)
SELECT name, jobs, charged, refunded, provider_credits, uncharged_jobs,
       coalesce(uncharged_provider_credits, 0) AS uncharged_provider_credits, margin
  FROM grouped
 ORDER BY CASE WHEN $1 = 'day' THEN name END DESC, margin, name LIMIT $4;
