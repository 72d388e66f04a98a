"""Jobs that wait, are late or cannot be read: what every output says about them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis

from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.faults.fault_setup import Fault, FaultSetup, open_fault_setup, play
from tests.support.deployment import Deployment, eventually, text_to_image

_IMAGES = Path(gettempdir()) / f"darkroom-images-{uuid4().hex}"
_CHECK_NOW = "UPDATE late_tasks SET next_check_at = now() WHERE outcome IS NULL"
_LET_AN_HOUR_PASS = "UPDATE late_tasks SET ended_at = ended_at - interval '1 hour'"
_LET_SIX_MINUTES_PASS = (
    "WITH days AS (UPDATE accounts SET day_started_at = day_started_at - interval '6 min')"
    " UPDATE jobs SET run_at = run_at - interval '6 min',"
    " created_at = created_at - interval '6 min' WHERE state = 'queued'"
)


@asynccontextmanager
async def _backlog(setup: FaultSetup) -> AsyncIterator[None]:
    """Enqueue more jobs than the limit allows, and make them wait for six minutes."""
    await setup.enqueue(12)

    async def are_submitted() -> bool:
        return bool(await setup.sql("SELECT FROM jobs WHERE submitted_at IS NOT NULL"))

    await eventually(are_submitted, "the first are submitted")
    await setup.sql(_LET_SIX_MINUTES_PASS)
    yield
    await _cancel_what_waits(setup)


@asynccontextmanager
async def _job_nobody_can_read(setup: FaultSetup) -> AsyncIterator[None]:
    """Overwrite the request of a job: no worker can submit it, and each hands it back."""
    await setup.enqueue(1, run_at=await _in_two_seconds(setup))
    await setup.sql(
        "WITH days AS (UPDATE accounts SET day_started_at = day_started_at - interval '20 s')"
        " UPDATE jobs SET request = '[]', created_at = created_at - interval '20 s',"
        " run_at = run_at - interval '20 s' WHERE state = 'queued'"
    )
    yield
    await _cancel_what_waits(setup)


async def _in_two_seconds(setup: FaultSetup) -> object:
    (row,) = await setup.sql("SELECT now() + interval '2 s' AS at")
    return row["at"]


async def _cancel_what_waits(setup: FaultSetup) -> None:
    for row in await setup.sql("SELECT id FROM jobs WHERE state = 'queued'"):
        await setup.deployment.producer.cancel(row["id"])


@asynccontextmanager
async def _images_after_the_deadline(setup: FaultSetup) -> AsyncIterator[None]:
    job = await setup.deployment.enqueue(text_to_image("[[sim: duration=3]]"))
    ended = await setup.deployment.ended(job)
    assert ended.reason == "deadline_exceeded"

    async def have_come() -> bool:
        await setup.sql(_CHECK_NOW)
        return bool(await setup.sql("SELECT FROM late_tasks WHERE outcome = 'delivered'"))

    await eventually(have_come, "the images have come")
    yield
    await setup.sql("ALTER TABLE late_tasks DISABLE TRIGGER late_tasks_deliver_for_good")
    await setup.sql(_LET_AN_HOUR_PASS)


@asynccontextmanager
async def _late_and_unreadable(setup: FaultSetup) -> AsyncIterator[None]:
    setup.deployment.simulator.set_faults(response_form="broken")
    job = await setup.deployment.enqueue(text_to_image("[[sim: duration=3]]"))
    assert (await setup.deployment.ended(job)).reason == "deadline_exceeded"

    async def is_in_doubt() -> bool:
        await setup.sql(_CHECK_NOW)
        return bool(await setup.sql("SELECT FROM late_tasks WHERE in_doubt_since IS NOT NULL"))

    await eventually(is_in_doubt, "the late task is in doubt")
    yield
    await _settle(setup, job.id)


@asynccontextmanager
async def _unreadable_success(setup: FaultSetup) -> AsyncIterator[None]:
    setup.deployment.simulator.set_faults(response_form="broken")
    job = await setup.deployment.enqueue(text_to_image(quantity=2))
    yield
    await _settle(setup, job.id)


async def _settle(setup: FaultSetup, job_id: UUID) -> None:
    """Settle the job by hand, as the alert says."""
    said = await setup.darkroom.run(
        *("jobs", "resolve", str(job_id), "--undelivered", "--reason", "not in Kie's log")
    )
    assert said.code == 0, said.err


@asynccontextmanager
async def _paused_queue(setup: FaultSetup) -> AsyncIterator[None]:
    """Pause everything for a person's reason, with jobs that have waited for minutes."""
    paused = await setup.darkroom.run(
        *("queue", "pause", "--everything", "--reason", "Kie bills twice")
    )
    assert paused.code == 0, paused.err
    await setup.enqueue(3)
    await setup.sql(_LET_SIX_MINUTES_PASS)
    yield
    names = {one["name"] for one in await setup.alerts("worker") or []}
    # A paused queue is not reported as stuck.
    assert names == {"paused_by_operator"}
    resumed = await setup.darkroom.run("queue", "resume", "--everything")
    assert resumed.code == 0, resumed.err

    async def have_ended() -> bool:
        return not await setup.sql("SELECT FROM jobs WHERE finished_at IS NULL")

    await eventually(have_ended, "the paused jobs have ended")


