"""`darkroom jobs`: looking at jobs, waiting, taking back, running again, resolving unknowns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from producer.cli.command_actor import operator
from producer.cli.command_runner import Desk, run_at_desk
from producer.cli.commands.enqueue import report_enqueued, wait_and_report
from producer.cli.commands.enqueue_options import Wait
from producer.cli.commands.resolve import advice_for, advice_for_late, advice_for_many, resolve
from producer.cli.display.console import data_console, put, put_json, say
from producer.cli.display.job_tables import job_page, jobs_table, story_to_json
from producer.cli.display.text_format import command_text, credits_text
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson, JobId, Limit, Timeout
from shared.domain.lifecycle import JobState
from shared.job_json import job_to_json

app = typer.Typer(no_args_is_help=True, help="Look at jobs, wait, cancel, retry, resolve.")
app.command()(resolve)


@app.command("list")
def list_jobs(
    account: Annotated[str | None, typer.Option(metavar="A", help="Only of this account.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="S", help=f"Only in this state: {', '.join(JobState)}.")
    ] = None,
    limit: Limit = 20,
    below: Annotated[
        str | None, typer.Option(metavar="ID", help="Only older than this job: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""

    async def step(desk: Desk) -> None:
        last = (await desk.producer.get(below)).id if below is not None else None
        jobs = await desk.producer.list(account_id=account, state=state, limit=limit, below=last)
        if as_json:
            put_json(*(job_to_json(job) for job in jobs))
            return
        if not jobs:
            say("no such jobs")
            return
        data_console().print(jobs_table(jobs, now=datetime.now(UTC)))
        for line in advice_for_many(jobs):
            say(line)
        if len(jobs) == limit:
            given = (("--account", account), ("--state", state), ("--below", str(jobs[-1].id)))
            words = [word for name, value in given if value for word in (name, value)]
            say(f"older ones: {command_text('jobs', 'list', *words)}", "dim")

    run_at_desk(step)


@app.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job: what was asked, its timeline, its attempts and its money."""

    async def step(desk: Desk) -> None:
        job = await desk.producer.get(job_id)
        story = await desk.producer.till.explain(job.id)
        if as_json:
            put_json(story_to_json(job, story))
        else:
            data_console().print(job_page(job, story))
            for line in (*advice_for(job), *advice_for_late(job, story["late_tasks"])):
                say(line)

    run_at_desk(step)


@app.command()
def wait(job_id: JobId, timeout: Timeout = 600, as_json: AsJson = False) -> None:
    """Wait until a job has ended: 0 it succeeded, 4 it failed, 5 the time is over."""

    async def step(desk: Desk) -> ExitCode:
        job = await desk.producer.get(job_id)
        return await wait_and_report(desk, job, timeout_seconds=timeout, as_json=as_json)

    run_at_desk(step)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Take a queued job back and release its credits."""

    async def step(desk: Desk) -> None:
        job = await desk.producer.cancel(job_id, actor=operator())
        if as_json:
            put_json(job_to_json(job))
        else:
            put(f"{job.id} cancelled, {credits_text(job.credits_quoted)} credits released")

    run_at_desk(step)


@app.command()
def retry(
    job_id: JobId,
    wait: Wait = False,
    timeout: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Run an ended job's request again, as a new job; prints the new job's id."""

    async def step(desk: Desk) -> ExitCode:
        job = await desk.producer.retry(job_id, actor=operator())
        return await report_enqueued(
            desk, job, timeout_seconds=timeout if wait else None, as_json=as_json
        )

    run_at_desk(step)
