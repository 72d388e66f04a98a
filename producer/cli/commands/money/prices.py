"""`darkroom prices`: list and change prices, and show their history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.command_runner import DatabaseContext, command_actor, run_with_database
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.tables.kie_tables import build_price_comparison
from producer.cli.display.tables.price_tables import (
    margin_text,
    price_key_text,
    print_price_preview,
    print_scheduled,
)
from producer.cli.display.text_format import (
    NO_VALUE,
    command_text,
    credits_text,
    printable,
    time_text,
)
from producer.cli.options import AsJson, Limit, PriceCredits, Reason, parse_price, parse_time
from producer.list_pages import MAX_ROW_ID
from producer.money.price_key import PriceKey
from producer.monitoring.kie_models import KieReports, compared_price_to_json
from producer.row_json import row_to_json
from shared.domain.counted import counted
from shared.errors import ConfirmationNeeded
from shared.job_json import credits_to_json

if TYPE_CHECKING:
    from producer.money.price_changes import PricePreview

app = typer.Typer(no_args_is_help=True)

Row = Mapping[str, Any]
Model = Annotated[str, typer.Argument(metavar="MODEL")]
Task = Annotated[str, typer.Argument(metavar="TASK")]
Quantity = Annotated[int, typer.Argument(metavar="QUANTITY")]
ProviderCredits = Annotated[
    Decimal | None,
    typer.Option(metavar="CREDITS", parser=parse_price, help="What Kie charges for the same."),
]
Variant = Annotated[
    str,
    typer.Option(metavar="VARIANT", help="What moves the price besides the quantity, such as 2K."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm a change of more than 5 times.")]


@app.command("list")
def list_prices(as_json: AsJson = False) -> None:
    """List the prices in force, with the margin over what Kie charges."""

    async def step(context: DatabaseContext) -> None:
        prices = await context.billing.prices()
        if as_json:
            print_json(*(row_to_json(price) for price in prices))
            return
        table = build_table(
            *(
                "model",
                "task",
                "quantity",
                "variant",
                "credits",
                "Kie's",
                "margin",
                "since",
                "set by",
            ),
            right=("quantity", "credits", "Kie's", "margin"),
            drop=("set by", "since", "Kie's", "margin"),
        )
        waiting = await context.billing.price_changes.list_scheduled(limit=20, with_settled=False)
        for price in prices:
            table.add_row(
                printable(price["model"]),
                printable(price["task"]),
                str(price["quantity"]),
                printable(price["variant"] or NO_VALUE),
                credits_text(price["credits"]),
                credits_text(price["provider_credits"]),
                margin_text(price),
                time_text(price["updated_at"]),
                printable(price["updated_by"]),
            )
        stdout_console().print(table)
        if waiting:
            print_scheduled(waiting)

    run_with_database(step)


@app.command("set")
def set_price(
    model: Model,
    task: Task,
    quantity: Quantity,
    credits: PriceCredits,
    reason: Reason,
    variant: Variant = "",
    provider_credits: ProviderCredits = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change one price from the next settlement on. A change by more than 5 times asks first."""
    key = PriceKey(model, task, quantity, variant)

    async def step(context: DatabaseContext) -> None:
        changes, basis = context.billing.price_changes, context.settings.charge_basis
        preview = await changes.preview(key, credits, provider_credits, charge_basis=basis)
        confirmed = confirm_doubts(preview.doubts, yes=yes)
        new = await changes.change(
            key,
            credits,
            provider_credits=provider_credits,
            reason=reason,
            confirmed=confirmed,
            from_price_id=preview.price_id,
            actor=command_actor(),
        )
        if as_json:
            print_json(
                {
                    **row_to_json(new),
                    "credits_before": credits_to_json(preview.credits_before),
                    "open_jobs_touched": preview.open_jobs_repriced,
                    "warnings": list(preview.warnings),
                }
            )
            return
        print_data(f"{price_key_text(key)}: {_change_text(preview)}")
        if preview.price_id == new["price_id"]:
            print_message("that was the price already: nothing changed")
            return
        _print_effect(new, preview)

    run_with_database(step)


@app.command("preview")
def preview_price(
    model: Model,
    task: Task,
    quantity: Quantity,
    credits: PriceCredits,
    variant: Variant = "",
    provider_credits: ProviderCredits = None,
    as_json: AsJson = False,
) -> None:
    """Show what a change of one price would do, and change nothing."""
    key = PriceKey(model, task, quantity, variant)

    async def step(context: DatabaseContext) -> None:
        preview = await context.billing.price_changes.preview(
            key, credits, provider_credits, charge_basis=context.settings.charge_basis
        )
        if as_json:
            from producer.money.price_changes import preview_to_json

            print_json(preview_to_json(preview))
            return
        print_price_preview(preview)

    run_with_database(step)


