"""What each answer of Kie does to a job, from enqueue to the ledger, against the simulator."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from producer import JobState
from shared.adapters.redis.deliveries import Lane
from tests.support.deployment import Deployment, eventually, text_to_image

FORMS = ("body", "status")
"""An error code of Kie comes in the body of a 200, or as the status."""


async def _run(deployment: Deployment, *directives: str) -> dict[str, tuple[str, str | None]]:
    """Run a job for each directive. The directive in the prompt sets the simulator's behaviour.

    Returns state and reason of each at its end. All run at once, because most of the time is spent
    in waiting for the next poll.
    """
    async with deployment.worker():
        jobs = {
            directive: await deployment.enqueue(text_to_image(f"a picture [[sim: {directive}]]"))
            for directive in directives
        }
        ended = {directive: await deployment.ended(job) for directive, job in jobs.items()}
    await deployment.check_invariants_hold()
    deployment.check_paid_once()
    return {directive: (job.state.value, job.reason) for directive, job in ended.items()}


async def test_m9_kie_400_404_422_on_submit_fail_the_job_and_release_its_hold(
    deployment: Deployment,
) -> None:
    directives = [
        f"submit_code={code}, error_form={form}" for code in (400, 404, 422) for form in FORMS
    ]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("failed", "rejected"))
    await deployment.check_account(balance=10_000)
    assert not deployment.simulator.record.tasks


@pytest.mark.parametrize("code", [429, 455, 550])
async def test_m9_kie_429_455_550_put_the_job_back_and_it_succeeds_later(
    deployment: Deployment, code: int
) -> None:
    directives = [f"submit_code={code}, submit_code_times=1, error_form={form}" for form in FORMS]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("succeeded", None))
    outcomes = await deployment.run_sql(
        "SELECT array_agg(outcome ORDER BY number) AS all FROM job_attempts GROUP BY job_id"
    )
    assert [row["all"] for row in outcomes] == [["deferred", "accepted"]] * len(FORMS)


@pytest.mark.parametrize("code", [401, 402, 403, 433])
async def test_m9_kie_401_402_433_pause_submitting_and_nothing_fails(
    deployment: Deployment, code: int
) -> None:
    deployment.simulator.set_faults(account_code=code)
    async with deployment.worker() as resources:
        jobs = [await deployment.enqueue() for _ in range(5)]

        async def is_paused() -> bool:
            (account,) = resources.deps.accounts
            return await account.brake.reason() == "account_refused"

        await eventually(is_paused, "submitting is paused")
        for job in jobs:
            await deployment.in_state(job, "queued")
    refused = deployment.simulator.record.summary()["creates"]
    assert isinstance(refused, dict)
    assert refused["created"] == 0
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("fault", ["submit_code=500, submit_code_creates=yes", "lost_reply=1"])
async def test_m9_kie_500_or_a_lost_reply_on_submit_is_unknown_and_never_resent(
    deployment: Deployment, fault: str
) -> None:
    async with deployment.worker(unknown_limit_seconds=1):
        job = await deployment.enqueue(text_to_image(f"a picture [[sim: {fault}]]"))
        unknown = await deployment.in_state(job, "unknown")
        assert (await deployment.producer.balance("acme")).held == 6
        ended = await deployment.ended(job)
    assert unknown.credits_charged is None
    assert (ended.state, ended.reason) == (JobState.FAILED, "submission_lost")
    assert len(deployment.simulator.record.tasks) == 1
    assert (await deployment.producer.balance("acme")).available == 10_000
    await deployment.check_invariants_hold()


async def test_m9_any_error_code_on_a_poll_is_asked_again(deployment: Deployment) -> None:
    directives = [
        f"poll_code={code}, poll_code_times=1, error_form={form}"
        for code in (401, 402, 404, 422, 429, 455, 500)
        for form in FORMS
    ]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("succeeded", None))


async def test_kie_garbage_on_a_poll_is_asked_again(deployment: Deployment) -> None:
    directives = [
        "poll_junk=html, poll_junk_rate=0.5",
        "poll_drop=0.5",
        "poll_junk=garbage, poll_junk_rate=0.5",
    ]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("succeeded", None))


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("generate_failed", "provider_failed"),
        ("create_task_failed", "provider_failed"),
        ("content_policy", "content_policy"),
        ("image_fetch_failed", "provider_failed"),
        ("unknown_status", "provider_failed"),
    ],
)
async def test_m7_each_failure_of_kie_is_distinguished_and_never_charged(
    deployment: Deployment, outcome: str, reason: str
) -> None:
    directives = [f"outcome={outcome}, failure_flag={flag}" for flag in (2, 3)]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("failed", reason))
    assert (await deployment.producer.balance("acme")).balance == 10_000


async def test_m7_odd_spellings_of_success_are_read_leniently(deployment: Deployment) -> None:
    directives = [
        "omit_status=yes",
        "time_form=text",
        "time_form=iso",
        "response_form=string",
        "url_spelling=snake",
        "url_spelling=both",
        "success_error_code=400",
        "generating_status=QUEUED",
        "visible_after_seconds=1",
    ]
    assert await _run(deployment, *directives) == dict.fromkeys(directives, ("succeeded", None))


async def test_success_without_images_is_held_beyond_the_deadline(deployment: Deployment) -> None:
    async with deployment.worker(job_deadline_seconds=1):
        job = await deployment.enqueue(text_to_image("none [[sim: success_without_urls=1]]"))

        async def is_held() -> bool:
            now = await deployment.producer.get(job.id)
            return (now.state, now.reason) == (JobState.GENERATING, "result_unreadable")

        await eventually(is_held, "the job is held for an operator")
    await deployment.check_account(balance=10_000, held=6)
    await deployment.check_invariants_hold()


async def test_fewer_images_than_asked_are_charged_by_what_was_delivered(
    deployment: Deployment,
) -> None:
    """Some are missing, or Kie does not know the number of images at all."""
    cases = [("missing_urls=2", 4, 2, 7), ("one_image=yes", 4, 1, 6), ("one_image=yes", 2, 1, 6)]
    requests = [text_to_image(f"[[sim: {told}]]", quantity=asked) for told, asked, _, _ in cases]
    async with deployment.worker():
        jobs = [await deployment.enqueue(request) for request in requests]
        for job, (_, asked, delivered, credits) in zip(jobs, cases, strict=True):
            ended = await deployment.ended(job)
            assert (ended.state, len(ended.result_urls)) == (JobState.SUCCEEDED, delivered)
            assert ended.credits_charged == credits
            assert ended.message == f"{delivered} of {asked} images were delivered"
    await deployment.check_account(balance=10_000 - 19, held=0)
    await deployment.check_invariants_hold()


async def test_m6_a_price_changed_by_plain_update_holds_from_the_next_settlement(
    deployment: Deployment,
) -> None:
    async with deployment.worker():
        before = await deployment.enqueue(text_to_image("[[sim: duration=1.5]]", quantity=2))
        await deployment.in_state(before, "generating")
        await deployment.run_sql(
            "UPDATE pricing SET credits = 9 WHERE model = 'gpt-4o-image'"
            " AND task = 'text-to-image' AND quantity = 2"
        )
        ended = await deployment.ended(before)
    assert (ended.credits_quoted, ended.credits_charged) == (Decimal(7), Decimal(9))
    await deployment.check_invariants_hold()


@pytest.mark.parametrize(("basis", "charged"), [("quoted", 7), ("lower_of", 7), ("current", 9)])
async def test_m10_the_charge_follows_its_basis(
    deployment: Deployment, basis: str, charged: int
) -> None:
    async with deployment.worker(charge_basis=basis):
        job = await deployment.enqueue(text_to_image("[[sim: duration=1.5]]", quantity=2))
        await deployment.in_state(job, "generating")
        await deployment.run_sql("UPDATE pricing SET credits = 9 WHERE quantity = 2")
        ended = await deployment.ended(job)
    assert ended.credits_charged == charged
    await deployment.check_invariants_hold()


async def test_m8_kie_counts_at_most_3_queries_a_second_while_four_workers_and_operators_ask(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(never_ends=1.0)
    async with (
        deployment.worker() as one,
        deployment.worker(),
        deployment.worker(),
        deployment.worker(),
    ):
        jobs = [await deployment.enqueue() for _ in range(5)]
        await asyncio.gather(*(deployment.in_state(job, "generating") for job in jobs))
        for _ in range(200):
            # An operator who keeps refreshing: every delivery is made due repeatedly.
            await asyncio.gather(
                *(one.deps.delivery_queue.make_due_now(job.id, Lane.POLL) for job in jobs)
            )
            await asyncio.sleep(0.02)
    summary = deployment.simulator.record.summary()["polls"]
    assert isinstance(summary, dict)
    assert summary["arrived"] >= 5 * 6
    assert summary["worst_window_per_task"] == 3
    assert summary["over_limit"] == 0
