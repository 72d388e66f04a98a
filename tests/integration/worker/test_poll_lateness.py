"""The lateness of polls in the metric of the worker."""

from __future__ import annotations

from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Lane, local_now_ms
from tests.integration.worker.bare_lanes import seen
from tests.support.deployment import Deployment, text_to_image
from worker.dependencies import Dependencies

LONG = "[[sim: duration=60]]"
OVERDUE_SECONDS = 5.0


def lateness(deps: Dependencies, which: str) -> float:
    """Return the sample of the histogram whose name ends so: `count`, `sum`."""
    (metric,) = deps.metrics.poll_lateness.collect()
    return next(one.value for one in metric.samples if one.name.endswith(f"_{which}"))


async def test_a_poll_that_was_overdue_is_counted_as_that_late(
    deployment: Deployment, redis: ArqRedis
) -> None:
    async with deployment.worker():
        job = await deployment.enqueue(text_to_image(LONG))
        await deployment.in_state(job, "generating")
    due_ms = local_now_ms() - int(1000 * OVERDUE_SECONDS)
    assert await redis.zadd(Lane.POLL.value, {Lane.POLL.arq_id(job.id): due_ms}, xx=True, ch=True)
    async with deployment.worker() as resources:
        await seen(lambda: lateness(resources.deps, "count") >= 1, "the overdue poll was sent")
        assert OVERDUE_SECONDS <= lateness(resources.deps, "sum") < 4 * OVERDUE_SECONDS


async def test_every_poll_is_counted_once_and_at_its_new_due_time(deployment: Deployment) -> None:
    async with deployment.worker() as resources:
        await deployment.enqueue(text_to_image("[[sim: duration=4]]"))
        await seen(lambda: lateness(resources.deps, "count") >= 3, "three polls", 20)
        polls = deployment.simulator.record.poll_arrivals.total
        assert polls - 1 <= lateness(resources.deps, "count") <= polls + 1
        # Counted from when the task was made, the third poll alone would be three seconds late.
        assert lateness(resources.deps, "sum") < 2
