"""The estimates of waiting jobs say in which order they are chosen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from producer import Job
from producer.accounts.limit_errors import QueueLimitReached
from producer.waiting.fair_positions import position_in_time
from producer.waiting.submit_pace import KieAccountState, plan_pace
from producer.waiting.wait_estimates import WaitEstimates
from producer.waiting.waiting_snapshot import SnapshotReader
from shared.domain import job_events
from tests.integration.database.database_setup import deferred
from tests.integration.database.test_fair_order import Queue, limit, queue, weigh

__all__ = ["queue"]


class DeadRedis:
    """A Redis that cannot be reached."""

    def pipeline(self, **_: Any) -> Any:
        raise ConnectionError("no route to Redis")


class Waiting:
    """The estimates of a database, read anew each time."""

    def __init__(self, queue: Queue) -> None:
        self.setup = queue.setup
        reader = SnapshotReader(self.setup.database, DeadRedis(), ["default"])  # type: ignore[arg-type]
        self.reader = reader
        self.estimates = WaitEstimates(self.setup.database, reader, monotonic=iter_clock())

    async def add(self, ids: list[UUID]) -> list[Job]:
        jobs = {job.id: job for job in await self.setup.book.get_many(ids)}
        return await self.estimates.add([jobs[one] for one in ids])

    async def positions(self, ids: list[UUID]) -> list[int | None]:
        return [job.position for job in await self.add(ids)]

    async def start_worker(self, limit: int = 20) -> None:
        await self.setup.sql(
            "INSERT INTO processes (id, kind, name, version, redis, limits, detail,"
            " key_fingerprints, started_at, seen_at)"
            " SELECT gen_random_uuid(), 'worker', 'w', '1', 'r', $1, '{}',"
            " jsonb_build_object('default', 'f'), now() - interval '1 hour', now()",
            {"KIE_SUBMITS_PER_10_SECONDS": limit},
        )


def iter_clock() -> Any:
    """A clock that moves by a minute with each reading."""
    at = 0.0

    def read() -> float:
        nonlocal at
        at += 60
        return at

    return read


async def test_positions_are_the_order_in_which_jobs_are_chosen(queue: Queue) -> None:
    # With these weights no two jobs have the same virtual time.
    await weigh(queue, acme=3.1, bolt=1.07, cord=0.53)
    await queue.place("dune", 9)
    await queue.choose(3)
    ids = [
        *await queue.place("acme", 9),
        *await queue.place("bolt", 6, priority="high"),
        *await queue.place("cord", 5),
        *await queue.place("bolt", 7),
        *await queue.place("acme", 3, priority="low"),
    ]
    waiting = Waiting(queue)
    positions = await waiting.positions(ids)
    chosen = await queue.only_choose(64)
    place_of = {job_id: place for place, job_id in enumerate(chosen, start=1)}
    assert positions == [place_of[one] for one in ids]
    # As chosen jobs they keep their places.
    assert await waiting.positions(ids) == positions


async def test_positions_hold_while_jobs_are_chosen_one_by_one(queue: Queue) -> None:
    await weigh(queue, acme=4, bolt=1)
    ids = [
        *await queue.place("acme", 12),
        *await queue.place("bolt", 8),
        *await queue.place("cord", 4, priority="high"),
    ]
    predicted = dict(zip(ids, await Waiting(queue).positions(ids), strict=True))
    chosen = [(await queue.choose(1))[0] for _ in ids]
    for place, job_id in enumerate(chosen, start=1):
        assert predicted[job_id] == pytest.approx(place, abs=1)


async def test_paused_scheduled_and_ended_jobs(queue: Queue) -> None:
    monday = datetime.now(UTC) + timedelta(days=3)
    waiting = Waiting(queue)
    await waiting.start_worker()
    acme = await queue.place("acme", 3)
    bolt = await queue.place("bolt", 2)
    [later] = await queue.place("cord", 1, run_at=monday)
    await queue.setup.sql("SELECT darkroom_pause('account', 'acme', 'why')")
    paused, *_, free, scheduled = await waiting.add([*acme, *bolt, later])
    assert (paused.position, paused.estimated_start_at, paused.wait_reason) == (1, None, "paused")
    assert (free.position, free.wait_reason) == (2, None)
    assert free.estimated_start_at is not None
    assert (scheduled.position, scheduled.estimated_start_at) == (None, scheduled.run_at)
    await queue.setup.sql("SELECT darkroom_resume_scope('account', 'acme')")
    await queue.setup.sql(
        "SELECT darkroom_pause('account', 'acme', 'why', now() + interval '1 hour')"
    )
    [paused, *_] = await waiting.add(acme)
    assert paused.estimated_start_at is not None
    assert paused.estimated_start_at - datetime.now(UTC) > timedelta(minutes=59)
    [job_id, *_] = await queue.choose(2)
    [job] = await waiting.add([job_id])
    assert (job.position, job.estimated_start_at, job.wait_reason) == (None, None, None)


async def test_jobs_of_a_paused_model_are_before_nobody(queue: Queue) -> None:
    await queue.place("acme", 4)
    await queue.place("bolt", 3)
    await queue.setup.sql("SELECT darkroom_pause('model', 'gpt-4o-image', 'why')")
    await queue.setup.sql(
        "UPDATE jobs SET model = 'gpt-image-2' WHERE id IN (SELECT id FROM jobs"
        " WHERE account_id = 'bolt' ORDER BY id DESC LIMIT 1)"
    )
    last = (await queue.setup.sql("SELECT id FROM jobs ORDER BY id DESC LIMIT 1"))[0]["id"]
    assert await Waiting(queue).positions([UUID(int=last.int)]) == [1]


async def test_nothing_is_estimated_without_a_worker(queue: Queue) -> None:
    ids = await queue.place("acme", 2)
    first, second = await Waiting(queue).add(ids)
    assert (first.wait_reason, first.estimated_start_at) == ("no_worker", None)
    assert [first.position, second.position] == [1, 2]


async def test_the_brake_of_a_family_holds_the_models_that_it_carries(queue: Queue) -> None:
    waiting = Waiting(queue)
    braked = frozenset({"4o-image-api"})
    snapshot = replace(await waiting.reader.read(), braked_families=braked)
    assert [snapshot.is_braked(one) for one in ("gpt-4o-image", "4o-image-api")] == [False, True]
    await queue.setup.sql("SELECT darkroom_route_model('gpt-4o-image', '4o-image-api', 'why')")
    snapshot = replace(await waiting.reader.read(), braked_families=braked)
    assert [snapshot.is_braked(one) for one in ("gpt-4o-image", "gpt-image-2")] == [True, False]


async def test_a_deferred_job_does_not_start_before_it_is_due(queue: Queue) -> None:
    waiting = Waiting(queue)
    await waiting.start_worker()
    await queue.place("acme", 2)
    [job_id] = await queue.only_choose(1)
    job = await queue.setup.move(await queue.setup.store.load(job_id), job_events.Claimed)
    await queue.setup.store.record_deferred(job, deferred(600))
    [job] = await waiting.add([job_id])
    assert job.position == 1
    assert job.estimated_start_at == job.due_at


async def test_an_account_at_its_limit_waits_for_its_own_jobs(queue: Queue) -> None:
    waiting = Waiting(queue)
    await waiting.start_worker()
    await limit(queue, "acme", 2)
    capped = await queue.place("acme", 6)
    await queue.choose(2)
    others = await queue.place("bolt", 30)
    blocked, *_ = await waiting.add(capped[2:])
    assert (blocked.estimated_start_at, blocked.wait_reason) == (None, "account_limit")
    snapshot = await waiting.reader.read()
    bolt = snapshot.order.find("bolt", "normal")
    assert bolt is not None
    pace = plan_pace([KieAccountState(limit=20)])
    assert position_in_time(snapshot.order, bolt, 30, pace.seconds_until)[0] == 30
    last = (await waiting.add(others))[-1]
    assert last.position == 30


async def test_new_jobs_get_their_estimates_from_the_snapshot(queue: Queue) -> None:
    waiting = Waiting(queue)
    await waiting.start_worker()
    await queue.place("acme", 5)
    estimates = WaitEstimates(queue.setup.database, waiting.reader, monotonic=lambda: 1.0)
    await estimates.snapshot()
    ids = await queue.place("bolt", 3)
    jobs = {job.id: job for job in await queue.setup.book.get_many(ids)}
    new = await estimates.add_to_new([jobs[one] for one in ids])
    assert [job.position for job in new] == await waiting.positions(ids) == [2, 4, 6]
    assert all(job.estimated_start_at is not None for job in new)


@pytest.mark.promise("those beyond have no estimate until they are read")
async def test_of_many_new_jobs_the_first_thousand_have_estimates(queue: Queue) -> None:
    waiting = Waiting(queue)
    await waiting.start_worker()
    estimates = WaitEstimates(queue.setup.database, waiting.reader, monotonic=lambda: 1.0)
    jobs = await queue.setup.book.get_many(await queue.place("acme", 3))
    new = await estimates.add_to_new([*jobs] * 334)
    assert len(new) == 1_002
    assert [job.position is None for job in new] == [False] * 1_000 + [True] * 2
    assert [job.estimated_start_at is None for job in new] == [False] * 1_000 + [True] * 2


@pytest.mark.parametrize(
    ("asked", "pause", "seconds"),
    [
        (30, None, 20),  # 60 jobs in turn of both accounts, 20 in each 10 s
        (10, None, 1),
        (30, "acme", 15),  # nothing says when: one Kie account alone takes so long at least
        (41, None, 21),
    ],
)
async def test_a_refused_order_is_told_when_it_fits(
    queue: Queue, asked: int, pause: str | None, seconds: int
) -> None:
    waiting = Waiting(queue)
    await waiting.start_worker()
    await queue.place("acme", 40)
    await queue.place("bolt", 40)
    if pause is not None:
        await queue.setup.sql("SELECT darkroom_pause('account', $1, 'why')", pause)
    refused = QueueLimitReached("acme", allowed=40, used=40, asked=asked)
    await waiting.estimates.set_retry_after(refused)
    assert refused.retry_after_seconds == seconds
