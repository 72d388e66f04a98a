"""`darkroom jobs cancel` and `retry`: one job, several, or all that match filters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from producer.bulk.job_selection import MAX_BULK_JOBS, BulkAction, JobSelection
from producer.cli.command_runner import CommandContext, command_actor, exit_on_error, run_connected
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import (
    print_data,
    print_json,
    print_message,
    stderr_console,
    stdout_console,
)
from producer.cli.display.tables.bulk_tables import (
    build_accounts_table,
    build_refusals_table,
    describe_estimate,
)
from producer.cli.display.text_format import CANCEL_REQUESTED_TEXT, command_text, credits_text
from producer.cli.exit_codes import ExitCode
from producer.cli.job_reports import report_enqueued, wait_and_report
from producer.cli.options import AsJson, Timeout, Wait
from producer.job_ids import read_uuid
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from shared.domain.counted import counted
from shared.errors import Fault, InvalidRequest, JobNotFound
from shared.job_json import job_to_json

if TYPE_CHECKING:
    from producer.bulk.bulk_result import BulkResult
    from producer.client import Producer
    from producer.jobs.job_repository import EnqueueResult

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The jobs' ids.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FILTER=VALUE",
        help=f"Instead of ids: all that match; once for each filter of {', '.join(FILTER_RULES)}.",
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how many and at what cost; do nothing.")
]
SelectionLimit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=MAX_BULK_JOBS, help="At most.")
]
Below = Annotated[
    str | None, typer.Option(metavar="ID", help="With --where: only older jobs than this one.")
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether these jobs are meant.")]
_Act: TypeAlias = "Callable[[Producer, JobSelection, bool], Awaitable[BulkResult]]"


def cancel(
    ids: Ids = None,
    where: Where = None,
    dry_run: _DryRun = False,
    limit: SelectionLimit = MAX_BULK_JOBS,
    below: Below = None,
    yes: _Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel queued jobs and release their credits: by ids, or all that match --where.

    A job at Kie is not waited for any more, and ends by Kie's outcome: a success is charged.
    """
    selection = read_selection(ids, where, limit, below)
    if len(selection.ids) == 1 and not dry_run:
        _cancel_one(selection.ids[0], as_json=as_json)
        return

    async def act(producer: Producer, chosen: JobSelection, is_dry_run: bool) -> BulkResult:
        return await producer.cancel_many(chosen, dry_run=is_dry_run, actor=command_actor())

    _run_many("cancel", act, selection, dry_run=dry_run, yes=yes, as_json=as_json)


