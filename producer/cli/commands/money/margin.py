"""`darkroom margin`: what accounts were charged, less what Kie charged us."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from producer.cli.command_runner import DatabaseContext, run_with_database
from producer.cli.display.console import print_json, print_message
from producer.cli.display.tables.price_tables import print_margin
from producer.cli.options import AsJson, Limit, Since, Until
from producer.money.margins import MarginGroup
from producer.row_json import row_to_json

_DAYS_DEFAULT = 30


def margin(
    by: Annotated[MarginGroup, typer.Option(help="Group by this.")] = MarginGroup.DAY,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Show what accounts were charged less what Kie charged, of the last 30 days."""
    end = until or datetime.now(UTC)
    start = since or end - timedelta(days=_DAYS_DEFAULT)

    async def step(context: DatabaseContext) -> None:
        rows = await context.billing.margin(by, start, end, limit)
        if as_json:
            print_json(*(row_to_json(row) for row in rows))
            return
        if not rows:
            print_message("nothing was charged in that period")
            return
        print_margin(by, rows)

    run_with_database(step)
