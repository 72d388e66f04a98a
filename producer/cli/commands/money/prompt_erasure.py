"""What `darkroom accounts erase-prompts` asks, does and prints."""

from __future__ import annotations

from typing import Any

from producer.cli.command_runner import DatabaseContext, command_actor
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import NO_VALUE, printable, time_text
from producer.retention.prompt_erasure import PromptErasures, StoredPrompts, erasure_to_json
from shared.domain.counted import counted

_PROGRESS_JOBS = 10_000


async def erase_and_print(
    context: DatabaseContext,
    account_id: str,
    reason: str | None,
    *,
    is_dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Say of how many jobs prompts are erased, ask, erase them, and print how far that is."""
    erasures = PromptErasures(context.database)
    stored = await erasures.preview(account_id)
    ended, still_open = counted(stored.ended, "ended job"), counted(stored.open, "open job")
    what = (
        f"the prompts and links of images of {ended} of {printable(account_id)} for good, and of"
        f" {still_open} when they end"
    )
    advice = [stored.copies_advice] if stored.copies_advice else []
    if is_dry_run:
        if as_json:
            print_json(_preview_to_json(stored))
        else:
            print_data("\n".join([f"would erase {what}", *advice]))
        return
    confirm_doubts([f"this erases {what}", *advice], yes=yes)
    erased = printed = 0

    def add(jobs: int) -> None:
        nonlocal erased, printed
        erased += jobs
        if erased - printed >= _PROGRESS_JOBS and not as_json:
            printed = erased
            print_message(f"erased so far: of {counted(erased, 'job')}")

    erasure = await erasures.erase(account_id, reason=reason, actor=command_actor(), on_batch=add)
    if as_json:
        print_json({"dry_run": False, **erasure_to_json(erasure)})
        return
    print_data(f"erased the prompts and links of images of {counted(erasure.jobs, 'job')}")
    if erasure.copies_advice:
        print_message(erasure.copies_advice, "yellow")
    if erasure.waiting:
        print_message(
            f"{counted(erasure.waiting, 'job')} open or with something still to send: workers"
            " erase them when they end",
            "yellow",
        )


def _preview_to_json(stored: StoredPrompts) -> dict[str, Any]:
    return {
        "dry_run": True,
        "account_id": stored.account_id,
        "jobs": stored.ended,
        "waiting": stored.open,
        "copies": stored.copies,
        "copies_advice": stored.copies_advice,
    }


async def print_erasures(
    context: DatabaseContext, account_id: str, limit: int, *, as_json: bool
) -> None:
    """Print the erasures of an account and how far each is."""
    erasures = await PromptErasures(context.database).of_account(account_id, limit=limit)
    if as_json:
        print_json(*(erasure_to_json(erasure) for erasure in erasures))
        return
    figures = ("jobs erased", "waiting", "copies to delete")
    table = build_table("requested", *figures, "ended", right=figures)
    for erasure in erasures:
        table.add_row(
            time_text(erasure.requested_at),
            f"{erasure.jobs:,}",
            f"{erasure.waiting:,}",
            f"{erasure.copies_to_delete:,}",
            time_text(erasure.ended_at) if erasure.ended_at else NO_VALUE,
        )
    stdout_console().print(table)
    if erasures and erasures[0].copies_advice:
        print_message(erasures[0].copies_advice, "yellow")
