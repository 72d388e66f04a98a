"""Polls that Redis has lost, and the throttle's log with them, never come too soon."""

from __future__ import annotations

import pytest

from shared.adapters.redis.deliveries import Lane, local_now_ms
from shared.domain import job_events
from tests.integration.worker.worker_setup import WorkerSetup
from worker.limits.throttle import POLL_WINDOW_MS, WINDOW_MARGIN_MS
from worker.recovery.reconciler import Reconciler


@pytest.mark.parametrize("lane", [Lane.POLL, Lane.SUBMIT])
async def test_after_a_wipe_polls_alone_wait_until_what_was_asked_before_counts_no_more(
    setup: WorkerSetup, lane: Lane
) -> None:
    job, store = await setup.enqueue(), setup.deps.store
    if lane is Lane.POLL:
        job = await store.claim(job, job_events.Claimed(f"token-of-{job.id}", "dead:1", "default"))
        job = await store.record_submitted(job, job_events.Submitted("task", 1800))
    await setup.sql("UPDATE jobs SET updated_at = now() - interval '5 minutes'")
    await setup.sql("UPDATE chosen_jobs SET chosen_at = now() - interval '5 minutes'")
    await setup.redis.flushall()
    wiped_ms = local_now_ms()
    await Reconciler(setup.deps).run_once()
    due_ms = await setup.redis.zscore(lane.value, lane.arq_id(job.id))
    assert due_ms is not None
    waits_ms = POLL_WINDOW_MS + WINDOW_MARGIN_MS
    assert (due_ms >= wiped_ms + waits_ms) == (lane is Lane.POLL), due_ms - wiped_ms
