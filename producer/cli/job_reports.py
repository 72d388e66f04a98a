"""Reports a new job and how it ended, for the commands that enqueue, retry and wait."""

from __future__ import annotations

from datetime import UTC, datetime

from producer.cli.command_runner import CommandContext
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.text_format import (
    CANCEL_REQUESTED_TEXT,
    command_text,
    credits_text,
    duration_between_text,
    job_task_text,
    printable,
    time_text,
)
from producer.cli.exit_codes import ExitCode, code_of_ended
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.job_json import job_to_json


async def report_enqueued(
    context: CommandContext, job: Job, *, timeout_seconds: float | None, as_json: bool
) -> ExitCode:
    """Print a new job, and return the exit code. With a timeout, wait for its end."""
    print_message(
        f"{job_task_text(job)} for {printable(job.account_id)}:"
        f" {credits_text(job.credits_quoted)} credits held until it ends"
    )
    if job.is_scheduled(datetime.now(UTC)):
        print_message(f"scheduled for {time_text(job.run_at)}")
    await _warn_if_nobody_takes_it(context, job)
    if timeout_seconds is not None:
        return await wait_and_report(context, job, timeout_seconds=timeout_seconds, as_json=as_json)
    if as_json:
        print_json(job_to_json(job))
        return ExitCode.DONE
    print_data(str(job.id))
    print_message(f"next: {command_text('jobs', 'wait', str(job.id))}", "dim")
    return ExitCode.DONE


async def wait_and_report(
    context: CommandContext, job: Job, *, timeout_seconds: float, as_json: bool
) -> ExitCode:
    """Wait for the end of a job with a progress display, and print the job or its image URLs."""
    from producer.cli.display.job_progress import wait_with_progress

    [job] = await wait_with_progress(context.producer, [job], timeout_seconds)
    if as_json:
        print_json(job_to_json(job))
    elif job.state is JobState.SUCCEEDED:
        for url in job.result_urls:
            print_data(printable(url))
    report_end(job)
    return code_of_ended(job)


def report_end(job: Job) -> None:
    """Print to stderr how a job ended, or that its cancel was requested."""
    if job.state is JobState.SUCCEEDED:
        took = duration_between_text(job.created_at, job.finished_at)
        print_message(
            f"succeeded in {took}: {credits_text(job.credits_charged)} credits charged", "green"
        )
        return
    if not job.is_terminal:
        print_message(f"{job.state}: its cancel was requested. {CANCEL_REQUESTED_TEXT}", "yellow")
        print_message(f"to wait for its end: {command_text('jobs', 'wait', str(job.id))}", "dim")
        return
    reason = ": ".join(printable(part) for part in (job.reason, job.message) if part)
    print_message(f"{job.state} ({reason}); the hold is released, nothing is charged", "red")
    print_message(f"next: {command_text('jobs', 'show', str(job.id))}", "dim")


async def _warn_if_nobody_takes_it(context: CommandContext, job: Job) -> None:
    if job.is_terminal:
        return
    from shared.adapters.monitoring.alert_monitor import find_redis_of_another_database
    from shared.adapters.processes.redis_presence import ALIVE_SECONDS

    redis = context.producer.enqueuer.delivery_queue.redis
    of_another = await find_redis_of_another_database(context.database, redis)
    if of_another is not None:
        print_message(f"{printable(of_another.detail)}: {of_another.fix}", "yellow")
        return
    row = await context.database.fetch_row("worker_lives", ALIVE_SECONDS)
    if row is not None and not row["is_alive"]:
        print_message(
            f"no worker is running, so the job waits: start one with {command_text('worker')}",
            "yellow",
        )
