"""`darkroom jobs resolve`, and the commands that `jobs show` suggests for it."""

from __future__ import annotations

import getpass
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from producer import Job
from producer.cli.command_tree import build_app
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import Deployment, eventually, text_to_image

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def setup(deployment: Deployment) -> DatabaseSetup:
    """The worker's side of the same database."""
    return DatabaseSetup(deployment.database)


async def unknown_job(setup: DatabaseSetup, **options: Any) -> Job:
    return await setup.job_in(JobState.UNKNOWN, **options)


async def test_the_list_and_the_page_of_an_unknown_job_say_what_to_type(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    job = await unknown_job(setup)
    listed, shown, told = await darkroom.run_all(
        ("jobs", "list", "--state", "unknown"),
        ("jobs", "show", str(job.id)),
        ("jobs", "show", str(job.id), "--json"),
    )
    assert "1 submission of unknown outcome" in listed.err
    assert f"jobs show {job.id}" in listed.err
    assert f"jobs resolve {job.id} --submitted TASK_ID" in shown.err
    assert f"jobs resolve {job.id} --lost --reason TEXT" in shown.err
    assert told.err == ""
    assert told.object["state"] == "unknown"


async def test_other_jobs_bring_no_advice(darkroom: Darkroom, setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.GENERATING)
    for said in await darkroom.run_all(("jobs", "list"), ("jobs", "show", str(job.id))):
        assert "resolve" not in said.err
        assert "unknown" not in said.err


async def test_a_lost_submission_is_ended_with_who_and_why(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    job = await unknown_job(setup)
    resolve = ("jobs", "resolve", str(job.id), "--lost", "--reason", "not in Kie's log")
    said = await darkroom.run(*resolve)
    assert said.code == 0, said.err
    assert said.lines == [f"{job.id} failed as lost, 6 credits released"]
    assert said.err.rstrip().endswith(f"jobs retry {job.id}")
    again, told = await darkroom.run_all(resolve, ("jobs", "show", str(job.id), "--json"))
    assert again.code == 1
    assert f"job {job.id} is failed: only an unknown submission can be resolved" in again.err
    assert again.err.splitlines()[-1].endswith("jobs resolve --help")
    last = told.object["events"][-1]
    assert last["event"] == "resolved_by_operator"
    assert (last["detail"]["by"], last["detail"]["reason"]) == (
        getpass.getuser(),
        "not in Kie's log",
    )
    assert await setup.broken_invariants() == {}


async def test_a_recovered_submission_is_polled_and_charged_once(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    job = await deployment.enqueue(text_to_image("[[sim: lost_reply=1]]"))
    async with deployment.worker():
        await deployment.in_state(job, "unknown")
        (task_id,) = deployment.simulator.record.tasks
        said = await darkroom.run("jobs", "resolve", str(job.id), "--submitted", task_id, "--json")
        assert said.code == 0, said.err
        assert (said.object["state"], said.object["provider_task_id"]) == ("generating", task_id)
        ended = await deployment.ended(job)
    assert (ended.state, ended.credits_charged) == (JobState.SUCCEEDED, 6)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_a_task_that_never_was_is_given_up_at_the_deadline_and_charges_nothing(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    job = await unknown_job(setup)
    with_deadline = darkroom.elsewhere(JOB_DEADLINE_SECONDS="60")
    said = await with_deadline.run("jobs", "resolve", str(job.id), "--submitted", "task-9")
    assert said.lines == [f"{job.id} generating as task task-9"]
    assert f"jobs wait {job.id}" in said.err.splitlines()[-1]
    resolved = await setup.store.load(job.id)
    assert resolved.deadline_at is not None
    assert resolved.submitted_at is not None
    assert (resolved.deadline_at - resolved.submitted_at).total_seconds() == 60
    assert await setup.money() == (10_000, 6)


async def test_what_cannot_be_resolved_leaves_with_its_code(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    holder = await setup.job_in(JobState.GENERATING)
    job = await unknown_job(setup)
    nobody, taken, known = await darkroom.run_all(
        ("jobs", "resolve", NOBODY, "--lost", "--reason", "x"),
        ("jobs", "resolve", str(job.id), "--submitted", str(holder.provider_task_id)),
        ("jobs", "resolve", str(holder.id), "--submitted", "task-9"),
    )
    assert (nobody.code, taken.code, known.code) == (3, 1, 1)
    assert all(one.out == "" for one in (nobody, taken, known))
    assert f"belongs to job {holder.id} already" in taken.err
    assert f"job {holder.id} is generating" in known.err


async def test_a_success_that_cannot_be_read_is_settled_by_hand(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    jobs = [
        await deployment.enqueue(text_to_image(f"[[sim: response_form=broken]] {number}"))
        for number in range(2)
    ]
    async with deployment.worker():
        for job in jobs:
            await eventually(partial(_is_held, deployment, job), "it is held", 60)
    first, second = (str(job.id) for job in jobs)
    shown, listed = await darkroom.run_all(("jobs", "show", first), ("jobs", "list"))
    assert f"jobs resolve {first} --delivered URL" in shown.err
    assert "successFlag" in shown.out
    assert "2 jobs whose success cannot be read" in listed.err
    delivered, undelivered = await darkroom.run_all(
        ("jobs", "resolve", first, "--delivered", "https://a.example/1.png", "--reason", "seen"),
        ("jobs", "resolve", second, "--undelivered", "--reason", "none there"),
    )
    assert delivered.lines == [f"{first} succeeded with 1 image, 6 charged"]
    assert undelivered.lines == [f"{second} failed as undelivered, 6 credits released"]
    await deployment.check_invariants_hold()
    again = await darkroom.run("jobs", "resolve", first, "--undelivered", "--reason", "x")
    assert again.code == 1
    assert f"job {first} is succeeded" in again.err


async def test_a_late_task_in_doubt_is_settled_by_hand(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    first, second = [await setup.job_in(JobState.FAILED) for _ in range(2)]
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, in_doubt_since, answer)"
        " SELECT id, attempt, 'task-' || number, now(), 'no images in {\"x\": 1}'"
        "  FROM jobs, generate_series(1, 2) AS number WHERE id = ANY($1::uuid[])"
        "   AND (id = $2 OR number = 1)",
        [first.id, second.id],
        second.id,
    )
    url = ("--delivered", "https://a.example/1.png", "--reason", "seen")
    one, two, unsure, doctor = await darkroom.run_all(
        ("jobs", "show", str(first.id)),
        ("jobs", "show", str(second.id)),
        ("jobs", "resolve", str(second.id), *url),
        ("doctor",),
    )
    assert 'no images in {"x": 1}' in one.err
    assert f"jobs resolve {first.id} --delivered URL --reason TEXT" in one.err
    assert f"jobs resolve {second.id} --task task-2 --undelivered --reason TEXT" in two.err
    assert (unsure.code, unsure.out) == (1, "")
    assert "late tasks in doubt" in doctor.out
    kept, dismissed = await darkroom.run_all(
        ("jobs", "resolve", str(first.id), *url),
        ("jobs", "resolve", str(second.id), "--task", "task-2", "--undelivered", "--reason", "no"),
    )
    assert kept.lines == [f"{first.id} stays failed and has 1 late image, nothing charged"]
    assert dismissed.lines == [f"{second.id} stays failed; its late task is not checked any more"]
    shown = await darkroom.run("jobs", "show", str(first.id))
    assert "late image 1" in shown.out
    assert "https://a.example/1.png" in shown.out


async def _is_held(deployment: Deployment, job: Job) -> bool:
    return (await deployment.producer.get(job.id)).reason == "result_unreadable"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--undelivered",),
        ("--lost", "--reason", "x", "--task", "task-9"),
        ("--delivered", "https://a.example/1.png"),
        ("--undelivered", "--lost", "--reason", "x"),
        ("--delivered", "https://a.example/1.png", "--undelivered", "--reason", "x"),
        ("--lost",),
        ("--lost", "--reason", "  "),
        ("--submitted", "task-9", "--lost", "--reason", "x"),
        ("--reason", "x"),
    ],
    ids=" ".join,
)
def test_a_resolution_is_exactly_one_and_has_a_reason(
    words: tuple[str, ...],
) -> None:
    result = CliRunner().invoke(build_app(), ["jobs", "resolve", NOBODY, *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr
