"""`darkroom jobs resolve`: an operator's verdict on what Kie's answers leave open.

That is a submission of unknown outcome, a success whose images could not be read, or a late task
that is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from producer.cli.command_actor import operator
from producer.cli.command_runner import Desk, run_at_desk
from producer.cli.display.console import put, put_json, say
from producer.cli.display.text_format import (
    command_text,
    count_text,
    credits_text,
    printable,
    shortened,
)
from producer.cli.options import AsJson, JobId, read_reason
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.job_json import job_to_json

ANSWER_LENGTH = 2_000
"""How much of Kie's answer is shown; `--json` has all of it."""


def _read_reason(text: str | None) -> str | None:
    return read_reason(text) if text is not None else None


_Submitted = Annotated[
    str | None,
    typer.Option("--submitted", metavar="TASK_ID", help="Kie made this task of it: poll it."),
]
_Lost = Annotated[
    bool, typer.Option("--lost", help="Kie made no task: fail it, release its credits.")
]
_Delivered = Annotated[
    list[str] | None,
    typer.Option(
        "--delivered",
        metavar="URL",
        help="Of a held success: Kie made this image; once for each. Charged as a success."
        " Of a late task in doubt: kept on the job, free of charge.",
    ),
]
_Undelivered = Annotated[
    bool,
    typer.Option(
        "--undelivered",
        help="Of a held success: no images; fail it, release its credits. Of a late task in doubt:"
        " none of this job's.",
    ),
]
_Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK_ID",
        help="With --delivered and --undelivered: which late task is meant, where several are in"
        " doubt.",
    ),
]
_Reason = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        callback=_read_reason,
        help="Why; needed with all but --submitted.",
    ),
]


def resolve(
    job_id: JobId,
    submitted: _Submitted = None,
    lost: _Lost = False,
    delivered: _Delivered = None,
    undelivered: _Undelivered = False,
    task_id: _Task = None,
    reason: _Reason = None,
    as_json: AsJson = False,
) -> None:
    """End a doubt: what became of an unknown submission, or of a success that cannot be read."""
    verdict = _checked(submitted, lost, tuple(delivered or ()), undelivered, reason)
    if task_id is not None and not verdict.is_held:
        raise typer.BadParameter("--task goes with --delivered or --undelivered")

    async def step(desk: Desk) -> None:
        before = await desk.producer.get(job_id)
        job = await _resolve(desk, job_id, verdict, reason, task_id)
        if as_json:
            put_json(job_to_json(job))
        elif before.is_terminal:
            _tell_late(job, verdict)
        else:
            _tell(job, verdict)

    run_at_desk(step)


