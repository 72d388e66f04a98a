"""The result or error of a step becomes a snooze or an end. No delivery ever fails."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import structlog
from prometheus_client import CollectorRegistry

from shared.adapters.redis.lost_write_log import MOST_KEPT
from shared.errors import JobNotFound, PostgresDown, RedisDown, StaleJob
from worker.dependencies import Dependencies
from worker.limits.throttle import Throttled
from worker.metrics import Metrics
from worker.queue.delivery_run import DeliveryRun
from worker.queue.leased_worker import Snoozed
from worker.queue.step_runner import arq_function_of
from worker.store.job_cache import JobCache

REGISTRY_NAME = "darkroom_throttle_waits_total"


class FullRedis:
    """A Redis whose log of lost jobs is full."""

    async def hlen(self, _: str) -> int:
        """Return how many there are."""
        return MOST_KEPT


async def outcome_of(answer: float | Exception | None) -> tuple[float | None, list[str], Any]:
    """Run a step that returns or raises that; return its snooze, what was logged, the registry."""
    registry = CollectorRegistry()
    deps = cast(
        "Dependencies",
        SimpleNamespace(
            metrics=Metrics(registry),
            random=Random(1),
            store=SimpleNamespace(cache=JobCache()),
            delivery_queue=SimpleNamespace(redis=FullRedis()),
        ),
    )

    async def poll_job(_: Dependencies, job_id: UUID, run: DeliveryRun) -> float | None:
        assert run.due_at is None
        assert isinstance(job_id, UUID)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with structlog.testing.capture_logs() as logs:
        try:
            await arq_function_of(deps, poll_job)({}, str(uuid4()))
            delay_seconds = None
        except Snoozed as snoozed:
            delay_seconds = (snoozed.defer_score or 0) / 1000
    return delay_seconds, [f"{log['log_level']} {log['event']}" for log in logs], registry


@pytest.mark.parametrize(
    ("answer", "shortest", "longest", "logged"),
    [
        (None, None, None, []),
        (7.5, 7.5, 7.5, []),
        (0.0, 0.001, 0.001, []),
        (Throttled(0.4), 0.4, 0.45, []),
        (PostgresDown("away"), 1.0, 2.0, ["warning dependency_down"]),
        (RedisDown("away"), 1.0, 2.0, ["warning dependency_down"]),
        (ValueError("a bug"), 30.0, 30.0, ["error step_failed"]),
        (StaleJob("1", "claimed"), None, None, ["info stale_job"]),
        (JobNotFound("1"), None, None, ["warning delivery_without_job", "error job_lost"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_a_step_ends_its_delivery_or_snoozes(
    answer: float | Exception | None,
    shortest: float | None,
    longest: float | None,
    logged: list[str],
) -> None:
    delay_seconds, said, _ = await outcome_of(answer)
    if shortest is None or longest is None:
        assert delay_seconds is None
    else:
        assert delay_seconds is not None
        assert shortest <= delay_seconds <= longest + 0.001
    assert said == logged


async def test_throttle_waits_are_counted_by_step() -> None:
    _, _, registry = await outcome_of(Throttled(0.1))
    assert registry.get_sample_value(REGISTRY_NAME, {"limit": "poll_job"}) == 1
