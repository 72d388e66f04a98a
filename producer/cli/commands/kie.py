"""`darkroom kie`: what Kie says of its models, and what its responses contain that is not known."""

from __future__ import annotations

from typing import Annotated

import typer

from producer.cli.command_runner import DatabaseContext, run_with_database
from producer.cli.display.console import print_json, print_message, stdout_console
from producer.cli.display.tables.kie_tables import build_model_table, build_surprise_table
from producer.cli.options import AsJson, Limit
from producer.monitoring.kie_models import (
    SURPRISE_DAYS,
    SURPRISE_DAYS_DEFAULT,
    KieReports,
    kie_model_to_json,
    kie_surprise_to_json,
)

app = typer.Typer(no_args_is_help=True)


@app.command("models")
def list_models(as_json: AsJson = False) -> None:
    """List Kie's models that are used here: fields, price and success rate as Kie last said."""

    async def step(context: DatabaseContext) -> None:
        models = await KieReports(context.database).models()
        if as_json:
            print_json(*(kie_model_to_json(one) for one in models))
            return
        if not models:
            print_message("Kie was not asked yet: a worker does so at its start and once a day")
            return
        stdout_console().print(build_model_table(models))

    run_with_database(step)


@app.command("surprises")
def list_surprises(
    days: Annotated[
        int, typer.Option(min=1, max=SURPRISE_DAYS, metavar="DAYS", help="How far to look back.")
    ] = SURPRISE_DAYS_DEFAULT,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List what Kie's responses contained and Darkroom does not know, newest first."""

    async def step(context: DatabaseContext) -> None:
        surprises = await KieReports(context.database).surprises(days, limit)
        if as_json:
            print_json(*(kie_surprise_to_json(one) for one in surprises))
            return
        if not surprises:
            print_message("nothing unknown in that time")
            return
        stdout_console().print(build_surprise_table(surprises))

    run_with_database(step)