def _checked(
    submitted: str | None, lost: bool, urls: tuple[str, ...], undelivered: bool, reason: str | None
) -> _Verdict:
    if sum((submitted is not None, lost, bool(urls), undelivered)) != 1:
        raise typer.BadParameter(
            "say exactly one of --submitted TASK_ID and --lost, of an unknown submission, or of"
            " --delivered URL and --undelivered, of a success that cannot be read"
        )
    if submitted is None and reason is None:
        option = "--lost" if lost else "--undelivered" if undelivered else "--delivered"
        raise typer.BadParameter(f"{option} needs --reason TEXT: it is kept in the books")
    return _Verdict(submitted, urls, is_held=undelivered or bool(urls))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Which of the four was said."""

    task_id: str | None
    result_urls: tuple[str, ...]
    is_held: bool
    """Whether it is about a success that cannot be read."""


def _tell_late(job: Job, verdict: _Verdict) -> None:
    if verdict.result_urls:
        images = count_text(len(verdict.result_urls), "late image")
        put(f"{job.id} stays {job.state} and has {images}, nothing charged")
    else:
        put(f"{job.id} stays {job.state}; its late task is not checked any more")


def _tell(job: Job, verdict: _Verdict) -> None:
    if job.state is JobState.SUCCEEDED:
        images = count_text(len(job.result_urls), "image")
        put(f"{job.id} succeeded with {images}, {credits_text(job.credits_charged)} charged")
        return
    if job.state is JobState.FAILED:
        how = "undelivered" if verdict.is_held else "lost"
        put(f"{job.id} failed as {how}, {credits_text(job.credits_quoted)} credits released")
        say(f"to run the same request again: {command_text('jobs', 'retry', str(job.id))}")
        return
    put(f"{job.id} generating as task {printable(job.provider_task_id or '')}")
    say("a worker asks Kie about it now, and charges only if Kie says that it succeeded")
    say(f"next: {command_text('jobs', 'wait', str(job.id))}")


async def _resolve(
    desk: Desk, job_id: str, verdict: _Verdict, reason: str | None, late_task_id: str | None
) -> Job:
    actor, producer = operator(), desk.producer
    if verdict.result_urls:
        return await producer.resolve_delivered(
            job_id,
            verdict.result_urls,
            reason or "",
            actor=actor,
            charge_basis=desk.settings.charge_basis,
            task_id=late_task_id,
        )
    if verdict.is_held:
        return await producer.resolve_undelivered(
            job_id, reason or "", actor=actor, task_id=late_task_id
        )
    if verdict.task_id is None:
        return await producer.resolve_lost(job_id, reason or "", actor=actor)
    return await producer.resolve_submitted(
        job_id,
        verdict.task_id,
        reason,
        actor=actor,
        deadline_seconds=desk.settings.job_deadline_seconds,
    )


def advice_for(job: Job) -> list[str]:
    """Return what an operator may type about a job that is in doubt; nothing about others."""
    if job.state is JobState.GENERATING and job.reason == Reason.RESULT_UNREADABLE:
        job_id = str(job.id)
        return [
            "Kie reports success, but not which images; its answer is above. Then type one of",
            f"  {command_text('jobs', 'resolve', job_id, '--delivered')} URL --reason TEXT",
            f"  {command_text('jobs', 'resolve', job_id, '--undelivered', '--reason')} TEXT",
            "or leave it: it is asked about every five minutes, and settled if it can be read",
        ]
    if job.state is not JobState.UNKNOWN:
        return []
    job_id = str(job.id)
    return [
        "a paid task may exist: look for it in Kie's log at the time of the POST, then type one of",
        f"  {command_text('jobs', 'resolve', job_id, '--submitted')} TASK_ID",
        f"  {command_text('jobs', 'resolve', job_id, '--lost', '--reason')} TEXT",
        "or leave it: without evidence it ends by itself, and its credits are released",
    ]


def advice_for_late(job: Job, late_tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what an operator may type about the late tasks of a job that are in doubt."""
    in_doubt = [late for late in late_tasks if late["in_doubt_since"] is not None]
    lines = []
    for late in in_doubt:
        task_id = printable(late["provider_task_id"])
        words = ("jobs", "resolve", str(job.id), *(("--task", task_id) if in_doubt[1:] else ()))
        answer = shortened(late["answer"] or "", ANSWER_LENGTH)
        lines += [
            f"task {task_id} came late and is in doubt; Kie said: {answer}",
            f"  {command_text(*words, '--delivered')} URL --reason TEXT",
            f"  {command_text(*words, '--undelivered', '--reason')} TEXT",
        ]
    return lines


def advice_for_many(jobs: Sequence[Job]) -> list[str]:
    """Return what an operator may type about those of the jobs whose outcome is unknown."""
    unknown = [job for job in jobs if job.state is JobState.UNKNOWN]
    held = [
        job
        for job in jobs
        if job.state is JobState.GENERATING and job.reason == Reason.RESULT_UNREADABLE
    ]
    return [
        f"{count_text(len(found), noun)} {what}; what to do about each:"
        f" {command_text('jobs', 'show', str(found[0].id))}"
        for found, noun, what in (
            (unknown, "submission", "of unknown outcome"),
            (held, "job", "whose success cannot be read"),
        )
        if found
    ]
