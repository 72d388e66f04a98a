"""Many jobs on the command line: dry run, confirmation, refusals one by one, exit codes."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest

from producer import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import Deployment

ROOT = Path(__file__).parents[3]
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def setup(deployment: Deployment) -> DatabaseSetup:
    """The worker's side of the same database."""
    return DatabaseSetup(deployment.database)


async def test_all_that_match_are_retried_after_a_dry_run_and_a_yes(
    darkroom: Darkroom, deployment: Deployment, setup: DatabaseSetup
) -> None:
    await deployment.open_account("poor", 7)
    jobs = [await setup.job_in(JobState.FAILED) for _ in range(2)]
    poor = [await setup.job_in(JobState.FAILED, account_id="poor") for _ in range(2)]
    retry = (
        "jobs",
        "retry",
        "--where",
        "state=failed",
        "--where",
        "created_from=2000-01-01T00:00Z",
    )
    dry = await darkroom.run(*retry, "--dry-run")
    assert dry.code == 0
    assert "to retry 4 jobs would hold 24 credits: 12 of acme, 12 of poor, which lacks 5" in dry.err
    assert [line.split() for line in dry.lines[1:]] == [
        ["acme", "2", "12", "10000", "0"],
        ["poor", "2", "12", "7", "5"],
    ]
    unsure = await darkroom.run(*retry)
    assert (unsure.code, unsure.out) == (1, "")
    assert "--yes" in unsure.err
    assert await setup.value("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL") == 0

    done = await darkroom.run(*retry, "--yes")
    assert done.code == 1
    assert "3 jobs retried; 18 credits held" in done.err
    assert "1 job refused:" in done.err
    assert "account 'poor' needs 6 credits but has 1 available" in done.err
    made = await setup.sql("SELECT id::text, retry_of FROM jobs WHERE retry_of IS NOT NULL")
    assert sorted(done.lines) == sorted(row["id"] for row in made)
    assert {row["retry_of"] for row in made} > {job.id for job in jobs}
    assert {row["retry_of"] for row in made} < {job.id for job in (*jobs, *poor)}
    assert await setup.broken_invariants() == {}


async def test_given_jobs_are_cancelled_and_each_refusal_is_reported(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    queued = [await setup.enqueue() for _ in range(2)]
    running = await setup.job_in(JobState.GENERATING)
    ended = await setup.job_in(JobState.SUCCEEDED)
    ids = [str(job.id) for job in (*queued, running, ended)]
    asked = await darkroom.run("jobs", "cancel", *ids, NOBODY, "--dry-run")
    assert "would release 12 credits" in asked.err
    assert "1 job at Kie would not be waited for any more" in asked.err
    said = await darkroom.run("jobs", "cancel", *ids, NOBODY, "--yes")
    assert said.code == 1
    assert sorted(said.lines) == sorted(ids[:3])
    assert "2 jobs cancelled, requested of 1 job at Kie; 12 credits released" in said.err
    assert f"{ended.id}  job {ended.id} is succeeded" in said.err
    assert f"no job has the id {NOBODY!r}" in said.err
    again = await darkroom.run("jobs", "cancel", *ids[:2], "--yes", "--json")
    assert again.code == 0
    assert [one["is_new"] for one in again.object["done"]] == [False, False]


async def test_the_cap_says_what_is_left_and_which_command_goes_on(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    cancel = ("jobs", "cancel", "--where", "account_id=acme", "--limit", "2")
    first = await darkroom.run(*cancel, "--yes")
    assert first.code == 0
    assert "to cancel" not in first.err
    assert "1 job left; the next ones: " in first.err
    assert f"--where account_id=acme --below {jobs[1].id}" in first.err
    rest = await darkroom.run(*cancel, "--below", str(jobs[1].id), "--yes", "--json")
    assert [one["id"] for one in rest.object["done"]] == [str(jobs[0].id)]
    none = await darkroom.run(*cancel)
    assert (none.code, none.out) == (0, "")
    assert "there is no job to cancel" in none.err


async def answer(darkroom: Darkroom, words: tuple[str, ...], typed: str) -> tuple[int, str]:
    """Run a command whose input is a terminal on which this is typed."""
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", *words),
        env=darkroom.environ,
        cwd=ROOT,
        stdin=slave,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    os.close(slave)
    os.write(master, typed.encode())
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    os.close(master)
    return process.returncode or 0, said.decode()


async def test_on_a_terminal_the_command_asks_and_a_no_changes_nothing(
    darkroom: Darkroom, setup: DatabaseSetup
) -> None:
    jobs = [await setup.enqueue() for _ in range(2)]
    cancel = ("jobs", "cancel", *(str(job.id) for job in jobs))
    code, said = await answer(darkroom, cancel, "n\n")
    assert code == 1
    assert "to cancel 2 jobs would release 12 credits: 12 of acme. Is this intended?" in said
    assert {(await setup.store.load(job.id)).state for job in jobs} == {JobState.QUEUED}
    code, said = await answer(darkroom, cancel, "y\n")
    assert (code, "2 jobs cancelled; 12 credits released" in said) == (0, True)
    assert {(await setup.store.load(job.id)).state for job in jobs} == {JobState.CANCELLED}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("cancel",), 2, "say either ID..., or --where"),
        (("retry", NOBODY, "--where", "state=failed"), 2, "say either ID..., or --where"),
        (("cancel", NOBODY, NOBODY, "--below", NOBODY), 2, "--below goes with --where"),
        (("retry", NOBODY, NOBODY[:-1] + "1", "--wait"), 2, "--wait goes with one ID"),
        (("cancel", "12"), 3, "no job has the id '12'"),
        (("cancel", "--where", "state"), 1, "must be FILTER=VALUE"),
        (("cancel", "--where", "staet=queued"), 1, "staet: is no filter"),
        (("cancel", "--where", "task=a", "--where", "task=b"), 1, "given more than once"),
        (("cancel", "--where", "state=failed"), 1, "only an open job can be cancelled"),
        (("retry", "--where", "state=succeeded"), 1, "a success is retried only with again"),
    ],
)
async def test_what_could_mean_other_jobs_is_refused(
    darkroom: Darkroom, words: tuple[str, ...], code: int, sentence: str
) -> None:
    said = await darkroom.run("jobs", *words)
    assert (said.code, said.out) == (code, "")
    assert sentence in " ".join(said.err.split())
