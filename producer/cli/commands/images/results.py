"""`darkroom results`: delete copies of images by age, and have failed copies tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from producer.bulk.job_selection import MAX_BULK_JOBS
from producer.cli.cancel_and_retry import Ids, Where, read_selection
from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.text_format import time_text
from producer.cli.options import AsJson, parse_duration
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.results.image_pruning import OldImages

app = typer.Typer(no_args_is_help=True)


@app.command()
def retry(
    ids: Ids = None,
    where: Where = None,
    every: Annotated[bool, typer.Option("--all", help="Those of every job.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have failed copies of images tried again at once, and for another day.

    Those given up after a day, and those that wait for their next try. Nothing is charged.
    """
    if [bool(ids), bool(where), every].count(True) != 1:
        raise typer.BadParameter("say ID..., --where FILTER=VALUE, or --all")
    selection = None if every else read_selection(ids, where, MAX_BULK_JOBS, None)

    async def step(context: CommandContext) -> None:
        retries = context.producer.image_retries
        if selection is None:
            retried = await retries.retry_all(actor=command_actor())
        else:
            retried = await retries.retry(selection, actor=command_actor())
        if as_json:
            from producer.results.image_retries import retried_images_to_json

            print_json(retried_images_to_json(retried))
            return
        text = f"{counted(retried.images, 'image')} of {counted(retried.jobs, 'job')}"
        print_data(f"tried again now: {text}")
        if retried.expired:
            gone = counted(retried.expired, "image")
            print_message(f"{gone} not copied in 14 days: Kie has deleted them", "yellow")

    run_connected(step)


@app.command()
def prune(
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="AGE",
            parser=parse_duration,
            help="Copies that were stored longer ago, such as 90d.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many and how large they are, and stop.")
    ] = False,
    accept_missing: Annotated[
        bool,
        typer.Option(
            "--accept-missing",
            help="Even if the store has none of the newest copies: those it lacks are lost.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed off a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete copies of images and their thumbnails by age, for good.

    Needs RESULTS_URL as the workers have it. Jobs and charges stay as they are.
    """

    async def step(context: CommandContext) -> None:
        pruning = context.producer.image_pruning
        old = await pruning.preview(older_than)
        if not dry_run:
            if old.images:
                doubts = [f"this deletes for good {_describe(old)}"]
                if accept_missing:
                    doubts.append("copies that the store lacks count as deleted")
                confirm_doubts(doubts, yes=yes)
            old = await pruning.prune(
                old.stored_before, actor=command_actor(), accept_missing=accept_missing
            )
        if as_json:
            from producer.results.image_pruning import old_images_to_json

            print_json(old_images_to_json(old, is_dry_run=dry_run))
        else:
            print_data(f"{'would delete' if dry_run else 'deleted'} {_describe(old)}")

    run_connected(step)


def _describe(old: OldImages) -> str:
    text = (
        f"{counted(old.images, 'image')} of {counted(old.jobs, 'job')}, {old.bytes:,} bytes,"
        f" stored before {time_text(old.stored_before)}"
    )
    return text if not old.left_over else f"{text}, and {old.left_over:,} left by earlier runs"
