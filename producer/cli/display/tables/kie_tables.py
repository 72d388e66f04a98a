"""Tables of what Kie says of its models and prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from producer.cli.display.console import build_table
from producer.cli.display.text_format import (
    NO_VALUE,
    credits_text,
    printable,
    task_quantity_text,
    time_text,
)
from producer.monitoring.kie_models import (
    ComparedPrice,
    KieModelHealth,
    KieSurprise,
    PriceVerdict,
)

_VERDICTS: dict[PriceVerdict, str | Text] = {
    PriceVerdict.AGREES: "agrees",
    PriceVerdict.MOVED: Text("moved", style="bold red"),
    PriceVerdict.UNCONFIRMED: "not confirmed",
    PriceVerdict.NOT_ASKED: "not asked yet",
}


def build_model_table(models: Sequence[KieModelHealth]) -> Table:
    """Return one line for each model."""
    table = build_table(
        *("at Kie", "used by", "state", "credits", "success", "usual", "asked"),
        right=("credits", "success", "usual"),
        drop=("usual", "asked", "success"),
    )
    for one in models:
        table.add_row(
            printable(one.kie_model),
            printable(one.family),
            _state_text(one),
            _credits_list(one.price_credits),
            _percent_text(one.success_percent),
            _percent_text(one.usual_success_percent),
            time_text(one.checked_at),
        )
    return table


def build_price_comparison(prices: Sequence[ComparedPrice]) -> Table:
    """Return one line for each price."""
    table = build_table(
        *("price of", "credits", "Kie's, kept here", "Kie says", ""),
        right=("credits", "Kie's, kept here", "Kie says"),
        drop=("credits",),
    )
    for one in prices:
        table.add_row(
            printable(f"{one.model} {task_quantity_text(one.task, one.quantity, one.variant)}"),
            credits_text(one.credits),
            credits_text(one.provider_credits),
            _credits_list(one.kie_credits),
            _VERDICTS[one.verdict],
        )
    return table


def build_surprise_table(surprises: Sequence[KieSurprise]) -> Table:
    """Return one line for each surprise."""
    table = build_table(
        "day",
        "used by",
        "kind",
        "value",
        "seen",
        "last",
        right=("seen",),
        drop=("last",),
        sentences=("value",),
    )
    for one in surprises:
        table.add_row(
            *(one.day.isoformat(), printable(one.family), one.kind, printable(one.value)),
            *(f"{one.seen:,}", time_text(one.last_seen_at)),
        )
    return table


def _state_text(model: KieModelHealth) -> str | Text:
    if not model.is_listed:
        return Text("not listed any more", style="bold red")
    if model.missing_parts:
        return Text(f"differs: {printable(', '.join(model.missing_parts))}", style="bold red")
    return "as known"


def _credits_list(credits: Sequence[Decimal]) -> str:
    return ", ".join(map(credits_text, credits)) or NO_VALUE


def _percent_text(percent: Decimal | None) -> str:
    return NO_VALUE if percent is None else f"{percent:f} %"
