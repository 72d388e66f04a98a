"""Prints previews and scheduled changes of prices, and margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from producer.cli.display.console import build_table, print_data, print_message, stdout_console
from producer.cli.display.text_format import (
    NO_VALUE,
    credits_text,
    printable,
    task_quantity_text,
    time_text,
)
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.money.price_changes import PricePreview
    from producer.money.price_key import PriceKey

Row = Mapping[str, Any]


def margin_text(price: Row) -> str:
    """Return the price minus Kie's price, and its share of the price, such as `+2 (25 %)`."""
    margin = price["credits"] - price["provider_credits"]
    sign = "+" if margin > 0 else ""
    share = f" ({margin / price['credits']:.0%})".replace("%", " %") if price["credits"] else ""
    return f"{sign}{credits_text(margin)}{share}"


def price_key_text(key: PriceKey) -> str:
    """Return the key of a price as people read it."""
    return printable(f"{key.model} {task_quantity_text(key.task, key.quantity, key.variant)}")


def print_price_preview(preview: PricePreview) -> None:
    """Print what a change would do."""
    new = {"credits": preview.credits, "provider_credits": preview.provider_credits}
    print_data(
        f"{price_key_text(preview.key)}:"
        f" {credits_text(preview.credits_before)} → {credits_text(preview.credits)} credits,"
        f" margin {margin_text(new)}"
    )
    print_data(
        f"{counted(preview.open_jobs, 'open job')} hold {credits_text(preview.credits_held)};"
        f" {preview.open_jobs_repriced:,} will be charged the new price:"
        f" {_signed(preview.open_jobs_effect)} credits (CHARGE_BASIS is {preview.charge_basis})"
    )
    print_data(
        f"last 7 days: {counted(preview.jobs_last_7_days, 'job')},"
        f" {credits_text(preview.revenue_last_7_days)} credits; as many at the new price:"
        f" {_signed(preview.revenue_effect_per_7_days)} credits"
    )
    for sentence in (*preview.doubts, *preview.warnings):
        print_message(f"warning: {sentence}", "bold red")
    if preview.needs_confirmation:
        print_message("it is refused without --yes")


def print_scheduled(rows: Sequence[Row]) -> None:
    """Print scheduled changes with their outcome."""
    table = build_table(
        *("id", "takes hold", "price of", "credits", "Kie's"),
        *("outcome", "by", "reason"),
        right=("id", "credits", "Kie's"),
        drop=("by", "reason", "Kie's"),
        sentences=("reason",),
        title="Scheduled",
    )
    for row in rows:
        table.add_row(
            str(row["id"]),
            time_text(row["takes_effect_at"]),
            printable(
                f"{row['model']} {task_quantity_text(row['task'], row['quantity'], row['variant'])}"
            ),
            credits_text(row["credits"]),
            credits_text(row["provider_credits"]),
            _outcome_text(row),
            printable(row["scheduled_by"]),
            printable(row["reason"]),
        )
    stdout_console().print(table)


def print_margin(group: str, rows: Sequence[Row]) -> None:
    """Print the margin by day, model, variant or account."""
    table = build_table(
        *(group, "jobs", "charged", "refunded", "Kie's", "uncharged", "margin"),
        right=("jobs", "charged", "refunded", "Kie's", "uncharged", "margin"),
        drop=("uncharged", "refunded", "jobs"),
    )
    for row in rows:
        uncharged = row["uncharged_jobs"]
        cost = credits_text(row["uncharged_provider_credits"])
        table.add_row(
            printable(row["name"]),
            f"{row['jobs']:,}",
            credits_text(row["charged"]),
            credits_text(row["refunded"]),
            credits_text(row["provider_credits"]),
            f"{uncharged:,} ({cost})" if uncharged else NO_VALUE,
            credits_text(row["margin"]),
        )
    stdout_console().print(table)


def _outcome_text(row: Row) -> str:
    if row["settled_at"] is None:
        return "waits"
    if row["is_revoked"]:
        return f"revoked {time_text(row['settled_at'])}"
    if row["failure"] is not None:
        return f"not applied: {printable(row['failure'])}"
    return f"applied {time_text(row['settled_at'])}"


def _signed(credits: Decimal) -> str:
    return f"{'+' if credits > 0 else ''}{credits_text(credits)}"
