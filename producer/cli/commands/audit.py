"""`darkroom audit`: list audit entries."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from producer.audit_entries import Act
from producer.cli.command_runner import DatabaseContext, run_with_database
from producer.cli.display.console import print_json, print_message, print_next_page, stdout_console
from producer.cli.display.tables.audit_table import build_audit_table
from producer.cli.options import AsJson, BelowEntry, Limit, OnlyAccount
from producer.row_json import row_to_json


def audit(
    account: OnlyAccount = None,
    job: Annotated[UUID | None, typer.Option(metavar="ID", help="Only of this job.")] = None,
    act: Annotated[Act | None, typer.Option(help="Only such acts.")] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="WHO", help="Only of this actor, login or key.")
    ] = None,
    limit: Limit = 20,
    below: BelowEntry = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first: prices, credits, cancels, keys, webhooks."""

    async def step(context: DatabaseContext) -> None:
        rows = await context.billing.audit(
            act=act,
            account_id=account,
            job_id=job,
            actor=actor,
            below=below,
            limit=limit,
        )
        if as_json:
            print_json(*(row_to_json(row) for row in rows))
            return
        if not rows:
            print_message("no such entries")
            return
        stdout_console().print(build_audit_table(rows))
        if len(rows) == limit:
            given = (("--account", account), ("--job", job), ("--act", act), ("--actor", actor))
            print_next_page("audit", given, rows[-1]["id"])

    run_with_database(step)
