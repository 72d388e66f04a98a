"""A Kie that fails in earnest, played by the simulator: little is burnt, and nothing is lost.

Each plays the same story: Kie goes wrong, jobs come, Kie is mended, every job ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import structlog
from arq.connections import ArqRedis

from producer import Job
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.redis_keys import family_brake_key
from tests.integration.worker.worker_setup import running_lanes
from tests.support.deployment import Deployment, eventually
from worker.bootstrap import open_worker
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccountPool
from worker.limits.account_brake import AccountBrake, SubmitRateRules
from worker.limits.family_brake import FamilyBrakeRules, PauseRule
from worker.poll_timing import PollPlanner
from worker.poll_timing.poll_planner import OVERDUE_UNLEARNED_SECONDS
from worker.steps.poll_state import PollState

KEY = family_brake_key(DEFAULT_ACCOUNT, "gpt-4o-image")
RULES = FamilyBrakeRules(
    uncertain_submits=PauseRule(3, 200, 800),
    wrong_endpoint=PauseRule(1, 200, 800),
    failed_tasks=PauseRule(3, 200, 800),
    task_probe_ms=30_000,
)
HIGH_RATE = SubmitRateRules(assumed_limit=1_000)
"""Here the pauses are tested: the rate, reduced several times, holds nothing back."""
FIRST, REST = 4, 20


@asynccontextmanager
async def workers(
    deployment: Deployment, count: int = 2, *, overdue_seconds: float = OVERDUE_UNLEARNED_SECONDS
) -> AsyncIterator[list[Dependencies]]:
    """Run so many workers in this process, whose family brakes have short pauses."""
    async with AsyncExitStack() as stack:
        running = []
        for _ in range(count):
            resources = await stack.enter_async_context(open_worker(deployment.settings))
            (account,) = resources.deps.accounts
            brake = AccountBrake(resources.deps.scripts, family_rules=RULES, rate_rules=HIGH_RATE)
            deps = replace(
                resources.deps,
                accounts=KieAccountPool([replace(account, brake=brake)]),
                poll_state=PollState(PollPlanner(overdue_unlearned_seconds=overdue_seconds)),
            )
            await stack.enter_async_context(running_lanes(deps))
            running.append(deps)
        yield running


async def enqueued(deployment: Deployment, count: int) -> list[Job]:
    return [await deployment.enqueue() for _ in range(count)]


async def states(deployment: Deployment, jobs: list[Job]) -> Counter[str]:
    return Counter([(await deployment.producer.get(job.id)).state.value for job in jobs])


async def level_reaches(redis: ArqRedis, level: int) -> None:
    async def is_there() -> bool:
        told = await redis.hget(KEY, "level")  # type: ignore[misc]
        return int(told or 0) >= level

    await eventually(is_there, f"the family's brake is at level {level}", 60)


async def all_are(deployment: Deployment, jobs: list[Job], *wanted: str) -> None:
    async def are_they() -> bool:
        return set(await states(deployment, jobs)) <= set(wanted)

    await eventually(are_they, f"all of {len(jobs)} jobs are {wanted}", 90)


async def test_a_kie_that_answers_500_burns_the_first_few_jobs_and_no_more(
    deployment: Deployment, redis: ArqRedis
) -> None:
    deployment.simulator.set_faults(submit_code=500, duration=0.3)
    async with workers(deployment):
        first = await enqueued(deployment, FIRST)
        await all_are(deployment, first, "unknown")
        rest = await enqueued(deployment, REST)
        await level_reaches(redis, 3)
        told = await states(deployment, rest)
        assert told["unknown"] + told["submitting"] <= 4, "one probe at a time, over both workers"
        deployment.simulator.set_faults(submit_code=0)
        await all_are(deployment, rest, "succeeded", "unknown")
    told = await states(deployment, rest)
    assert told["succeeded"] >= REST - 6
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("junk", ["no_route", "no_method", "redirect"])
async def test_a_wrong_route_rejects_no_job_and_all_succeed_once_it_is_back(
    deployment: Deployment, redis: ArqRedis, junk: str
) -> None:
    deployment.simulator.set_faults(create_junk=junk, duration=0.3)
    with structlog.testing.capture_logs() as logs:
        async with workers(deployment):
            jobs = await enqueued(deployment, FIRST + REST)
            await level_reaches(redis, 3)
            assert set(await states(deployment, jobs)) <= {"queued", "submitting"}
            deployment.simulator.set_faults(create_junk="none")
            await all_are(deployment, jobs, "succeeded")
    paused = [log for log in logs if log["event"] == "submits_paused"]
    assert Counter(log["log_level"] for log in paused)["critical"] == 1
    assert {log["reason"] for log in paused} == {"wrong_endpoint"}
    assert len(deployment.simulator.record.tasks) == len(jobs)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("junk", ["html_200", "other_json"])
async def test_a_login_page_may_hide_a_task_and_stops_the_rest(
    deployment: Deployment, redis: ArqRedis, junk: str
) -> None:
    deployment.simulator.set_faults(create_junk=junk, duration=0.3)
    async with workers(deployment):
        first = await enqueued(deployment, 1)
        await all_are(deployment, first, "unknown")
        rest = await enqueued(deployment, REST)
        await level_reaches(redis, 3)
        deployment.simulator.set_faults(create_junk="none")
        await all_are(deployment, rest, "succeeded", "unknown")
    assert (await states(deployment, rest))["succeeded"] >= REST - 4
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("junk", ["no_route", "html_200", "redirect", "other_json"])
async def test_polls_that_not_kies_endpoint_answers_end_no_job(
    deployment: Deployment, junk: str
) -> None:
    deployment.simulator.set_faults(poll_junk=junk, duration=0.1)
    async with workers(deployment, 1):
        jobs = await enqueued(deployment, 3)
        await all_are(deployment, jobs, "generating")

        async def was_asked() -> bool:
            tasks = deployment.simulator.record.tasks.values()
            return len(tasks) == 3 and all(task.arrivals.total >= 2 for task in tasks)

        await eventually(was_asked, "polls were answered by another endpoint", 30)
        assert await states(deployment, jobs) == {"generating": 3}
        deployment.simulator.set_faults(poll_junk="none")
        await all_are(deployment, jobs, "succeeded")
    await deployment.check_invariants_hold()


async def test_a_kie_that_fails_every_task_gets_one_at_a_time_until_one_ends_well(
    deployment: Deployment, redis: ArqRedis
) -> None:
    deployment.simulator.set_faults(outcome="generate_failed", duration=0.2)
    async with workers(deployment):
        first = await enqueued(deployment, FIRST)
        await all_are(deployment, first, "failed")
        rest = await enqueued(deployment, REST)
        await level_reaches(redis, 3)
        assert len(deployment.simulator.record.tasks) <= FIRST + 4
        deployment.simulator.set_faults(outcome=None)
        await all_are(deployment, rest, "succeeded", "failed")
    assert (await states(deployment, rest))["failed"] <= 5
    await deployment.check_invariants_hold()


async def test_a_kie_whose_tasks_never_end_gets_one_at_a_time(
    deployment: Deployment, redis: ArqRedis
) -> None:
    deployment.simulator.set_faults(never_ends=1)
    async with workers(deployment, overdue_seconds=1.0):
        first = await enqueued(deployment, FIRST)
        await level_reaches(redis, 1)
        rest = await enqueued(deployment, REST)
        await level_reaches(redis, 2)
        assert (await states(deployment, rest))["queued"] >= REST - 3
        deployment.simulator.set_faults(never_ends=0, duration=0.2)

        async def most_succeeded() -> bool:
            return (await states(deployment, rest))["succeeded"] >= REST - 3

        await eventually(most_succeeded, "all but the probes have succeeded", 90)
    assert await states(deployment, first) == {"generating": FIRST}
    await deployment.check_invariants_hold()


async def test_one_lost_reply_in_a_hundred_slows_nothing_down(
    deployment: Deployment, redis: ArqRedis
) -> None:
    deployment.simulator.set_faults(lost_reply=0.01, duration=0.2)
    async with workers(deployment):
        jobs = await enqueued(deployment, 60)
        await all_are(deployment, jobs, "succeeded", "unknown")
        assert not int(await redis.hget(KEY, "level") or 0)  # type: ignore[misc]


@pytest.mark.parametrize("form", ["comma", "top", "result_json", "objects", "string"])
async def test_a_success_is_read_wherever_kie_puts_its_images(
    deployment: Deployment, form: str
) -> None:
    deployment.simulator.set_faults(response_form=form, duration=0.1, market_state=form == "top")
    async with workers(deployment, 1):
        (job,) = await enqueued(deployment, 1)
        ended = await deployment.ended(job)
    assert ended.state == "succeeded"
    assert len(ended.result_urls) == 1
    await deployment.check_invariants_hold()
