"""`darkroom models`: list the models and by which family each is sent, and change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.confirmation import confirm_doubts
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
from producer.cli.options import AsJson
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.model_routes import Model, RoutePreview

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models, their tasks, and the route in force: since when, by whom, why."""

    async def step(context: CommandContext) -> None:
        from producer.model_routes import model_to_json

        models = await context.producer.models.list()
        if as_json:
            print_json(*map(model_to_json, models))
        else:
            stdout_console().print(_models_table(models))

    run_connected(step)


@app.command("route")
def route_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model whose jobs are sent.")],
    via: Annotated[
        str | None, typer.Option("--via", metavar="FAMILY", help="The family that sends them.")
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="By the model's own family again.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; recorded.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it means for queued jobs, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed off a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the queued and the new jobs of a model by another family; tasks at Kie stay.

    Jobs that the family cannot carry wait with their holds until the route is taken back, or are
    cancelled. New ones are refused.
    """
    if (via is None) != direct:
        raise typer.BadParameter("say --via FAMILY, or --direct")
    family = via or model

    async def step(context: CommandContext) -> None:
        from producer.model_routes import model_to_json, preview_to_json

        models = context.producer.models
        preview = await models.preview(model, family)
        if dry_run:
            if as_json:
                print_json({"model": model, "via": family, "queued": preview_to_json(preview)})
            else:
                print_data(_describe(preview))
            return
        confirm_doubts([_describe(preview)], yes=yes)
        routed = await models.route(model, family, reason=reason, actor=command_actor())
        if as_json:
            print_json({**model_to_json(routed), "queued": preview_to_json(preview)})
            return
        print_data(_describe(preview))
        _suggest(preview)

    run_connected(step)


def _describe(preview: RoutePreview) -> str:
    """Return what the route means for the queued jobs."""
    how = "its own family" if preview.via == preview.model else printable(preview.via)
    text = (
        f"{printable(preview.model)} is sent by {how}:"
        f" {counted(preview.carried, 'queued job')} can go"
    )
    if preview.waiting:
        fields = ", ".join(f"{name} {jobs:,}" for name, jobs in preview.waiting_by_field.items())
        text += (
            f", {counted(preview.waiting, 'job')} cannot and wait ({fields}), which hold"
            f" {credits_text(preview.waiting_credits)} credits"
        )
    return text


def _suggest(preview: RoutePreview) -> None:
    """Say what can be done about jobs that wait."""
    if preview.waiting:
        where = ("--where", f"model={preview.model}", "--where", "reason=route_unfit")
        print_message(f"to cancel those that wait: {command_text('jobs', 'cancel', *where)}", "dim")
    if preview.via != preview.model:
        back = command_text("models", "route", preview.model, "--direct")
        print_message(f"to take it back: {back}", "dim")


def _models_table(models: list[Model]) -> Table:
    table = build_table(
        "model",
        "tasks",
        "sent by",
        "can be sent by",
        "since",
        "by",
        "why",
        drop=("why", "by", "since", "can be sent by"),
        sentences=("why",),
    )
    for one in models:
        route = one.route
        table.add_row(
            one.name,
            ", ".join(one.tasks),
            one.via,
            ", ".join(one.routes) or NO_VALUE,
            time_text(route.routed_at if route else None),
            printable(route.routed_by) if route else NO_VALUE,
            printable(route.reason) if route and route.reason else NO_VALUE,
        )
    return table
