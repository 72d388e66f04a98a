"""A person ends a brake: submits go on at once, and who did it is recorded."""

from __future__ import annotations

import pytest

from producer import InvalidRequest
from shared.domain.kie_outcomes import Accepted
from shared.domain.lifecycle import Reason
from tests.integration.worker.worker_setup import WorkerSetup, running_lanes
from tests.support.deployment import eventually
from worker.limits.account_brake import AccountBrake

MODEL = "gpt-4o-image"


async def test_an_ended_brake_lets_the_next_job_through_at_once(setup: WorkerSetup) -> None:
    (account,) = setup.deps.accounts
    await account.brake.apply(Reason.ACCOUNT_REFUSED, "402: no credits")
    await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    async with running_lanes(setup.deps):

        async def is_braked() -> bool:
            return account.brake.level == 1

        await eventually(is_braked, "the lane has read the brake")
        assert setup.kie.submit_calls == []
        (ended,) = await setup.producer.brakes.end("default", reason="topped up", actor="maria")

        async def is_submitted() -> bool:
            return len(setup.kie.submit_calls) == 1

        await eventually(is_submitted, "the job is submitted", 5)
    assert (ended.model, ended.reason, ended.message) == (
        None,
        "account_refused",
        "402: no credits",
    )
    (entry,) = await setup.sql("SELECT * FROM audit_entries WHERE act = 'queue_resumed'")
    assert (entry["actor"], entry["reason"]) == ("maria", "topped up")
    assert entry["subject"] == "brake of Kie account default"
    assert "402: no credits" in str(entry["before"])


async def test_the_brake_of_a_model_ends_alone_or_with_that_of_its_account(
    setup: WorkerSetup,
) -> None:
    (account,) = setup.deps.accounts
    family = account.brake.family_brake(MODEL)
    (job,) = [await setup.enqueue()]
    for model in (MODEL, None):
        await account.brake.apply(Reason.ACCOUNT_REFUSED, "402")
        await family.record_wrong_endpoint(job.id, "404")
        ended = await setup.producer.brakes.end("default", model, reason="repaired")
        assert [one.model for one in ended] == ([MODEL] if model else [None, MODEL])
    assert await account.brake.reason() is None


async def test_nothing_is_recorded_where_no_brake_is_on(setup: WorkerSetup) -> None:
    await AccountBrake(setup.deps.scripts, "studio").apply(Reason.ACCOUNT_REFUSED, "402")
    assert await setup.producer.brakes.end("default", reason="why") == []
    assert await setup.producer.brakes.end("studio", "no-model", reason="why") == []
    with pytest.raises(InvalidRequest, match="reason: "):
        await setup.producer.brakes.end("studio", reason=" ")
    assert await setup.sql("SELECT FROM audit_entries WHERE act = 'queue_resumed'") == []
