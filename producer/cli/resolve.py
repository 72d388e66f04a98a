"""`darkroom jobs resolve`: an operator's verdict on a submission of unknown outcome."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from typing import Annotated

import typer

from producer.cli.options import AsJson, JobId, read_reason
from producer.cli.running import Desk, run_at_desk
from producer.cli.screen import put, put_json, say
from producer.cli.wording import command_text, count_text, credits_text, printable
from shared.adapters.job_rows import job_to_json
from shared.domain.job import Job
from shared.domain.lifecycle import JobState


def _read_reason(text: str | None) -> str | None:
    return read_reason(text) if text is not None else None


def resolve(
    job_id: JobId,
    submitted: Annotated[
        str | None,
        typer.Option("--submitted", metavar="TASK_ID", help="Kie made this task of it: poll it."),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Kie made no task: fail it, release its credits.")
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", metavar="TEXT", callback=_read_reason, help="Why; needed with --lost."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """End the doubt about an unknown submission: say which task it became, or that it is lost."""
    if (submitted is None) == (not lost):
        raise typer.BadParameter("say exactly one of --submitted TASK_ID and --lost")
    if lost and reason is None:
        raise typer.BadParameter("--lost needs --reason TEXT: it is kept in the books")

    async def step(desk: Desk) -> None:
        job = await _resolve(desk, job_id, submitted, reason)
        if as_json:
            put_json(job_to_json(job))
            return
        if job.state is JobState.FAILED:
            put(f"{job.id} failed as lost, {credits_text(job.credits_quoted)} credits released")
            say(f"to run the same request again: {command_text('jobs', 'retry', str(job.id))}")
            return
        put(f"{job.id} generating as task {printable(job.provider_task_id or '')}")
        say("a worker asks Kie about it now, and charges only if Kie says that it succeeded")
        say(f"next: {command_text('jobs', 'wait', str(job.id))}")

    run_at_desk(step)


async def _resolve(desk: Desk, job_id: str, task_id: str | None, reason: str | None) -> Job:
    actor = _who()
    if task_id is None:
        return await desk.producer.resolve_lost(job_id, reason or "", actor=actor)
    return await desk.producer.resolve_submitted(
        job_id,
        task_id,
        reason,
        actor=actor,
        deadline_seconds=desk.settings.job_deadline_seconds,
    )


def advice_for(job: Job) -> list[str]:
    """Return what an operator may type about a job; nothing unless its outcome is unknown."""
    if job.state is not JobState.UNKNOWN:
        return []
    job_id = str(job.id)
    return [
        "a paid task may exist: look for it in Kie's log at the time of the POST, then type one of",
        f"  {command_text('jobs', 'resolve', job_id, '--submitted')} TASK_ID",
        f"  {command_text('jobs', 'resolve', job_id, '--lost', '--reason')} TEXT",
        "or leave it: without evidence it ends by itself, and its credits are released",
    ]


def advice_for_many(jobs: Sequence[Job]) -> list[str]:
    """Return what an operator may type about those of the jobs whose outcome is unknown."""
    unknown = [job for job in jobs if job.state is JobState.UNKNOWN]
    if not unknown:
        return []
    count = count_text(len(unknown), "submission")
    show = command_text("jobs", "show", str(unknown[0].id))
    return [f"{count} of unknown outcome; what to do about each: {show}"]


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"
