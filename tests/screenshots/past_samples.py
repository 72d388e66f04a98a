"""Writes the samples of the queue that workers would have written while the past jobs ran."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import asyncpg

_SAMPLES = """
INSERT INTO history_samples (
    interval_seconds, starts_at, sampled_at, queued, submitting, unknown, generating,
    held_for_review, oldest_waiting_seconds, accepted, submitted, succeeded, failed, cancelled,
    credits_held, credits_charged, wait_p50_seconds, wait_p95_seconds, run_p50_seconds,
    run_p95_seconds, lag_p50_seconds, lag_p95_seconds, polls, polls_by_process, kie_accounts)
SELECT seconds, starts_at, ends_at, depth.queued, depth.sending, 0, depth.generating, 0,
       depth.oldest, measured.accepted, measured.submitted, measured.succeeded, measured.failed,
       measured.cancelled, depth.held, measured.credits_charged, measured.wait_p50_seconds,
       measured.wait_p95_seconds, measured.run_p50_seconds, measured.run_p95_seconds,
       measured.lag_p50_seconds, measured.lag_p95_seconds,
       -- A task is polled about every four seconds.
       round(depth.generating * seconds / 4.0), '{}',
       (SELECT jsonb_object_agg(name, jsonb_build_object(
            'budget', 20, 'budget_used',
            least(20, round(measured.submitted * 10.0 / seconds / cardinality($2))),
            'brake_level', 0, 'is_paused', false,
            'balance', $3::numeric - paid.credits))
          FROM unnest($2::text[]) AS account (name)
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(provider_credits), 0) AS credits
                 FROM jobs JOIN pricing USING (model, task, quantity)
                 JOIN job_attempts ON job_id = jobs.id AND number = attempt
                WHERE state = 'succeeded' AND provider_account = name
                  AND finished_at < ends_at) AS paid)
  FROM (VALUES (15, interval '2 hours'), (300, interval '25 hours')) AS kinds (seconds, back)
 CROSS JOIN LATERAL generate_series(
           date_bin(make_interval(secs => seconds), $1::timestamptz - back, 'epoch'),
           $1::timestamptz - make_interval(secs => seconds), make_interval(secs => seconds)
       ) AS starts_at
 CROSS JOIN LATERAL (SELECT starts_at + make_interval(secs => seconds)) AS ends (ends_at)
 CROSS JOIN LATERAL darkroom_measure_queue(starts_at, ends_at) AS measured
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE ends_at < left_queue_at - interval '0.4 s') AS queued,
              count(*) FILTER (WHERE ends_at >= left_queue_at - interval '0.4 s'
                                 AND ends_at < left_queue_at) AS sending,
              count(*) FILTER (WHERE ends_at >= left_queue_at) AS generating,
              coalesce(extract(epoch FROM ends_at - min(created_at)
                               FILTER (WHERE ends_at < left_queue_at)), 0) AS oldest,
              coalesce(sum(credits_quoted), 0) AS held
         FROM (SELECT *, coalesce(submitted_at, finished_at) AS left_queue_at FROM jobs) AS jobs
        WHERE created_at <= ends_at AND finished_at > ends_at) AS depth
ON CONFLICT DO NOTHING
"""

_BALANCE_CHECKS = """
DELETE FROM provider_balance_checks WHERE id <> (SELECT max(id) FROM provider_balance_checks);
UPDATE provider_balance_checks
   SET follows = NULL, measured_from = NULL, previous_balance = NULL, at = now(), asked_at = now(),
       expected_spend_low = NULL, expected_spend_high = NULL, drift = 0, unexplained = 0,
       balance = (SELECT (kie_accounts -> provider_account ->> 'balance')::numeric
                    FROM history_samples ORDER BY starts_at DESC LIMIT 1);
"""


async def write_past_samples(
    connection: asyncpg.Connection, now: datetime, kie_accounts: list[str], kie_credits: Decimal
) -> None:
    """Write what the plots of the last hour and the last day show.

    `kie_credits` is what each Kie account had at first.
    """
    await connection.execute("DELETE FROM history_samples")
    await connection.execute(_SAMPLES, now, kie_accounts, kie_credits)
    await connection.execute(_BALANCE_CHECKS)
