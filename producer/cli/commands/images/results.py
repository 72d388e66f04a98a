"""`darkroom results`: delete copies of images by age."""

from __future__ import annotations

from typing import Annotated

import typer

from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import print_data, print_json
from producer.cli.display.text_format import count_text, time_text
from producer.cli.options import AsJson, parse_duration
from producer.results.image_pruning import OldImages, old_images_to_json

app = typer.Typer(no_args_is_help=True, help="Delete old copies of images from the results store.")


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
                confirm_doubts([f"this deletes for good {_describe(old)}"], yes=yes)
            old = await pruning.prune(old.stored_before, actor=command_actor())
        if as_json:
            print_json(old_images_to_json(old, is_dry_run=dry_run))
        else:
            print_data(f"{'would delete' if dry_run else 'deleted'} {_describe(old)}")

    run_connected(step)


def _describe(old: OldImages) -> str:
    text = (
        f"{count_text(old.images, 'image')} of {count_text(old.jobs, 'job')}, {old.bytes:,} bytes,"
        f" stored before {time_text(old.stored_before)}"
    )
    return text if not old.left_over else f"{text}, and {old.left_over:,} left by earlier runs"
