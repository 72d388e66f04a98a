"""`darkroom prices`: list and change prices, and show their history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from producer.cli.command_runner import DatabaseContext, command_actor, run_with_database
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import (
    NO_VALUE,
    count_text,
    credits_text,
    printable,
    task_quantity_text,
    time_text,
)
from producer.cli.options import AsJson, Credits, Limit, Reason
from producer.row_json import row_to_json
from shared.job_json import credits_to_json
from shared.settings import ChargeBasis

app = typer.Typer(no_args_is_help=True, help="Read and change prices.")

Row = Mapping[str, Any]


@app.command("list")
def list_prices(as_json: AsJson = False) -> None:
    """List the prices in force, with the margin over what Kie charges."""

    async def step(context: DatabaseContext) -> None:
        prices = await context.billing.prices()
        if as_json:
            print_json(*(row_to_json(price) for price in prices))
            return
        table = build_table(
            *("model", "task", "quantity", "credits", "Kie's", "margin", "since", "set by"),
            right=("quantity", "credits", "Kie's", "margin"),
        )
        for price in prices:
            table.add_row(
                printable(price["model"]),
                printable(price["task"]),
                str(price["quantity"]),
                credits_text(price["credits"]),
                credits_text(price["provider_credits"]),
                margin_text(price),
                time_text(price["updated_at"]),
                printable(price["updated_by"]),
            )
        stdout_console().print(table)

    run_with_database(step)


@app.command("set")
def set_price(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    task: Annotated[str, typer.Argument(metavar="TASK")],
    quantity: Annotated[int, typer.Argument(metavar="QUANTITY")],
    credits: Credits,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Change one price; it holds from the next settlement."""
    key = (model, task, quantity)

    async def step(context: DatabaseContext) -> None:
        billing = context.billing
        old = await billing.price(*key)
        new = await billing.set_price(key, credits, reason=reason, actor=command_actor())
        touched = await context.database.fetch_row("open_jobs_at_price", *key, credits)
        basis = context.settings.charge_basis
        open_jobs = count_repriced_jobs(basis, dict(touched or {}))
        if as_json:
            changes = {"credits_before": credits_to_json(old["credits"])}
            print_json({**row_to_json(new), **changes, "open_jobs_touched": open_jobs})
            return
        print_data(
            f"{printable(model)} {printable(task_quantity_text(task, quantity))}:"
            f" {credits_text(old['credits'])}"
            f" → {credits_text(new['credits'])} credits"
        )
        if old["price_id"] == new["price_id"]:
            print_message("that was the price already: nothing changed")
            return
        _print_effect(new, basis, open_jobs)

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
            *("version", "model", "task", "quantity", "credits", "from", "to", "set by", "reason"),
            right=("version", "quantity", "credits"),
        )
        for version in versions:
            table.add_row(
                str(version["id"]),
                printable(version["model"]),
                printable(version["task"]),
                str(version["quantity"]),
                credits_text(version["credits"]),
                time_text(version["valid_from"]),
                time_text(version["valid_to"]) if version["valid_to"] else "in force",
                printable(version["changed_by"]),
                printable(version["reason"] or NO_VALUE),
            )
        stdout_console().print(table)

    run_with_database(step)


def margin_text(price: Row) -> str:
    """Return the price minus Kie's price, and its share of the price, such as `+2 (25 %)`."""
    margin = price["credits"] - price["provider_credits"]
    sign = "+" if margin > 0 else ""
    share = f" ({margin / price['credits']:.0%})".replace("%", " %") if price["credits"] else ""
    return f"{sign}{credits_text(margin)}{share}"


def count_repriced_jobs(basis: ChargeBasis, counts: Row) -> int:
    """Return the number of open jobs that will be charged the new price instead of their quote."""
    if basis == "quoted":
        return 0
    return int(counts["open_jobs"] if basis == "current" else counts["quoted_above"])


def _print_effect(price: Row, basis: ChargeBasis, open_jobs: int) -> None:
    below_cost = price["credits"] < price["provider_credits"]
    print_message(
        f"Kie charges {credits_text(price['provider_credits'])}: margin {margin_text(price)}",
        "bold red" if below_cost else "",
    )
    print_message(
        f"it holds from the next settlement: {count_text(open_jobs, 'open job')} will be charged by"
        f" it (CHARGE_BASIS is {basis})"
    )
