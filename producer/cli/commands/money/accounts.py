"""`darkroom accounts`: create accounts, set limits, grant credits, read the ledger."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from producer.accounts.account import Account
from producer.cli.command_runner import DatabaseContext, command_actor, run_with_database
from producer.cli.commands.money.limit_options import (
    MaxCreditsPerDay,
    MaxOpenJobs,
    MaxPriority,
    MaxQueuedJobs,
    OptionalReason,
    Weight,
    read_limits,
)
from producer.cli.display.account_limits import limits_text
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import (
    NO_VALUE,
    command_text,
    credits_text,
    printable,
    time_text,
)
from producer.cli.options import (
    AccountId,
    AsJson,
    BelowEntry,
    Credits,
    JobId,
    Limit,
    Reason,
    Since,
    Until,
    parse_credits,
)
from producer.money.statements import KINDS, Statement, start_of_month, statement_to_json
from producer.row_json import account_to_json, row_to_json

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    account_id: AccountId,
    credits: Annotated[
        Decimal, typer.Option(metavar="N", parser=parse_credits, help="Granted at once.")
    ] = Decimal(0),
    as_json: AsJson = False,
) -> None:
    """Create an account, with credits if asked."""

    async def step(context: DatabaseContext) -> None:
        account = await context.billing.create_account(account_id, credits, actor=command_actor())
        _print_account(account, as_json=as_json)

    run_with_database(step)


# Without this setting, a negative number would be parsed as an option.
@app.command(context_settings={"ignore_unknown_options": True})
def grant(
    account_id: AccountId,
    credits: Credits,
    reason: Reason,
    allow_debt: Annotated[
        bool,
        typer.Option("--allow-debt", help="Take more than is available: the account owes it."),
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A repetition with this key of the account adds nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Grant credits; a negative number takes some back, as an adjustment."""

    async def step(context: DatabaseContext) -> None:
        granted = await context.billing.grant(
            account_id,
            credits,
            reason,
            allow_debt=allow_debt,
            idempotency_key=idempotency_key,
            actor=command_actor(),
        )
        if as_json:
            from producer.money.grants import granted_account_to_json

            print_json({**granted_account_to_json(granted), "is_replayed": granted.is_replayed})
            return
        _print_account(granted, as_json=False)
        if granted.is_replayed:
            at = time_text(granted.entry["created_at"])
            print_message(f"nothing was added: the key was used for this grant at {at}")

    run_with_database(step)


@app.command()
def limits(
    account_id: AccountId,
    weight: Weight = None,
    max_open_jobs: MaxOpenJobs = None,
    max_queued_jobs: MaxQueuedJobs = None,
    max_credits_per_day: MaxCreditsPerDay = None,
    max_priority: MaxPriority = None,
    reason: OptionalReason = None,
    as_json: AsJson = False,
) -> None:
    """Set limits of an account, or show them; those that are not named stay as they are."""
    changes = read_limits(
        weight=weight,
        max_open_jobs=max_open_jobs,
        max_queued_jobs=max_queued_jobs,
        max_credits_per_day=max_credits_per_day,
        max_priority=max_priority,
    )
    if reason is not None and not changes:
        raise typer.BadParameter("a reason is for a change: name a limit", param_hint="--reason")

    async def step(context: DatabaseContext) -> None:
        if changes:
            account = await context.billing.set_account_limits(
                account_id, reason=reason, actor=command_actor(), **changes
            )
        else:
            account = await context.billing.account(account_id)
        if as_json:
            print_json(account_to_json(account))
        else:
            print_data(f"{printable(account.id)}: {limits_text(account)}")

    run_with_database(step)


@app.command()
def show(account_id: AccountId, as_json: AsJson = False) -> None:
    """Show an account's credits and limits."""

    async def step(context: DatabaseContext) -> None:
        account = await context.billing.account(account_id)
        _print_account(account, as_json=as_json)
        if not as_json:
            print_data(f"limits: {limits_text(account)}")

    run_with_database(step)


@app.command()
def ledger(
    account_id: AccountId,
    limit: Limit = 20,
    below: BelowEntry = None,
    as_json: AsJson = False,
) -> None:
    """Show every movement of an account's credits, newest first."""

    async def step(context: DatabaseContext) -> None:
        entries = await context.billing.ledger(account_id, below, limit)
        who = await context.billing.read_entry_actors(
            account_id, [entry["id"] for entry in entries]
        )
        entries = [{**entry, "granted_by": who.get(entry["id"])} for entry in entries]
        if as_json:
            print_json(*(row_to_json(entry) for entry in entries))
            return
        _print_ledger(entries)
        if len(entries) == limit:
            print_message(f"older ones: --below {entries[-1]['id']}", "dim")

    run_with_database(step)


