"""`darkroom jobs`: list, count, show, wait, cancel, retry and resolve jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from producer.cli.cancel_and_retry import cancel, retry
from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import (
    print_json,
    print_message,
    print_next_page,
    stdout_console,
)
from producer.cli.display.tables.job_tables import (
    build_counts_table,
    build_jobs_table,
    job_details_to_json,
    job_details_view,
)
from producer.cli.exit_codes import ExitCode
from producer.cli.image_downloads import download
from producer.cli.job_filter_options import list_filter_options, with_job_filters
from producer.cli.job_reports import wait_and_report
from producer.cli.options import AsJson, JobId, Limit, Timeout
from producer.cli.resolve import late_resolve_advice, list_advice, resolve, resolve_advice
from producer.jobs.job_counts import counts_to_json
from producer.jobs.job_filter import JobFilter
from shared.job_json import job_to_json

app = typer.Typer(no_args_is_help=True)
app.command()(resolve)
app.command()(cancel)
app.command()(retry)
app.command()(download)


@app.command("list")
@with_job_filters
def list_jobs(
    where: JobFilter,
    limit: Limit = 20,
    below: Annotated[
        str | None, typer.Option(metavar="ID", help="Only older than this job: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""

    async def step(context: CommandContext) -> None:
        from producer.cli.readable_jobs import ReadableJobs

        readable = ReadableJobs(context)
        last = (await readable.get(below)).id if below is not None else None
        jobs = await readable.list(where, limit=limit, below=last)
        if as_json:
            print_json(*(job_to_json(job) for job in jobs))
            return
        if not jobs:
            print_message("no such jobs")
            return
        stdout_console().print(build_jobs_table(jobs, now=datetime.now(UTC)))
        for line in list_advice(jobs):
            print_message(line)
        if len(jobs) == limit:
            print_next_page("jobs list", list_filter_options(where), jobs[-1].id)

    run_connected(step)


@app.command()
@with_job_filters
def counts(where: JobFilter, as_json: AsJson = False) -> None:
    """Count jobs by state and reason."""

    async def step(context: CommandContext) -> None:
        from producer.cli.readable_jobs import ReadableJobs

        found = await ReadableJobs(context).count(where)
        if as_json:
            print_json(counts_to_json(found))
        elif found:
            stdout_console().print(build_counts_table(found))
        else:
            print_message("no such jobs")

    run_connected(step)


@app.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job: its request, timeline, attempts and money."""

    async def step(context: CommandContext) -> None:
        from producer.cli.readable_jobs import ReadableJobs

        job = await ReadableJobs(context).get(job_id)
        details = await context.producer.job_details(job.id)
        if as_json:
            print_json(job_details_to_json(job, details))
        else:
            stdout_console().print(job_details_view(job, details, now=datetime.now(UTC)))
            for line in (*resolve_advice(job), *late_resolve_advice(job, details["late_tasks"])):
                print_message(line)

    run_connected(step)


@app.command()
def wait(job_id: JobId, timeout: Timeout = 600, as_json: AsJson = False) -> None:
    """Wait until a job has ended: 0 it succeeded, 4 it failed, 5 the time is over.

    If its cancel is requested meanwhile, the wait ends with 4.
    """

    async def step(context: CommandContext) -> ExitCode:
        job = await context.producer.get(job_id)
        return await wait_and_report(context, job, timeout_seconds=timeout, as_json=as_json)

    run_connected(step)
