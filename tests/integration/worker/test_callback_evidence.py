"""What record-info must show before a callback for a lost reply is believed."""

from __future__ import annotations

import pytest

from producer import Job
from shared.domain import events
from shared.domain.verdicts import Pending
from tests.integration.worker.rooms import Rooms
from worker.callbacks.handling import CallbackDesk

TOKEN = "the-token-of-this-attempt"
TASK = "t" * 32


async def unknown_job_called_back(rooms: Rooms) -> tuple[Job, int]:
    """Return a job whose reply was lost, and the inbox id of a callback that names a task."""
    job = await rooms.enqueue()
    claimed = await rooms.deps.store.claim(job, events.Claimed(TOKEN, "test:1", "default"))
    lost = events.OutcomeUnknown("reply_lost", "no reply came")
    unknown = await rooms.deps.store.record_unknown(claimed, lost)
    (row,) = await rooms.sql(
        "INSERT INTO callback_inbox (token, provider_task_id) VALUES ($1, $2) RETURNING id",
        TOKEN,
        TASK,
    )
    rooms.kie.polls.append(Pending(0))
    return unknown, int(row["id"])


async def verdicts(rooms: Rooms) -> list[str | None]:
    return [row["verdict"] for row in await rooms.sql("SELECT verdict FROM callback_inbox")]


async def test_a_record_that_names_no_callback_url_proves_nothing(rooms: Rooms) -> None:
    job, inbox_id = await unknown_job_called_back(rooms)
    await CallbackDesk(rooms.deps, rooms.database).handle(inbox_id)
    assert await rooms.now_is(job) == job
    assert await verdicts(rooms) == [None], "it stays in the inbox until there is evidence"


@pytest.mark.parametrize(
    ("path", "state", "verdict"),
    [
        (f"/callbacks/kie/{TOKEN}", "generating", "confirmed"),
        (f"/callbacks/kie/{TOKEN}/", "generating", "confirmed"),
        ("/callbacks/kie/the-token-of-another-attempt", "unknown", "refuted"),
        (f"/callbacks/kie/{TOKEN}-and-more", "unknown", "refuted"),
        ("/", "unknown", "refuted"),
    ],
)
async def test_only_a_record_made_with_the_attempts_own_url_is_believed(
    rooms: Rooms, path: str, state: str, verdict: str
) -> None:
    job, inbox_id = await unknown_job_called_back(rooms)
    rooms.kie.callback_urls[TASK] = f"https://darkroom.example{path}"
    await CallbackDesk(rooms.deps, rooms.database).handle(inbox_id)
    after = await rooms.now_is(job)
    assert (after.state, after.provider_task_id) == (
        state,
        TASK if state == "generating" else None,
    )
    assert await verdicts(rooms) == [verdict]


async def test_once_the_job_has_ended_a_record_without_a_url_is_asked_for_only_once(
    rooms: Rooms,
) -> None:
    job, inbox_id = await unknown_job_called_back(rooms)
    await rooms.deps.store.lose_submission(job.id, job.attempt, events.SubmissionLost("too late"))
    await CallbackDesk(rooms.deps, rooms.database).handle(inbox_id)
    assert await verdicts(rooms) == ["late"]


async def test_what_could_not_be_judged_within_an_hour_is_not_asked_about_for_ever(
    rooms: Rooms,
) -> None:
    await unknown_job_called_back(rooms)
    await rooms.sql("UPDATE callback_inbox SET received_at = now() - interval '61 minutes'")
    await CallbackDesk(rooms.deps, rooms.database).sweep()
    assert rooms.kie.poll_calls == []
    assert await verdicts(rooms) == [None]
