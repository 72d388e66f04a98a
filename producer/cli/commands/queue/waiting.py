"""`darkroom queue waiting`: who waits, who is served next, and when the backlog ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import build_table, print_json, print_message, stdout_console
from producer.cli.display.text_format import NO_VALUE, duration_text, printable
from producer.cli.options import AsJson
from producer.list_pages import MAX_WAITING_LIMIT, WAITING_LIMIT
from producer.waiting.wait_texts import WAIT_REASONS
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.waiting.waiting_table import WaitingTable


def waiting(
    limit: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=MAX_WAITING_LIMIT, help="How many accounts at most."),
    ] = WAITING_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show which accounts wait, in the order in which they are served."""

    async def step(context: CommandContext) -> None:
        from producer.waiting.waiting_table import waiting_table, waiting_to_json

        found = waiting_table(await context.producer.waiting.snapshot(), limit)
        if as_json:
            print_json(waiting_to_json(found))
            return
        if found.accounts:
            stdout_console().print(_table(found))
        print_message(_summary(found))

    run_connected(step)


def _table(found: WaitingTable) -> Table:
    table = build_table(
        *("account", "priority", "waiting", "oldest", "weight", "share", "open"),
        "next start",
        right=("waiting", "oldest", "weight", "share", "open"),
        drop=("oldest", "open", "weight"),
    )
    for one in found.accounts:
        limit = NO_VALUE if one.max_open_jobs is None else f"{one.open_jobs}/{one.max_open_jobs}"
        start = (
            f"in {duration_text((one.next_start_at - found.at).total_seconds())}"
            if one.next_start_at is not None
            else WAIT_REASONS[one.wait_reason]
            if one.wait_reason
            else NO_VALUE
        )
        table.add_row(
            *(printable(one.account_id), one.priority, f"{one.waiting:,}"),
            *(duration_text(one.oldest_waiting_seconds), f"{one.weight:g}"),
            *(f"{one.share * 100:.1f} %", limit, start),
        )
    return table


def _summary(found: WaitingTable) -> str:
    # What an operator has paused is in the table and not in this number.
    is_paused = any(one.wait_reason == "paused" for one in found.accounts)
    others = " without a pause" if is_paused else ""
    text = counted(found.waiting, "job waits", "jobs wait") + others
    text += f", {counted(found.chosen, 'is', 'are')} chosen"
    if found.submits_per_second:
        text += f", {found.submits_per_second:.2g} submits/s expected"
    if found.ends_at is not None and found.waiting + found.chosen > 0:
        return (
            f"{text}, all submitted in {duration_text((found.ends_at - found.at).total_seconds())}"
        )
    return f"{text}; the end is {WAIT_REASONS[found.wait_reason]}" if found.wait_reason else text
