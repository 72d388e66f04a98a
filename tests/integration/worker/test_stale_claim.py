"""A claim that took longer than a lease may last: the POST it was made for is not sent."""

from __future__ import annotations

from typing import Any

from producer import Job
from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from worker.steps.submit import STALE_CLAIM_SECONDS
from worker.store.job_store import JobStore


async def test_a_claim_that_took_too_long_is_taken_back_and_nothing_is_sent(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()

    class Slow(JobStore):
        async def claim(self, job_id: Any, event: job_events.Claimed) -> Job:
            claimed = await super().claim(job_id, event)
            setup.clock.advance(STALE_CLAIM_SECONDS + 1)
            return claimed

    setup.kie.submits.append(Accepted("t1"))
    delay_seconds = await setup.with_deps(store=Slow(setup.database)).submit(job)
    assert setup.kie.submit_calls == []
    assert delay_seconds is not None
    after = await setup.now_is(job)
    assert (after.state, after.reason) == ("queued", "unreachable")
    assert await setup.attempts(job) == [("deferred", None)]
    assert await setup.money() == (START, PRICE)
