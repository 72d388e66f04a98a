"""`darkroom jobs resolve`: resolve a job that Kie's answers leave in doubt.

The doubt is about a submission of unknown outcome, a success whose images could not be read, or a
late task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.text_format import command_text, credits_text, printable, shortened
from producer.cli.options import AsJson, JobId, parse_reason
from shared.domain.counted import counted
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.job_json import job_to_json

_Kind = Literal["submitted", "lost", "delivered", "undelivered"]

ANSWER_LENGTH = 2_000
"""The most characters of Kie's answer that are printed. `--json` prints all of it."""


def _read_reason(text: str | None) -> str | None:
    return parse_reason(text) if text is not None else None


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
        help="With --delivered and --undelivered: the late task, if several are in doubt.",
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
    resolution = _parse_resolution(submitted, lost, tuple(delivered or ()), undelivered, reason)
    if task_id is not None and not resolution.is_held:
        raise typer.BadParameter("--task goes with --delivered or --undelivered")

    async def step(context: CommandContext) -> None:
        before = await context.producer.get(job_id)
        job = await _resolve(context, job_id, resolution, reason, task_id)
        if as_json:
            print_json(job_to_json(job))
        elif before.is_terminal:
            _print_late_result(job, resolution)
        else:
            _print_result(job, resolution)

    run_connected(step)


def _parse_resolution(
    submitted: str | None, lost: bool, urls: tuple[str, ...], undelivered: bool, reason: str | None
) -> _Resolution:
    if sum((submitted is not None, lost, bool(urls), undelivered)) != 1:
        raise typer.BadParameter(
            "say exactly one of --submitted TASK_ID and --lost, of an unknown submission, or of"
            " --delivered URL and --undelivered, of a success that cannot be read"
        )
    if submitted is None and reason is None:
        option = "--lost" if lost else "--undelivered" if undelivered else "--delivered"
        raise typer.BadParameter(f"{option} needs --reason TEXT: it is recorded with the change")
    kind: _Kind = (
        "submitted"
        if submitted is not None
        else "lost"
        if lost
        else "undelivered"
        if undelivered
        else "delivered"
    )
    return _Resolution(kind, submitted, urls)


@dataclass(frozen=True, slots=True)
class _Resolution:
    """Which of the four options was given, with its value."""

    kind: _Kind
    task_id: str | None
    result_urls: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        """Whether it resolves a success that cannot be read, or a late task."""
        return self.kind in {"delivered", "undelivered"}


def _print_late_result(job: Job, resolution: _Resolution) -> None:
    if resolution.result_urls:
        images = counted(len(resolution.result_urls), "late image")
        print_data(f"{job.id} stays {job.state} and has {images}, nothing charged")
    else:
        print_data(f"{job.id} stays {job.state}; its late task is not checked any more")


def _print_result(job: Job, resolution: _Resolution) -> None:
    if job.state is JobState.SUCCEEDED:
        images = counted(len(job.result_urls), "image")
        print_data(f"{job.id} succeeded with {images}, {credits_text(job.credits_charged)} charged")
        return
    if job.state is JobState.FAILED:
        released = credits_text(job.credits_quoted)
        print_data(f"{job.id} failed as {resolution.kind}, {released} credits released")
        print_message(
            f"to run the same request again: {command_text('jobs', 'retry', str(job.id))}"
        )
        return
    print_data(f"{job.id} generating as task {printable(job.provider_task_id or '')}")
    print_message("a worker asks Kie about it now, and charges only if Kie says that it succeeded")
    print_message(f"next: {command_text('jobs', 'wait', str(job.id))}")


async def _resolve(
    context: CommandContext,
    job_id: str,
    resolution: _Resolution,
    reason: str | None,
    late_task_id: str | None,
) -> Job:
    actor, producer = command_actor(), context.producer
    match resolution.kind:
        case "submitted":
            return await producer.resolve_submitted(
                job_id,
                resolution.task_id or "",
                reason,
                actor=actor,
                deadline_seconds=context.settings.job_deadline_seconds,
            )
        case "lost":
            return await producer.resolve_lost(job_id, reason or "", actor=actor)
        case "delivered":
            return await producer.resolve_delivered(
                job_id,
                resolution.result_urls,
                reason or "",
                actor=actor,
                charge_basis=context.settings.charge_basis,
                task_id=late_task_id,
            )
        case "undelivered":
            return await producer.resolve_undelivered(
                job_id, reason or "", actor=actor, task_id=late_task_id
            )


def resolve_advice(job: Job) -> list[str]:
    """Return the commands that resolve this job, or nothing if it is not in doubt."""
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


def late_resolve_advice(job: Job, late_tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the commands that resolve the late tasks of a job that are in doubt."""
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


def list_advice(jobs: Sequence[Job]) -> list[str]:
    """Return the commands that show the jobs in doubt, one for each kind of doubt."""
    unknown = [job for job in jobs if job.state is JobState.UNKNOWN]
    held = [
        job
        for job in jobs
        if job.state is JobState.GENERATING and job.reason == Reason.RESULT_UNREADABLE
    ]
    return [
        f"{counted(len(found), noun)} {what}; what to do about each:"
        f" {command_text('jobs', 'show', str(found[0].id))}"
        for found, noun, what in (
            (unknown, "submission", "of unknown outcome"),
            (held, "job", "whose success cannot be read"),
        )
        if found
    ]
