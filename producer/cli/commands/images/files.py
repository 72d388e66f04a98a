"""`darkroom files`: upload images, show what was uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.text_format import printable, time_text
from producer.cli.options import AsJson

if TYPE_CHECKING:
    from producer.files.uploaded_file import UploadedFile

app = typer.Typer(no_args_is_help=True)


@app.command()
def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...")],
    account: Annotated[str, typer.Option(metavar="A", help="Whose jobs they are for.")],
    as_json: AsJson = False,
) -> None:
    """Upload images to Kie: prints their URLs, one per line. It costs nothing."""

    async def step(context: CommandContext) -> None:
        for path in paths:
            file = await context.producer.files.upload(path, account_id=account, field=str(path))
            _print_file(file, as_json=as_json)

    run_connected(step)


@app.command()
def show(file_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show an uploaded image: its URL, and until when it is served."""

    async def step(context: CommandContext) -> None:
        _print_file(await context.producer.get_file(file_id), as_json=as_json)

    run_connected(step)


def _print_file(file: UploadedFile, *, as_json: bool) -> None:
    if as_json:
        from producer.files.uploaded_file import file_to_json

        print_json(file_to_json(file))
        return
    print_data(printable(file.url))
    print_message(
        f"{file.id}: {file.content_type}, {file.width} by {file.height} pixels,"
        f" {file.bytes:,} bytes, served until {time_text(file.expires_at)}",
        "dim",
    )