@app.command("schedule")
def schedule_price(
    model: Model,
    task: Task,
    quantity: Quantity,
    credits: PriceCredits,
    at: Annotated[
        datetime,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="When it is applied; without a zone, by the clock of this machine.",
        ),
    ],
    reason: Reason,
    variant: Variant = "",
    provider_credits: ProviderCredits = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Schedule a change of one price. A change that looks like a typing error asks first."""
    key = PriceKey(model, task, quantity, variant)

    async def step(context: DatabaseContext) -> None:
        async def schedule(*, confirmed: bool) -> dict[str, Any]:
            return await context.billing.price_changes.schedule(
                key,
                credits,
                provider_credits=provider_credits,
                at=at,
                reason=reason,
                confirmed=confirmed,
                actor=command_actor(),
            )

        try:
            made = await schedule(confirmed=yes)
        except ConfirmationNeeded as needed:
            made = await schedule(confirmed=confirm_doubts([needed.doubts], yes=yes))
        if as_json:
            print_json(row_to_json(made))
            return
        print_data(
            f"{price_key_text(key)}: {credits_text(made['credits'])} credits from"
            f" {time_text(made['takes_effect_at'])}"
        )
        print_message(f"until then: {command_text('prices', 'unschedule', str(made['id']))}")

    run_with_database(step)


@app.command()
def unschedule(
    scheduled_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ROW_ID)],
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; recorded.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a scheduled change before its time."""

    async def step(context: DatabaseContext) -> None:
        gone = await context.billing.price_changes.unschedule(
            scheduled_id, reason=reason, actor=command_actor()
        )
        if as_json:
            print_json(row_to_json(gone))
            return
        print_data(f"scheduled price {gone['id']} is revoked")

    run_with_database(step)


@app.command()
def scheduled(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List scheduled changes: those that wait, and then applied and revoked ones."""

    async def step(context: DatabaseContext) -> None:
        rows = await context.billing.price_changes.list_scheduled(limit=limit, with_settled=True)
        if as_json:
            print_json(*(row_to_json(row) for row in rows))
            return
        if not rows:
            print_message("no price change is scheduled")
            return
        print_scheduled(rows)

    run_with_database(step)


@app.command("compare")
def compare_prices(as_json: AsJson = False) -> None:
    """Show each price beside what Kie's price texts name."""

    async def step(context: DatabaseContext) -> None:
        compared = await KieReports(context.database).compare_prices()
        if as_json:
            print_json(*(compared_price_to_json(one) for one in compared))
            return
        stdout_console().print(build_price_comparison(compared))
        texts = dict.fromkeys(one.kie_price_text for one in compared if one.kie_price_text)
        for text in texts:
            print_message(f"Kie: {printable(text)}")

    run_with_database(step)


@app.command()
def history(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show every price that ever held, newest first."""

    async def step(context: DatabaseContext) -> None:
        versions = await context.billing.price_history(limit)
        if as_json:
            print_json(*(row_to_json(version) for version in versions))
            return
        table = build_table(
            *("version", "price of", "credits", "from", "to", "set by", "reason"),
            right=("version", "credits"),
            drop=("reason", "set by", "version"),
            sentences=("reason",),
        )
        for version in versions:
            table.add_row(
                str(version["id"]),
                price_key_text(
                    PriceKey(*(version[name] for name in ("model", "task", "quantity", "variant")))
                ),
                credits_text(version["credits"]),
                time_text(version["valid_from"]),
                time_text(version["valid_to"]) if version["valid_to"] else "in force",
                printable(version["changed_by"]),
                printable(version["reason"] or NO_VALUE),
            )
        stdout_console().print(table)

    run_with_database(step)


def _change_text(change: PricePreview) -> str:
    text = f"{credits_text(change.credits_before)} → {credits_text(change.credits)} credits"
    if change.provider_credits_before != change.provider_credits:
        costs = (change.provider_credits_before, change.provider_credits)
        text += f", Kie's charge {' → '.join(map(credits_text, costs))}"
    return text


def _print_effect(price: Row, preview: PricePreview) -> None:
    below_cost = price["credits"] < price["provider_credits"]
    print_message(
        f"Kie charges {credits_text(price['provider_credits'])}: margin {margin_text(price)}",
        "bold red" if below_cost else "",
    )
    print_message(
        "it holds from the next settlement:"
        f" {counted(preview.open_jobs_repriced, 'open job')} will be charged by"
        f" it (CHARGE_BASIS is {preview.charge_basis})"
    )
    for warning in preview.warnings:
        print_message(f"warning: {warning}", "bold red")
