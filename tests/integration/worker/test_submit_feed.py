"""The submit lane is fed with as many waiting jobs as it can submit soon, in fair order."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random
from uuid import UUID, uuid4

import pytest

from producer import Job, Order
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.domain.kie_outcomes import Accepted
from tests.integration.worker.worker_setup import WorkerSetup, running_lanes
from tests.support.deployment import eventually, text_to_image
from worker.limits.throttle import Throttle, submit_limit
from worker.queue.submit_feed import LEAST_AHEAD, SubmitFeed

LIMIT = 10


@pytest.fixture
async def limited(setup: WorkerSetup) -> WorkerSetup:
    """A worker with a limit of submits, and a second account with enough credits."""
    await setup.producer.billing.create_account("bolt")
    for name in ("acme", "bolt"):
        await setup.producer.billing.grant(name, Decimal(1_000), "for the test")
    return setup.with_deps(
        submit_throttle=Throttle(
            setup.deps.scripts, submit_limit(LIMIT, request_timeout_seconds=30)
        )
    )


async def place(setup: WorkerSetup, account: str, jobs: int) -> list[Job]:
    order = Order(request=text_to_image(), account_id=account)
    placed: list[Job] = await setup.producer.enqueue_many([order] * jobs)
    return placed


async def claimed_accounts(setup: WorkerSetup) -> list[str]:
    """Return the accounts of the attempts, oldest first."""
    rows = await setup.sql(
        "SELECT account_id FROM job_attempts JOIN jobs ON id = job_id ORDER BY sent_at"
    )
    return [row["account_id"] for row in rows]


async def chosen(setup: WorkerSetup) -> int:
    rows = await setup.sql("SELECT count(*) AS n FROM chosen_jobs")
    return int(rows[0]["n"])


async def test_no_more_is_chosen_than_the_limit_allows_and_one_more(limited: WorkerSetup) -> None:
    limited.kie.submits.extend(Accepted(f"t{number}") for number in range(LIMIT))
    async with running_lanes(limited.deps):
        await place(limited, "acme", 60)

        async def the_limit_is_used() -> bool:
            return len(limited.kie.submit_calls) == LIMIT

        await eventually(the_limit_is_used, "as many as the limit allows are submitted")

        async def one_is_ready() -> bool:
            return await chosen(limited) == LEAST_AHEAD

        await eventually(one_is_ready, "one more is ready")


async def test_jobs_of_two_accounts_are_submitted_in_turn(limited: WorkerSetup) -> None:
    # Something waits already, so that nothing is chosen by the enqueue.
    await limited.sql("UPDATE accounts SET max_open_jobs = 1000")
    for name in ("acme", "bolt"):
        await place(limited, name, 20)
    limited.kie.submits.extend(Accepted(f"t{number}") for number in range(LIMIT))
    async with running_lanes(limited.deps):

        async def the_limit_is_used() -> bool:
            return len(limited.kie.submit_calls) == LIMIT

        await eventually(the_limit_is_used, "as many as the limit allows are submitted")
    assert Counter(await claimed_accounts(limited)) == {"acme": LIMIT // 2, "bolt": LIMIT // 2}


async def test_a_job_whose_time_comes_is_chosen_without_a_message(limited: WorkerSetup) -> None:
    limited.kie.submits.append(Accepted("t1"))
    later = limited.deps.clock.now()
    async with running_lanes(limited.deps):
        job = await limited.enqueue(run_at=later)
        await limited.sql(
            "UPDATE jobs SET due_at = now() + interval '0.4 s' WHERE id = $1 AND attempt = 0",
            job.id,
        )
        limited.deps.jobs_wait.set()

        async def is_submitted() -> bool:
            return len(limited.kie.submit_calls) == 1

        await eventually(is_submitted, "it is submitted when it is due")


async def test_deliveries_of_one_choice_keep_their_order(setup: WorkerSetup) -> None:
    ids = [uuid4() for _ in range(20)]
    Random(3).shuffle(ids)
    await setup.deps.delivery_queue.deliver(
        [Delivery(one, Lane.SUBMIT, place * 0.001) for place, one in enumerate(ids)]
    )
    waiting = await setup.redis.zrange(Lane.SUBMIT.value, 0, -1)
    assert [UUID(one.decode().partition(":")[2]) for one in waiting] == ids


async def test_a_burst_at_the_limit_does_not_let_more_be_chosen(limited: WorkerSetup) -> None:
    feed = SubmitFeed(limited.deps)
    await limited.sql("UPDATE accounts SET max_open_jobs = 1000")
    await place(limited, "acme", 30)
    feed.record_claim(claimed=LIMIT, free=0, ready=0)
    assert limited.deps.jobs_wait.is_set()
    await feed.fill(LEAST_AHEAD)
    limited.deps.jobs_wait.clear()
    feed.record_claim(claimed=0, free=0, ready=LEAST_AHEAD)
    assert not limited.deps.jobs_wait.is_set()
