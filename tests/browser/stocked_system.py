"""A running system with a job in every state, and with texts of callers that try to be markup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from shared.domain.job import Job
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.browser.running_system import RunningSystem
from tests.support.deployment import eventually, text_to_image
from worker.simulator import FaultSwitches

MARKUP = "<script>console.error('ran')</script><img src=/ran onerror=console.error('ran')>\"'&amp;"
"""Were it not escaped, each part would leave a fault in its window."""
MODEL, TASK, QUANTITY = "gpt-4o-image", "text-to-image", 2


@dataclass(frozen=True, slots=True)
class StockedSystem:
    """The system, and one job of each state."""

    system: RunningSystem
    jobs: Mapping[str, Job]

    @property
    def ids(self) -> dict[str, dict[str, str]]:
        """The parts of paths, by the name of the page or form, or by the first word of its path."""
        return {
            "jobs": {"id": str(self.jobs["succeeded"].id)},
            "cancel_job": {"id": str(self.jobs["queued"].id)},
            "retry_job": {"id": str(self.jobs["failed"].id)},
            "resolve_job": {"id": str(self.jobs["unknown"].id)},
            "accounts": {"id": "acme"},
            "models": {"model": MODEL},
            "brakes": {"account": DEFAULT_ACCOUNT},
            "prices": {"model": MODEL, "task": TASK, "quantity": str(QUANTITY)},
        }


@asynccontextmanager
async def stocked_system(system: RunningSystem) -> AsyncIterator[StockedSystem]:
    """Run a job into every state. A worker runs during the block."""
    deployment = system.deployment
    await deployment.open_account("acme", 10_000)
    await deployment.producer.billing.grant("acme", Decimal(5), MARKUP)
    jobs = {}
    async with deployment.worker():
        for state, faults in _FAULTS.items():
            deployment.simulator.set_faults(**faults)
            jobs[state] = await _enqueue(system, state)
            await eventually(partial(_is_submitted, system, jobs[state]), f"{state} is submitted")
            deployment.simulator.faults = FaultSwitches()
        for state in ("queued", "cancelled"):
            jobs[state] = await _enqueue(system, state, datetime.now(UTC) + timedelta(days=1))
        await deployment.producer.cancel(jobs["cancelled"].id)
        for state, job in jobs.items():
            await deployment.in_state(job, state)
        # Of an account without jobs, so that nothing waits for it. Every page names it.
        await deployment.open_account("closed", 10)
        await deployment.producer.webhooks.account_secrets.create("acme")
        pauses = deployment.producer.pauses
        # Viewers see it, who see no text of a caller: so it is not the same text.
        await pauses.pause("account", "closed", reason="<b>closed</b> \"'&amp;", actor="<i>maria")
        yield StockedSystem(system, jobs)
        await pauses.resume_scope("account", "closed")


_FAULTS: Mapping[str, dict[str, object]] = {
    "succeeded": {},
    "failed": {"outcome": "content_policy"},
    "generating": {"never_ends": 1.0},
    "unknown": {"lost_reply": 1.0},
}


async def _is_submitted(system: RunningSystem, job: Job) -> bool:
    return (await system.deployment.producer.get(job.id)).state not in {"queued", "submitting"}


async def _enqueue(system: RunningSystem, state: str, run_at: datetime | None = None) -> Job:
    return await system.deployment.enqueue(
        text_to_image(f"{state} {MARKUP}", quantity=QUANTITY),
        metadata={MARKUP: MARKUP, "order": state},
        idempotency_key=f"{state} {MARKUP}",
        run_at=run_at,
    )