def retry(
    ids: Ids = None,
    where: Where = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also jobs that succeeded: they are charged once more.")
    ] = False,
    dry_run: _DryRun = False,
    limit: SelectionLimit = MAX_BULK_JOBS,
    below: Below = None,
    yes: _Yes = False,
    wait: Wait = False,
    timeout: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Run the requests of ended jobs again, once, as new jobs: by ids, or all that match --where.

    Prints the ids of the new jobs. Without a state, --where means failed jobs.
    """
    selection = read_selection(ids, where, limit, below)
    if len(selection.ids) == 1 and not dry_run:
        seconds = timeout if wait else None
        _retry_one(selection.ids[0], again=again, timeout_seconds=seconds, as_json=as_json)
        return
    if wait:
        raise typer.BadParameter("--wait goes with one ID")

    async def act(producer: Producer, chosen: JobSelection, is_dry_run: bool) -> BulkResult:
        return await producer.retry_many(
            chosen, again=again, dry_run=is_dry_run, actor=command_actor()
        )

    _run_many("retry", act, selection, dry_run=dry_run, yes=yes, as_json=as_json)


def read_selection(
    ids: Sequence[str] | None, where: Sequence[str] | None, limit: int, below: str | None
) -> JobSelection:
    """Return the jobs that a command is for. A usage error exits."""
    if bool(ids) == bool(where):
        raise typer.BadParameter("say either ID..., or --where FILTER=VALUE")
    if below is not None and not where:
        raise typer.BadParameter("--below goes with --where")
    with exit_on_error():
        last = _read_id(below) if below is not None else None
        filters = _read_filters(where) if where else None
        return JobSelection(
            ids=[_read_id(one) for one in ids or ()], where=filters, limit=limit, below=last
        )


def _read_id(text: str) -> UUID:
    found = read_uuid(text)
    if found is None:
        raise JobNotFound(text[:80])
    return found


def _read_filters(given: Sequence[str]) -> JobFilter:
    texts: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise InvalidRequest([Fault("--where", f"{one!r} must be FILTER=VALUE")])
        if name in texts:
            raise InvalidRequest([Fault("--where", f"{name} is given more than once")])
        texts[name] = text
    return JobFilter.from_texts(texts)


def _cancel_one(job_id: UUID, *, as_json: bool) -> None:
    async def step(context: CommandContext) -> None:
        job = await context.producer.cancel(job_id, actor=command_actor())
        if as_json:
            print_json(job_to_json(job))
        elif job.is_terminal:
            print_data(f"{job.id} cancelled, {credits_text(job.credits_quoted)} credits released")
        else:
            print_data(
                f"{job.id} cancel requested, {credits_text(job.credits_quoted)} credits held"
            )
            print_message(CANCEL_REQUESTED_TEXT)

    run_connected(step)


def _retry_one(job_id: UUID, *, again: bool, timeout_seconds: float | None, as_json: bool) -> None:
    async def step(context: CommandContext) -> ExitCode:
        retried = await context.producer.retry_once(job_id, again=again, actor=command_actor())
        if not retried.is_new:
            return await _report_earlier_retry(context, retried, timeout_seconds, as_json=as_json)
        return await report_enqueued(
            context, retried.job, timeout_seconds=timeout_seconds, as_json=as_json
        )

    run_connected(step)


async def _report_earlier_retry(
    context: CommandContext, retried: EnqueueResult, seconds: float | None, *, as_json: bool
) -> ExitCode:
    job = retried.job
    print_message(f"it was retried before, as {job.id}, which is {job.state}; nothing is held")
    if job.is_terminal:
        again = command_text("jobs", "retry", str(job.id))
        print_message(f"to run that one again: {again}", "dim")
    if seconds is not None:
        return await wait_and_report(context, job, timeout_seconds=seconds, as_json=as_json)
    if as_json:
        print_json(job_to_json(job))
    else:
        print_data(str(job.id))
    return ExitCode.DONE


def _run_many(
    action: BulkAction,
    act: _Act,
    selection: JobSelection,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Estimate, ask, act, and report each outcome. Exits with 1 if any job was refused."""

    async def step(context: CommandContext) -> ExitCode:
        result = await act(context.producer, selection, True)
        if not dry_run and (result.matched or result.refused or result.done):
            if result.matched:
                confirm_doubts([describe_estimate(result, selection.limit)], yes=yes)
            result = await act(context.producer, selection, False)
        if as_json:
            from producer.bulk.bulk_result import bulk_result_to_json

            print_json(bulk_result_to_json(result))
        else:
            _print_result(result, selection)
        return ExitCode.ERROR if result.refused else ExitCode.DONE

    run_connected(step)


def _print_result(result: BulkResult, selection: JobSelection) -> None:
    if result.is_dry_run:
        if result.matched:
            print_message(describe_estimate(result, selection.limit))
            stdout_console().print(build_accounts_table(result))
    else:
        for one in result.done:
            print_data(str(one.job.id))
        print_message(_sum_up(result))
    if result.refused:
        print_message(f"{counted(len(result.refused), 'job')} refused:", "red")
        stderr_console().print(build_refusals_table(result))
    if not (result.matched or result.done or result.refused):
        print_message(f"there is no job to {result.action}")
    if result.remaining and selection.where is not None:
        filters = selection.where.to_texts().items()
        words = [word for name, text in filters for word in ("--where", f"{name}={text}")]
        more = command_text("jobs", result.action, *words, "--below", str(result.next_below))
        print_message(f"{counted(result.remaining, 'job')} left; the next ones: {more}")


def _sum_up(result: BulkResult) -> str:
    new = sum(one.is_new and not one.is_request for one in result.done)
    verb, moved = ("retried", "held") if result.action == "retry" else ("cancelled", "released")
    before = len(result.done) - new - result.requested
    earlier = f", {before} were before" if before else ""
    at_kie = counted(result.requested, "job")
    requested = f", requested of {at_kie} at Kie" if result.requested else ""
    return (
        f"{counted(new, 'job')} {verb}{earlier}{requested};"
        f" {credits_text(result.credits)} credits {moved}"
    )