@asynccontextmanager
async def _unfit_jobs(setup: FaultSetup) -> AsyncIterator[None]:
    """Send a model by a family that cannot carry two of its jobs."""
    at = await _in_two_seconds(setup)
    for request in (text_to_image(quantity=2), text_to_image(quantity=4)):
        await setup.deployment.enqueue(request, run_at=at)
    words = ("models", "route", "gpt-4o-image", "--yes", "--reason", "the endpoint is gone")
    moved = await setup.darkroom.run(*words, "--via", "4o-image-api")
    assert moved.code == 0, moved.err
    yield
    back = await setup.darkroom.run(*words, "--direct")
    assert back.code == 0, back.err

    async def have_ended() -> bool:
        return not await setup.sql("SELECT FROM jobs WHERE finished_at IS NULL")

    await eventually(have_ended, "the jobs have ended")


@asynccontextmanager
async def _images_that_cannot_be_copied(setup: FaultSetup) -> AsyncIterator[None]:
    """Let no image be downloaded for three minutes."""
    setup.deployment.simulator.set_faults(image_error_rate=1.0)
    await setup.enqueue(2)

    async def were_tried() -> bool:
        tried = await setup.sql("SELECT FROM job_images WHERE last_error IS NOT NULL")
        return len(tried) == 2

    await eventually(were_tried, "both copies were tried")
    await setup.sql("UPDATE job_images SET created_at = created_at - interval '3 min'")
    yield
    setup.deployment.simulator.set_faults(image_error_rate=0.0)

    async def are_stored() -> bool:
        await setup.sql("UPDATE job_images SET next_try_at = now() WHERE state = 'waiting'")
        return not await setup.sql("SELECT FROM job_images WHERE state = 'waiting'")

    await eventually(are_stored, "both are stored")
    shutil.rmtree(_IMAGES)


FAULTS = [
    Fault(
        "images that cannot be copied",
        "images_not_stored",
        _images_that_cannot_be_copied,
        "2 images have waited long for a copy; the last error: the link answered HTTP",
        "fix the store of RESULTS_URL",
        changes={"results_url": f"file://{_IMAGES}", "results_deadline_seconds": 0.0},
    ),
    Fault(
        "jobs that the route of their model cannot carry",
        "route_unfit",
        _unfit_jobs,
        "2 jobs of gpt-4o-image wait: the model is sent by 4o-image-api, which cannot carry them",
        "darkroom jobs cancel --where model=gpt-4o-image --where reason=route_unfit",
    ),
    Fault(
        "a pause that a person has set",
        "paused_by_operator",
        _paused_queue,
        "submits of everything are paused by",
        "darkroom queue resume",
    ),
    Fault(
        "a backlog of minutes",
        "jobs_wait",
        _backlog,
        "jobs are due, and the oldest has waited for 3",
        "the backlog exceeds Kie's limit",
        changes={"kie_submits_per_10_seconds": 2},
    ),
    Fault(
        "a job that no worker can read",
        "nothing_is_submitted",
        _job_nobody_can_read,
        "due and workers are alive, but none was submitted",
        "look at the log of the workers",
    ),
    Fault(
        "images come after the deadline",
        "images_come_late",
        _images_after_the_deadline,
        "1 task delivered after the end of the job within the last hour; Kie charged",
        "raise JOB_DEADLINE_SECONDS",
        changes={"job_deadline_seconds": 1.0},
    ),
    Fault(
        "a late success that cannot be read",
        "late_tasks_in_doubt",
        _late_and_unreadable,
        "1 task succeeded after the end of the job, and which images Kie",
        "see `darkroom jobs show",
        changes={"job_deadline_seconds": 1.0},
    ),
    Fault(
        "a success that cannot be read",
        "results_unreadable",
        _unreadable_success,
        "1 task succeeded, but the images cannot be read for certain",
        "darkroom jobs resolve ID",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_output_reports_the_fault_and_clears_afterwards(
    deployment: Deployment, darkroom: Darkroom, redis: ArqRedis, fault: Fault
) -> None:
    async with open_fault_setup(deployment, darkroom, redis, **fault.changes) as setup:
        await play(setup, fault)
