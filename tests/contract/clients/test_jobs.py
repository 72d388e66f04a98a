"""What clients rely on about jobs and credits, on every system."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from darkroom_client import AsyncDarkroom, Darkroom, JobFailed, WaitTimedOut, problems

from tests.contract.clients.systems import System

TOMORROW = datetime.now(UTC) + timedelta(days=1)


async def test_a_job_succeeds_and_is_charged(darkroom: AsyncDarkroom, tmp_path: Path) -> None:
    job = await darkroom.enqueue(
        prompt="a lighthouse", aspect_ratio="3:2", quantity=2, metadata={"order": 1042}
    )
    assert (job.state, job.task, job.credits_quoted) == ("queued", "text-to-image", 7)
    assert (job.credits_charged, job.metadata, job.priority) == (None, {"order": 1042}, "normal")
    ended = (await job.wait()).raise_for_failure()
    assert (ended.state, ended.credits_charged, ended.progress) == ("succeeded", Decimal(7), 1.0)
    assert len(ended.result_urls) == 2
    assert ended.submitted_at is not None
    assert ended.finished_at is not None
    assert ended == await job.refresh()
    account = await darkroom.account()
    assert (account.balance, account.held, account.available) == (9_993, 0, 9_993)
    moves = [
        (one.kind, one.credits, one.balance_after, one.held_after)
        async for one in darkroom.ledger()
    ]
    assert moves == [
        ("capture", 7, 9_993, 0),
        ("hold", 7, 10_000, 7),
        ("grant", 10_000, 10_000, 0),
    ]
    files = await ended.save_images(tmp_path)
    assert [file.name for file in files] == ["1.png", "2.png"]
    assert files[1].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(problems.NotFound):
        await ended.download(3)
    events = [(one.event, one.state) async for one in job.events() if one.event != "progressed"]
    assert events == [
        ("enqueued", "queued"),
        ("claimed", "submitting"),
        ("submitted", "generating"),
        ("completed", "succeeded"),
    ]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("content_policy", "content_policy"), ("generate_failed", "provider_failed")],
)
async def test_a_failure_costs_nothing_and_has_its_reason(
    system: System, darkroom: AsyncDarkroom, outcome: str, reason: str
) -> None:
    job = await darkroom.enqueue(prompt=system.prompt(outcome), aspect_ratio="1:1")
    ended = await job.wait()
    assert (ended.state, ended.reason, ended.credits_charged) == ("failed", reason, None)
    assert ended.message
    assert ended.result_urls == ()
    with pytest.raises(JobFailed) as failed:
        ended.raise_for_failure()
    assert (failed.value.reason, failed.value.message) == (reason, ended.message)
    assert [one.kind async for one in darkroom.ledger()] == ["release", "hold", "grant"]
    events = [one async for one in job.events(last_event_id=None)]
    assert (events[-1].event, events[-1].detail["reason"]) == ("provider_failed", reason)
    resumed = [one async for one in job.events(events[1].last_event_id)]
    assert resumed == events[2:]
    assert [one async for one in job.events(events[-1].last_event_id)] == []
    again = await ended.retry()
    assert (again.state, (await ended.retry()).id) == ("queued", again.id)


async def test_a_key_is_one_job_with_the_same_answer(darkroom: AsyncDarkroom) -> None:
    order: dict[str, Any] = {"prompt": "a lighthouse", "aspect_ratio": "3:2"}
    first = await darkroom.enqueue(**order, idempotency_key="order-1")
    await first.wait()
    assert await darkroom.enqueue(**order, idempotency_key="order-1") == first
    with pytest.raises(problems.IdempotencyConflict) as conflict:
        await darkroom.enqueue(
            **order | {"prompt": "a cat"}, quantity=4, priority="low", idempotency_key="order-1"
        )
    assert conflict.value.differs == ("prompt", "quantity", "priority")
    assert conflict.value.job_id == first.id
    assert (conflict.value.status, conflict.value.code) == (409, "idempotency_conflict")
    other = await darkroom.enqueue(**order)
    assert other.id != first.id


async def test_a_wait_ends_in_time_and_the_job_goes_on(darkroom: AsyncDarkroom) -> None:
    job = await darkroom.enqueue(prompt="a lighthouse", aspect_ratio="3:2", run_at=TOMORROW)
    with pytest.raises(WaitTimedOut) as timeout:
        await job.wait(timeout_seconds=0.2)
    assert (timeout.value.job_id, timeout.value.state) == (job.id, "queued")
    assert job.run_at == TOMORROW


async def test_a_queued_job_is_cancelled_at_once_and_an_ended_one_not(
    darkroom: AsyncDarkroom,
) -> None:
    job = await darkroom.enqueue(prompt="a lighthouse", aspect_ratio="3:2", run_at=TOMORROW)
    with pytest.raises(problems.StateConflict) as conflict:
        await job.retry()
    assert "only an ended job is retried" in conflict.value.fields["id"]
    ended = await job.cancel()
    assert (ended.state, ended.reason) == ("cancelled", "cancelled_by_caller")
    with pytest.raises(problems.TooLateToCancel) as late:
        await job.cancel()
    assert (late.value.job_id, late.value.state) == (job.id, "cancelled")
    assert (await darkroom.account()).held == 0
    assert [one.event async for one in job.events()] == ["enqueued", "cancelled"]


async def test_the_cancel_of_a_job_at_kie_is_requested_once_and_kie_ends_the_job(
    system: System, darkroom: AsyncDarkroom
) -> None:
    job = await darkroom.enqueue(prompt=system.slow_prompt(1.5), aspect_ratio="3:2")
    async for event in job.events():
        if event.event == "submitted":
            break
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(job.wait())
        await asyncio.wait({wait}, timeout=0.3)  # until it is under way
        asked = await job.cancel()
    assert asked.state == "generating"
    assert wait.result().state == "generating", "a wait that is under way ends"
    assert asked.cancel_requested_at is not None
    assert (await job.cancel()).cancel_requested_at == asked.cancel_requested_at
    many = await darkroom.cancel_many([job.id])
    assert (many.requested, [one.is_new for one in many.done]) == (0, [False])
    ended = await job.wait()
    assert ended.state == "succeeded"
    assert ended.cancel_requested_at == asked.cancel_requested_at
    assert [one.event async for one in job.events()].count("cancel_requested") == 1


async def test_a_success_is_retried_only_with_again(darkroom: AsyncDarkroom) -> None:
    job = await (await darkroom.enqueue(prompt="a lighthouse", aspect_ratio="3:2")).wait()
    with pytest.raises(problems.StateConflict) as conflict:
        await job.retry()
    assert "6 credits were charged" in conflict.value.fields["again"]
    retried = await job.retry(again=True)
    assert retried.request == job.request
    assert (await retried.wait()).credits_charged == 6
    assert (await darkroom.account()).balance == 9_988


async def test_a_batch_is_placed_whole_or_not_at_all(darkroom: AsyncDarkroom) -> None:
    order: Any = {"prompt": "a lighthouse", "aspect_ratio": "3:2", "run_at": TOMORROW}
    with pytest.raises(problems.InvalidRequest) as refused:
        await darkroom.enqueue_many([order, order | {"quantity": 3}])
    assert refused.value.fields == {
        "jobs.1.quantity": "is 3; allowed: the numbers 1, 2 and 4",
    }
    assert [one async for one in darkroom.jobs()] == []
    orders = [order, order | {"quantity": 2}]
    placed = await darkroom.enqueue_many(orders, idempotency_key="b")
    assert [one.credits_quoted for one in placed] == [6, 7]
    assert await darkroom.enqueue_many(orders, idempotency_key="b") == placed
    assert await darkroom.enqueue(**orders[1], idempotency_key="b/1") == placed[1]
    assert (await darkroom.account()).held == 13


async def test_jobs_are_listed_counted_and_changed_by_filters(darkroom: AsyncDarkroom) -> None:
    order: Any = {"prompt": "a lighthouse", "aspect_ratio": "3:2", "run_at": TOMORROW}
    placed = [
        await darkroom.enqueue(**order | {"metadata": {"order": number}, "priority": priority})
        for number, priority in ((1, "high"), (2, "low"), (3, "low"))
    ]
    listed = [one async for one in darkroom.jobs(state=["queued", "failed"])]
    assert listed == placed[::-1]
    assert [one.id async for one in darkroom.jobs(metadata={"order": 2})] == [placed[1].id]
    assert [one.id async for one in darkroom.jobs(priority="high")] == [placed[0].id]
    assert [one async for one in darkroom.jobs(scheduled=True)] == listed
    assert [one async for one in darkroom.jobs(scheduled=False)] == []
    done = await darkroom.cancel_many({"priority": "low"}, dry_run=True)
    assert (done.matched, done.dry_run, done.credits) == (2, True, 12)
    done = await darkroom.cancel_many({"priority": "low"})
    assert {one.id for one in done.done} == {one.id for one in placed[1:]}
    counts = await darkroom.count()
    assert {(one.state, one.jobs) for one in counts.counts} == {("queued", 1), ("cancelled", 2)}
    retried = await darkroom.retry_many([placed[1].id, placed[0].id])
    assert [(one.id, one.is_new) for one in retried.done] == [(placed[1].id, True)]
    assert [(one.id, one.code) for one in retried.refused] == [(placed[0].id, "state_conflict")]
    with pytest.raises(problems.InvalidRequest):
        await darkroom.count(state="lost")  # type: ignore[arg-type]


async def test_the_blocking_client_does_the_same(system: System, tmp_path: Path) -> None:
    def run(key: str) -> None:
        with Darkroom(system.url, key) as darkroom:
            job = darkroom.enqueue(model="gpt-4o-image", prompt="a cat", aspect_ratio="3:2").wait()
            assert job.raise_for_failure().has_succeeded
            assert [file.name for file in job.save_images(tmp_path)] == ["1.png"]
            assert [one.event for one in job.events()][-1] == "completed"
            assert [one.id for one in darkroom.jobs()] == [job.id]
            assert darkroom.account("acme").balance == 9_994
            assert [one.kind for one in darkroom.ledger("acme")] == ["capture", "hold", "grant"]
            with pytest.raises(problems.TooLateToCancel):
                job.cancel()

    await asyncio.to_thread(run, await system.key())


async def test_an_order_of_any_length_is_quoted_as_it_would_be_placed(
    darkroom: AsyncDarkroom,
) -> None:
    urls = [f"https://images.example/{number}?sig={'y' * 8_000}" for number in range(5)]
    long: dict[str, Any] = {"prompt": "x" * 20_000, "image_urls": urls, "aspect_ratio": "1:1"}
    quote = await darkroom.quote(**long, metadata={"order": 1}, webhook_url="https://h.example/")
    assert (quote.account_id, quote.task, quote.quantity) == ("acme", "image-to-image", 1)
    placed = await darkroom.enqueue(**long)
    assert placed.credits_quoted == quote.credits
    with pytest.raises(problems.InvalidRequest) as refused:
        await darkroom.quote(prompt="", aspect_ratio="1:1", metadata={"text": "x" * 16_400})
    assert set(refused.value.fields) == {"prompt", "metadata"}
