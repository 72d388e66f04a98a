"""How long data is kept, what is older, and its deletion."""

from __future__ import annotations

from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.retention.pruning import PRUNE_SECONDS, Prunable
from shared.domain.counted import counted
from shared.errors import Fault, InvalidRequest
from shared.retention import RetentionKind

PATH = f"{CONSOLE}/retention"


async def show_retention(call: PageCall) -> PageView:
    """Show each kind of data with its days, and what is older."""
    found = await _preview(call)
    values = {
        "days": call.context.api.retention,
        "kinds": list(RetentionKind),
        "found": found,
        "rows": sum(one.rows for one in found.values()),
    }
    return PageView("retention.html", values)


async def ask_prune(call: PageCall) -> PageView:
    """Show what a prune deletes, and ask for the number of its rows."""
    found = await _preview(call)
    values = {
        "found": found,
        "days": call.context.api.retention,
        "rows": sum(one.rows for one in found.values()),
    }
    return PageView("retention_prune.html", values)


async def prune(call: PageCall) -> Redirect:
    """Delete what is older than its days, as far as a few seconds allow."""
    shown = call.form.get("shown", "")
    is_number = shown.isascii() and shown.isdigit() and len(shown) <= 18
    if not is_number or call.form.get("rows", "").replace(",", "") != shown:
        wanted = shown if is_number else "the number"
        raise InvalidRequest([Fault("rows", f"type {wanted} to confirm")])
    pruned = await call.producer.pruning.prune(
        call.context.api.retention, actor=call.actor, within_seconds=PRUNE_SECONDS
    )
    parts = [f"{count:,} {kind}" for kind, count in pruned.items() if count]
    left = sum(one.rows for one in (await _preview(call)).values())
    notice = f"Deleted: {', '.join(parts) or 'nothing'}."
    return Redirect(
        PATH,
        f"{notice} {counted(left, 'row is', 'rows are')} left: prune again." if left else notice,
    )


async def _preview(call: PageCall) -> dict[RetentionKind, Prunable]:
    found = await call.producer.pruning.preview(call.context.api.retention)
    return {one.kind: one for one in found}