@app.command("list")
def list_accounts(
    limit: Limit = 50,
    after: Annotated[
        str | None, typer.Option(metavar="A", help="Only after this account: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List accounts with their credits, by id."""

    async def step(context: DatabaseContext) -> None:
        accounts = await context.billing.accounts(after=after, limit=limit)
        if as_json:
            print_json(*(account_to_json(account) for account in accounts))
            return
        table = build_table(
            *("account", "balance", "held", "available", "limits", "created"),
            right=("balance", "held", "available"),
            drop=("created", "limits", "held"),
        )
        for account in accounts:
            table.add_row(
                printable(account.id),
                credits_text(account.balance),
                credits_text(account.held),
                credits_text(account.available),
                limits_text(account, without_defaults=True) or NO_VALUE,
                time_text(account.created_at),
            )
        stdout_console().print(table)
        if len(accounts) == limit:
            more = command_text("accounts", "list", "--after", accounts[-1].id)
            print_message(f"more: {more}", "dim")

    run_with_database(step)


@app.command()
def refund(
    job_id: JobId,
    reason: Reason,
    credits: Annotated[
        Decimal | None,
        typer.Option(metavar="N", parser=parse_credits, help="Only so many; default: the charge."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give back what a job was charged, or a part of it, once."""

    async def step(context: DatabaseContext) -> None:
        from producer.jobs.operator_methods import parse_job_id

        wanted = parse_job_id(job_id)
        entry = await context.billing.refund(wanted, credits, reason=reason, actor=command_actor())
        if as_json:
            print_json(row_to_json(entry))
            return
        print_data(
            f"{credits_text(entry['credits'])} credits of job {entry['job_id']} are returned to"
            f" {printable(entry['account_id'])} (balance {credits_text(entry['balance_after'])})"
        )

    run_with_database(step)


@app.command("erase-prompts")
def erase_prompts(
    account_id: AccountId,
    reason: OptionalReason = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say of how many jobs, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed off a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase the prompts and images of all jobs that an account has now, for good.

    Request, metadata, messages and links of images of ended jobs at once, of open ones when they
    end, and its uploaded images. Credits and states stay. Copies go with darkroom results prune.
    """

    async def step(context: DatabaseContext) -> None:
        from producer.cli.commands.money.prompt_erasure import erase_and_print

        await erase_and_print(
            context, account_id, reason, is_dry_run=dry_run, yes=yes, as_json=as_json
        )

    run_with_database(step)


@app.command()
def erasures(account_id: AccountId, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the erasures of an account's prompts and how far each is, newest first."""

    async def step(context: DatabaseContext) -> None:
        from producer.cli.commands.money.prompt_erasure import print_erasures

        await print_erasures(context, account_id, limit, as_json=as_json)

    run_with_database(step)


@app.command()
def statement(
    account_id: AccountId,
    since: Since = None,
    until: Until = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="All lines as CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an account's statement by month, or its lines as CSV; by default of this month."""
    end = until or datetime.now(UTC)
    start = since or start_of_month(end)

    async def step(context: DatabaseContext) -> None:
        billing = context.billing
        found = await billing.statement(account_id, start, end)
        if as_csv:
            sys.stdout.write(await billing.statement_csv(found))
        elif as_json:
            print_json(statement_to_json(found))
        else:
            _print_statement(found)

    run_with_database(step)


def _print_statement(statement: Statement) -> None:
    print_data(
        f"{printable(statement.account_id)} from {time_text(statement.since)} to"
        f" {time_text(statement.until)}"
    )
    columns = ("opening", *KINDS, "closing", "lines")
    table = build_table("month", *columns, right=columns, drop=("lines", "opening"))
    for month in statement.months:
        table.add_row(
            month.month,
            credits_text(month.opening_balance),
            *(credits_text(month.totals[kind]) for kind in KINDS),
            credits_text(month.closing_balance),
            f"{month.lines:,}",
        )
    table.add_row(
        "all",
        credits_text(statement.opening_balance),
        *(credits_text(statement.totals[kind]) for kind in KINDS),
        credits_text(statement.closing_balance),
        f"{statement.lines:,}",
    )
    stdout_console().print(table)


def _print_account(account: Account, *, as_json: bool) -> None:
    if as_json:
        print_json(account_to_json(account))
        return
    print_data(
        f"{printable(account.id)}: {credits_text(account.available)} credits available"
        f" (balance {credits_text(account.balance)}, held by open jobs"
        f" {credits_text(account.held)})"
    )


def _print_ledger(entries: list[dict[str, Any]]) -> None:
    table = build_table(
        *("id", "at", "entry", "credits", "balance", "held", "for", "by"),
        right=("id", "credits", "balance", "held"),
        drop=("by", "held", "id"),
    )
    for entry in entries:
        table.add_row(
            str(entry["id"]),
            time_text(entry["created_at"]),
            entry["kind"],
            credits_text(entry["credits"]),
            credits_text(entry["balance_after"]),
            credits_text(entry["held_after"]),
            str(entry["job_id"] or printable(entry["reason"] or NO_VALUE)),
            printable(entry["granted_by"] or NO_VALUE),
        )
    stdout_console().print(table)
