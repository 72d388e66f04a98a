"""An operator resolves a success that could not be read, like an ordinary end, with a reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from producer import InvalidRequest, Job, JobNotFound, JobState, Producer
from shared.adapters.postgres.database import Database
from shared.domain import job_events
from shared.errors import DarkroomError, StaleJob
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import money, open_account
from tests.support.deployment import text_to_image
from tests.support.example_jobs import polled

URLS = ("https://images.example/1.png", "https://images.example/2.png")
NOBODY = "00000000-0000-7000-8000-000000000000"
HELD = job_events.HeldForReview("result_unreadable", "no image URL", '{"successFlag":1}')


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


async def held_job(setup: DatabaseSetup, **options: Any) -> Job:
    job = await setup.job_in(JobState.GENERATING, **options)
    await setup.store.hold_for_review(polled(job), HELD)
    return await setup.store.load(job.id)


async def last_events(setup: DatabaseSetup, job: Job) -> list[tuple[str, dict[str, Any]]]:
    rows = await setup.database.fetch("list_events", job.id)
    return [(row["event"], row["detail"]) for row in rows][-2:]


async def test_delivered_images_are_charged_as_any_success(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await held_job(setup)
    ended = await producer.resolve_delivered(job.id, URLS[:1], "seen in Kie's log", actor="maria")
    assert (ended.state, ended.reason) == (JobState.SUCCEEDED, None)
    assert ended.result_urls == URLS[:1]
    assert (ended.credits_charged, ended.progress) == (6, 1.0)
    assert await money(producer) == (994, 0)
    assert await setup.broken_invariants() == {}
    (completed, told) = await last_events(setup, job)
    assert completed[0] == "completed"
    assert told[0] == "resolved_by_operator"
    assert (told[1]["verdict"], told[1]["by"]) == ("delivered", "maria")
    assert told[1]["reason"] == "seen in Kie's log"


async def test_fewer_images_than_asked_cost_what_was_delivered(
    producer: Producer, setup: DatabaseSetup
) -> None:
    asked = await setup.enqueue(text_to_image(quantity=4))
    generating = await setup.move(asked, job_events.Claimed, job_events.Submitted)
    await setup.store.hold_for_review(polled(generating), HELD)
    ended = await producer.resolve_delivered(asked.id, URLS, "two of four")
    assert (ended.credits_charged, ended.message) == (7, "2 of 4 images were delivered")
    assert await money(producer) == (993, 0)
    assert await setup.broken_invariants() == {}


async def test_no_images_release_the_hold(producer: Producer, setup: DatabaseSetup) -> None:
    job = await held_job(setup)
    ended = await producer.resolve_undelivered(job.id, "Kie refunded it")
    assert (ended.state, ended.reason) == (JobState.FAILED, "result_unreadable")
    assert ended.credits_charged is None
    assert await money(producer) == (1_000, 0)
    assert await setup.broken_invariants() == {}
    assert [name for name, _ in await last_events(setup, job)] == [
        "provider_failed",
        "resolved_by_operator",
    ]


@pytest.mark.parametrize("state", [one for one in JobState if one is not JobState.GENERATING])
async def test_only_a_held_job_can_be_settled_so(
    producer: Producer, setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    before = await setup.snapshot()
    for resolution in (
        producer.resolve_delivered(job.id, URLS, "x"),
        producer.resolve_undelivered(job.id, "x"),
    ):
        with pytest.raises(InvalidRequest, match=str(job.id)):
            await resolution
    assert await setup.snapshot() == before


async def test_a_job_that_is_generating_as_usual_is_left_to_kie(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(JobState.GENERATING)
    with pytest.raises(InvalidRequest, match="result_unreadable"):
        await producer.resolve_delivered(job.id, URLS, "x")
    assert (await producer.get(job.id)).state == JobState.GENERATING


@pytest.mark.parametrize(
    "urls",
    [
        (),
        ("nope",),
        ("ftp://x/y.png",),
        ("https://",),
        ("https://a/1.png https://a/2.png",),
        ("https://a/1.png", "https://a/1.png"),
        ("https://a/\n.png",),
        ("http://[",),
        tuple(f"https://a/{n}.png" for n in range(17)),
    ],
    ids=lambda urls: repr(urls)[:40],
)
async def test_what_is_no_list_of_images_is_refused_with_nothing_stored(
    producer: Producer, setup: DatabaseSetup, urls: tuple[str, ...]
) -> None:
    job = await held_job(setup)
    before = await setup.snapshot()
    with pytest.raises(InvalidRequest) as refusal:
        await producer.resolve_delivered(job.id, urls, "x")
    assert {fault.field for fault in refusal.value.faults} == {"result_urls"}
    assert await setup.snapshot() == before


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\nb"])
async def test_a_resolution_has_a_reason(
    producer: Producer, setup: DatabaseSetup, reason: str
) -> None:
    job = await held_job(setup)
    with pytest.raises(InvalidRequest, match="reason"):
        await producer.resolve_undelivered(job.id, reason)


async def test_a_job_that_does_not_exist_is_404(producer: Producer, setup: DatabaseSetup) -> None:
    del setup
    with pytest.raises(JobNotFound):
        await producer.resolve_undelivered(NOBODY, "x")


async def test_the_first_of_kie_and_operators_wins(
    producer: Producer, setup: DatabaseSetup
) -> None:
    for _ in range(5):
        job = await held_job(setup)
        outcomes = await asyncio.gather(
            producer.resolve_delivered(job.id, URLS[:1], "first"),
            producer.resolve_undelivered(job.id, "second"),
            setup.settle(job),
            return_exceptions=True,
        )
        assert len([one for one in outcomes if isinstance(one, Job)]) == 1
        lost = [one for one in outcomes if not isinstance(one, Job)]
        assert all(isinstance(one, InvalidRequest | StaleJob) for one in lost), outcomes
    assert await setup.broken_invariants() == {}


async def test_a_resolution_that_cannot_be_recorded_moves_nothing(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await held_job(setup)
    await setup.sql(
        "ALTER TABLE job_events ADD CONSTRAINT a_drill CHECK (event <> 'resolved_by_operator')"
    )
    before = await setup.snapshot()
    with pytest.raises(DarkroomError):
        await producer.resolve_delivered(job.id, URLS, "x")
    assert await setup.snapshot() == before
    assert await money(producer) == (1_000, 6)


async def test_no_deadline_ends_a_held_job_whatever_a_worker_remembers(
    setup: DatabaseSetup,
) -> None:
    before = await setup.job_in(JobState.GENERATING)
    await setup.store.hold_for_review(polled(before), HELD)
    await setup.sql("UPDATE jobs SET deadline_at = now() - interval '1 hour'")
    with pytest.raises(StaleJob):
        await setup.store.exceed_deadline(polled(before), job_events.DeadlineExceeded("late"))
    after = await setup.store.load(before.id)
    assert (after.state, after.reason) == (JobState.GENERATING, "result_unreadable")
