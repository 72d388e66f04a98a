"""`darkroom prune`: delete data of ended jobs by age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.command_runner import DatabaseContext, command_actor, run_with_database
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import build_table, print_json, print_message, stdout_console
from producer.cli.display.text_format import NO_VALUE, time_text
from producer.cli.options import AsJson
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.retention.pruning import Prunable
    from shared.retention import RetentionDays

_PROGRESS_ROWS = 10_000
_ROWS = {
    "events": "events",
    "callbacks": "callbacks",
    "webhooks": "webhook messages",
    "prompts": "requests",
    "jobs": "jobs, to their state and money",
}


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is old enough, by kind, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed off a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete data of jobs that ended longer ago than the RETENTION settings say, for good.

    Workers do the same by themselves. Ledger, attempts, prices and audit entries stay for ever.
    Copies of images have a command of their own: darkroom results prune.
    """

    async def step(context: DatabaseContext) -> None:
        from producer.retention.pruning import Pruning, prunable_to_json

        pruning = Pruning(context.database)
        days = context.settings.retention
        found = await pruning.preview(days)
        if not as_json:
            _print_found(found, days)
        pruned: dict[str, int] = {}
        if not dry_run:
            confirm_doubts(_doubts(found), yes=yes)
            pruned = await pruning.prune(
                days, actor=command_actor(), on_batch=None if as_json else _Progress().add
            )
        if as_json:
            kinds = [
                {**prunable_to_json(one), "days": days[one.kind], "pruned": pruned.get(one.kind, 0)}
                for one in found
            ]
            erased = {"prompts_erased": pruned.get("erasures", 0)}
            print_json({"dry_run": dry_run, "kinds": kinds, **erased})
        elif not dry_run:
            print_message(f"deleted: {_pruned_text(pruned)}")

    run_with_database(step)


class _Progress:
    """Prints a line after each 10,000 rows."""

    def __init__(self) -> None:
        self._pruned: dict[str, int] = {}
        self._printed = 0

    def add(self, kind: str, rows: int) -> None:
        self._pruned[kind] = self._pruned.get(kind, 0) + rows
        total = sum(self._pruned.values())
        if total - self._printed >= _PROGRESS_ROWS:
            self._printed = total
            print_message(f"deleted so far: {_pruned_text(self._pruned)}")


def _print_found(found: Sequence[Prunable], days: RetentionDays) -> None:
    from shared.retention import FOREVER, RetentionKind

    table = build_table(
        *("kind", "kept days", "older", "of jobs", "still needed", "oldest end"),
        right=("kept days", "older", "of jobs", "still needed"),
    )
    by_kind = {one.kind: one for one in found}
    for kind in RetentionKind:
        one = by_kind.get(kind)
        if one is None:
            table.add_row(kind.value, FOREVER, *(NO_VALUE,) * 4)
            continue
        oldest = time_text(one.oldest_at) if one.oldest_at else NO_VALUE
        counts = (f"{one.rows:,}", f"{one.jobs:,}", f"{one.held_back:,}")
        table.add_row(kind.value, str(days[kind]), *counts, oldest)
    stdout_console().print(table)


def _doubts(found: Sequence[Prunable]) -> list[str]:
    parts = [f"{one.rows:,} {_ROWS[one.kind]}" for one in found if one.rows]
    return [f"this deletes for good {', '.join(parts)}"] if parts else []


def _pruned_text(pruned: dict[str, int]) -> str:
    parts = [
        f"{count:,} {_ROWS[kind]}" if kind in _ROWS else f"the prompts of {counted(count, 'job')}"
        for kind, count in pruned.items()
        if count
    ]
    return ", ".join(parts) or "nothing"
