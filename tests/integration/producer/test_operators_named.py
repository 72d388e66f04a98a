"""Cancels, retries, resolutions and replays by an operator record the operator."""

from __future__ import annotations

from typing import Any

import pytest

from producer import Actor, Job, JobState, Producer
from shared.adapters.postgres.database import Database
from shared.domain import job_events
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import open_account
from tests.support.example_jobs import polled

URL = "https://hooks.example/end"
MARIA = Actor("maria", via="cli", is_operator=True, os_user="maria", origin="office-7")
SHOP = Actor("api:dk_1", via="api", key_prefix="dk_1", key_role="service", origin="192.0.2.9")
HELD = job_events.HeldForReview("result_unreadable", "no image URL", '{"successFlag":1}')


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


async def entries(setup: DatabaseSetup, job: Job) -> list[tuple[str, str, Any]]:
    """Return what operators did to the job: what, who, and the state after it."""
    rows = await setup.billing.audit(job_id=job.id)
    return [(row["act"], row["actor"], (row["after"] or {}).get("state")) for row in rows]


async def test_an_operators_cancel_reads_so_in_the_job_its_timeline_and_its_webhook(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.enqueue(webhook_url=URL)
    cancelled = await producer.cancel(job.id, actor=MARIA)
    assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, "cancelled_by_operator")
    assert cancelled.message == "cancelled by an operator"
    told = (await setup.book.read_details(job.id))["events"][-1]
    assert told["event"] == "cancelled"
    assert told["detail"] == {
        "reason": "cancelled_by_operator",
        "message": "cancelled by an operator",
    }
    # The webhook is made of the job's row.
    (message,) = await producer.webhooks.list()
    sent = (await setup.database.fetch("webhook_to_send", await first_message(setup)))[0]
    assert (message["event"], sent["reason"]) == ("job.cancelled", "cancelled_by_operator")
    entry = (await setup.book.read_details(job.id))["entries"][-1]
    assert (entry["kind"], entry["credits"]) == ("release", 6)
    assert await entries(setup, job) == [("job_cancelled", "maria", "cancelled")]
    assert await setup.broken_invariants() == {}


async def first_message(setup: DatabaseSetup) -> Any:
    return await setup.value("SELECT id FROM webhook_messages LIMIT 1")


@pytest.mark.parametrize("actor", [None, SHOP, Actor("a shop's own program")])
async def test_a_callers_cancel_reads_as_the_callers_and_is_no_operators_act(
    producer: Producer, setup: DatabaseSetup, actor: Actor | None
) -> None:
    job = await setup.enqueue()
    cancelled = await producer.cancel(job.id, actor=actor)
    assert (cancelled.reason, cancelled.message) == (
        "cancelled_by_caller",
        "cancelled by the caller",
    )
    assert await entries(setup, job) == []


async def test_a_retry_names_who_ran_the_job_again(
    producer: Producer, setup: DatabaseSetup
) -> None:
    first = await setup.job_in(JobState.FAILED)
    again = await producer.retry(first.id, actor=MARIA)
    assert await entries(setup, again) == [("job_retried", "maria", "queued")]
    (entry,) = await setup.billing.audit(job_id=again.id)
    assert entry["after"]["retry_of"] == str(first.id)
    # Without a name, the login of the database is who.
    third = await producer.retry((await setup.job_in(JobState.CANCELLED)).id)
    assert await entries(setup, third) == [
        ("job_retried", await setup.value("SELECT session_user"), "queued")
    ]


async def test_each_resolution_of_a_doubt_names_its_operator(
    producer: Producer, setup: DatabaseSetup
) -> None:
    lost = await setup.job_in(JobState.UNKNOWN)
    await producer.resolve_lost(lost.id, "not in the log", actor=MARIA)
    found = await setup.job_in(JobState.UNKNOWN)
    await producer.resolve_submitted(found.id, "task-9", actor=MARIA)
    seen, unseen = [await setup.job_in(JobState.GENERATING) for _ in range(2)]
    for job in (seen, unseen):
        await setup.store.hold_for_review(polled(job), HELD)
    await producer.resolve_delivered(seen.id, ["https://x.example/1.png"], "seen", actor=MARIA)
    await producer.resolve_undelivered(unseen.id, "not seen", actor=MARIA)
    states = {lost.id: "failed", found.id: "generating", seen.id: "succeeded", unseen.id: "failed"}
    for job in (lost, found, seen, unseen):
        assert await entries(setup, job) == [("job_resolved", "maria", states[job.id])]
    (entry,) = await setup.billing.audit(job_id=seen.id)
    assert entry["before"] == {"state": "generating", "reason": "result_unreadable"}
    assert (entry["after"]["verdict"], entry["after"]["credits_charged"]) == ("delivered", 6)
    assert (entry["origin"], entry["reason"]) == ("office-7", "seen")
    assert await setup.broken_invariants() == {}


async def test_webhook_work_names_who_did_it(producer: Producer, setup: DatabaseSetup) -> None:
    webhooks = producer.webhooks
    made = await webhooks.secret("acme", URL, allow_loopback=False, actor=MARIA)
    # Asking for it again makes nothing.
    assert await webhooks.secret("acme", URL, allow_loopback=False, actor=MARIA) == made
    await webhooks.rotate("acme", URL, actor=MARIA)
    job = await setup.enqueue(webhook_url=URL)
    await producer.cancel(job.id)
    await webhooks.replay(await first_message(setup), actor=MARIA)
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    assert await webhooks.replay_dead("acme", actor=MARIA) == 1
    rows = await setup.billing.audit(actor="maria")
    assert [row["act"] for row in rows] == [
        *("webhook_replayed", "webhook_replayed"),
        *("webhook_secret_rotated", "webhook_endpoint_created"),
    ]
    assert {row["account_id"] for row in rows} == {"acme"}
    assert made["secret"] not in str(rows)


async def test_a_resolution_moves_no_job_that_is_not_in_doubt(setup: DatabaseSetup) -> None:
    urls = ["https://x.example/1.png"]
    for state in sorted(set(JobState) - {JobState.UNKNOWN}):
        job = await setup.job_in(state)
        before = await setup.snapshot()
        for call in (
            ("resolve_unknown", job.id, job.attempt, "task-9", 60.0, "why", None),
            ("resolve_unknown", job.id, job.attempt, None, 60.0, "why", None),
            ("settle_held", job.id, job.attempt, urls, "current", "why", None, None),
            ("settle_held", job.id, job.attempt, [], "current", "why", None, None),
            ("settle_late", job.id, job.attempt, "task-9", urls, "why", None, False),
            ("settle_late", job.id, job.attempt, "task-9", [], "why", None, False),
        ):
            assert await setup.database.fetch(*call) == [], (state, call)
        assert await setup.snapshot() == before
    unknown = await setup.job_in(JobState.UNKNOWN)
    with pytest.raises(DatabaseRefused, match="needs a reason"):
        await setup.database.fetch("resolve_unknown", unknown.id, 1, None, 60.0, " ", None)
    assert (await setup.store.load(unknown.id)).state is JobState.UNKNOWN
