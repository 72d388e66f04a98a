"""Kie is too busy for a submit: the rate falls, submits go on slowly, and it recovers."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.conftest import darkroom
from tests.support.console_client import browsing
from tests.support.deployment import Deployment, eventually
from worker.bootstrap import WorkerResources

__all__ = ["darkroom"]

LIMIT = 20
REDUCED = 14


@pytest.mark.parametrize(
    ("code", "reason"), [(429, "rate_limited"), (455, "maintenance"), (550, "provider_full")]
)
async def test_one_refusal_reduces_the_rate_and_nothing_is_paused(
    deployment: Deployment, redis: ArqRedis, darkroom: Darkroom, code: int, reason: str
) -> None:
    kie = deployment.simulator
    kie.set_faults(submit_code=code, submit_code_times=1, duration=60.0)
    async with deployment.worker(kie_submits_per_10_seconds=LIMIT) as resources:
        await deployment.in_state(await deployment.enqueue(), "generating")
        kie.set_faults(submit_code=0)
        await set_hold(redis, 600)
        jobs = [await deployment.enqueue() for _ in range(30)]
        await arrive(deployment, REDUCED)
        assert kie.record.create_arrivals.total == REDUCED
        told = (await darkroom.run("queue", "--json")).object["kie_accounts"][0]
        assert told["submits_paused"] is None
        assert (told["submit_rate"], told["budget_used"]) == (REDUCED, REDUCED)
        assert (told["submits_slowed"]["limit"], told["submits_slowed"]["reason"]) == (
            LIMIT,
            reason,
        )
        await is_exported(resources, REDUCED, reason)
        if code == 429:  # the pages are the same for each
            assert f"14 of 20 per 10 s: {reason}" in (await darkroom.run("queue")).out
            async with deployment.api() as api, browsing(api) as browser:
                page = (await browser.get("/console")).expect(200)
            assert "slowed down" in page
            assert "14 of 20 per 10 s: rate limited" in page
            assert "14 of 20 submits per 10 s (rate limited)" in page
            assert "All is well" not in page
        await set_hold(redis, -50)
        await arrive(deployment, LIMIT)
        told = (await darkroom.run("queue", "--json")).object["kie_accounts"][0]
        assert (told["submit_rate"], told["submits_slowed"]) == (LIMIT, None)
    assert kie.record.create_arrivals.worst <= LIMIT
    assert sum(kie.record.creates_refused.values()) == 1
    assert {(await deployment.producer.get(job.id)).reason for job in jobs} == {None}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def arrive(deployment: Deployment, count: int) -> None:
    """Wait for so many creates at Kie."""
    arrivals = deployment.simulator.record.create_arrivals

    async def have_arrived() -> bool:
        return arrivals.total >= count

    await eventually(have_arrived, f"{count} creates have arrived", 8)


async def set_hold(redis: ArqRedis, left_seconds: int) -> None:
    """Set when the rate begins to grow, because Redis's clock cannot be set."""
    seconds, _ = await redis.time()
    grows_at = (seconds + left_seconds) * 1000
    await redis.hset("darkroom:brake", "rate_grows_at", grows_at)  # type: ignore[misc]


async def is_exported(resources: WorkerResources, rate: float, reason: str) -> None:
    registry = resources.health.registry
    account = {"account": "default"}

    async def is_told() -> bool:
        await resources.health.refresh()
        return registry.get_sample_value("darkroom_submit_rate", account) == rate

    await eventually(is_told, "the metrics show the rate", 5)
    slowed = {**account, "reason": reason}
    assert registry.get_sample_value("darkroom_submits_slowed", slowed) == 1
    assert registry.get_sample_value("darkroom_submit_rate_limit", account) == LIMIT
