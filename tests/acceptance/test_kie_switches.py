"""What each switch of the simulator does to jobs, on both endpoints to Kie."""

from __future__ import annotations

from producer import JobState
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.market_jobs import market_examples, with_directives

DONE = ("succeeded", None)
AT_FAULT = ("failed", "provider_failed")
ON_BOTH_ENDPOINTS = {
    "missing_form=404, visible_after_seconds=0.5": DONE,
    "missing_form=null, visible_after_seconds=0.5": DONE,
    "progress_form=stuck": DONE,
    "progress_form=by_duration": DONE,
    "poll_hang=0.5, poll_hang_seconds=0.2": DONE,
    "failed_response=empty, outcome=generate_failed": AT_FAULT,
    "outcome=try_again": AT_FAULT,
    "outcome=internal_error": AT_FAULT,
    "outcome=failed_at_once": AT_FAULT,
    "outcome=upload_failed": AT_FAULT,
    "create_task_failed_rate=1": AT_FAULT,
    "image_fetch_failed_rate=1": AT_FAULT,
    "unknown_status_rate=1": AT_FAULT,
    "content_policy_rate=1": ("failed", "content_policy"),
}
BY_THE_MARKET = dict.fromkeys((f"running_state={one}" for one in ("waiting", "queuing")), DONE)
BY_CALLBACK = {
    "create_junk=garbage, create_junk_creates=yes, create_junk_rate=1": DONE,
    "callback_late_seconds=0.3": DONE,
}


async def test_each_switch_of_a_task_does_the_same_to_jobs_of_both_endpoints(
    deployment: Deployment,
) -> None:
    plain, market = text_to_image(), market_examples()[-1]
    cases = [(one, directives) for one in (plain, market) for directives in ON_BOTH_ENDPOINTS]
    cases += [(market, directives) for directives in BY_THE_MARKET]
    expected = {**ON_BOTH_ENDPOINTS, **BY_THE_MARKET}
    async with deployment.worker():
        jobs = [
            await deployment.enqueue(with_directives(request, f"{directives}, duration=0.5"))
            for request, directives in cases
        ]
        ended = [await deployment.ended(job) for job in jobs]
    for job, (request, directives) in zip(ended, cases, strict=True):
        told = (job.state.value, job.reason)
        assert told == expected[directives], (request.model, directives, job.message)
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_each_switch_of_callbacks_and_of_lost_answers_is_recovered_from(
    deployment: Deployment,
) -> None:
    plain, market = text_to_image(), market_examples()[-1]
    async with deployment.worker_with_callbacks(unknown_limit_seconds=5):
        jobs = {
            (request.model, directives): await deployment.enqueue(
                with_directives(request, f"{directives}, duration=0.5")
            )
            for request in (plain, market)
            for directives in BY_CALLBACK
        }
        ended = {case: await deployment.ended(job) for case, job in jobs.items()}
    told = {case: (job.state.value, job.reason) for case, job in ended.items()}
    assert told == {case: BY_CALLBACK[case[1]] for case in jobs}
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_a_connection_that_breaks_before_there_is_a_task_costs_nothing(
    deployment: Deployment,
) -> None:
    async with deployment.worker(unknown_limit_seconds=1):
        jobs = [
            await deployment.enqueue(with_directives(request, "create_reset=1"))
            for request in (text_to_image(), market_examples()[-1])
        ]
        for job in jobs:
            ended = await deployment.ended(job)
            assert (ended.state, ended.reason) == (JobState.FAILED, "submission_lost")
    assert not deployment.simulator.record.tasks
    await deployment.check_account(balance=10_000)


async def test_a_price_that_moved_at_kie_moves_no_charge_of_ours(deployment: Deployment) -> None:
    deployment.simulator.set_faults(price_factor=2, refuse_default_user_agent=True)
    async with deployment.worker():
        ended = await deployment.ended(await deployment.enqueue())
    assert (ended.state, ended.credits_charged) == (JobState.SUCCEEDED, 6)
    assert deployment.simulator.record.account.describe()["net"] == 12.0
    await deployment.check_account(balance=10_000 - 6)


async def test_a_burst_of_refusals_delays_a_job_and_no_more(deployment: Deployment) -> None:
    deployment.simulator.set_faults(
        burst_code=550, burst_every_seconds=3_600, burst_seconds=3_600, burst_scope="create"
    )
    async with deployment.worker():
        job = await deployment.enqueue()

        async def is_refused() -> bool:
            return deployment.simulator.record.creates_refused["burst_550"] > 0

        await eventually(is_refused, "a create is refused")
        deployment.simulator.set_faults(burst_code=0)
        ended = await deployment.ended(job)
    assert ended.state == JobState.SUCCEEDED
    deployment.check_paid_once()


async def test_the_jobs_of_a_model_that_is_gone_wait_and_a_field_that_is_gone_is_ignored(
    deployment: Deployment,
) -> None:
    market = next(one for one in market_examples() if one.model == "4o-image-api")
    deployment.simulator.set_faults(gone_field="size")
    async with deployment.worker():
        ended = await deployment.ended(
            await deployment.enqueue(with_directives(market, "duration=0.1"))
        )
        assert ended.state == JobState.SUCCEEDED
        assert deployment.simulator.record.unknown_fields == {"size": 1}
        deployment.simulator.set_faults(gone_model="4o-image-api")
        job = await deployment.enqueue(with_directives(market, "duration=0.2"))

        async def waits() -> bool:
            found = await deployment.producer.get(job.id)
            return (found.state, found.reason) == (JobState.QUEUED, "model_gone")

        await eventually(waits, "the job waits with its hold")
    await deployment.check_account(balance=10_000 - 6, held=6)
    await deployment.check_invariants_hold()
