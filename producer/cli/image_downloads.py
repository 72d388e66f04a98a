"""`darkroom jobs download`: saves the images of jobs as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.bulk.job_selection import MAX_BULK_JOBS, JobSelection
from producer.cli.cancel_and_retry import Below, Ids, SelectionLimit, Where, read_selection
from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import print_data, print_json, print_message, stderr_console
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson
from shared.domain.counted import counted
from shared.domain.job import Job

if TYPE_CHECKING:
    from producer.results.image_files import SavedImage, WantedImage
    from shared.settings import Settings

_AT_ONCE = 4


def download(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder; made if needed.")],
    ids: Ids = None,
    where: Where = None,
    limit: SelectionLimit = MAX_BULK_JOBS,
    below: Below = None,
    as_json: AsJson = False,
) -> None:
    """Save images as files: of jobs by ids, or of all that match --where.

    A file that is there is not written over, so a repeated command fetches what is missing. Images
    come from the store of RESULTS_URL where it has them, else from Kie, which keeps them 14 days.
    """
    selection = read_selection(ids, where, limit, below)

    async def step(context: CommandContext) -> ExitCode:
        from producer.results.image_files import list_images

        jobs = await _find_jobs(context, selection)
        wanted = [image for job in jobs for image in list_images(job)]
        if wanted:
            to.mkdir(parents=True, exist_ok=True)
        saved = await _save_all(context, to, wanted)
        if as_json:
            print_json(*map(_to_json, saved))
        else:
            _report(saved)
        is_complete = all(one.outcome in {"saved", "kept"} for one in saved)
        return ExitCode.DONE if is_complete else ExitCode.ERROR

    run_connected(step)


async def _find_jobs(context: CommandContext, selection: JobSelection) -> Sequence[Job]:
    if selection.where is None:
        return [await context.producer.get(job_id) for job_id in selection.ids]
    return await context.producer.list(
        selection.where, limit=selection.limit, below=selection.below
    )


async def _save_all(
    context: CommandContext, folder: Path, wanted: Sequence[WantedImage]
) -> list[SavedImage]:
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from producer.results.image_files import ImageFiles
    from shared.adapters.http.image_download import ImageDownloader

    free = asyncio.Semaphore(_AT_ONCE)
    bar = Progress(
        TextColumn("images"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[size]}"),
        console=stderr_console(),
        disable=not stderr_console().is_terminal,
    )
    async with ImageDownloader(
        allow_loopback=_kie_is_local(context.settings), proxies=context.settings.outbound.proxies
    ) as downloader:
        files = ImageFiles(folder, context.producer.stored_images, downloader)
        with bar:
            task = bar.add_task("images", total=len(wanted), size="")
            total_bytes = 0

            async def save(one: WantedImage) -> SavedImage:
                nonlocal total_bytes
                async with free:
                    saved = await files.save(one)
                total_bytes += saved.bytes
                bar.update(task, advance=1, size=f"{total_bytes / 1e6:.1f} MB")
                return saved

            return list(await asyncio.gather(*map(save, wanted)))


def _kie_is_local(settings: Settings) -> bool:
    """Return whether Kie is simulated on this machine, which serves its images itself."""
    from shared.adapters.http.image_download import is_loopback_url

    is_bundled = settings.database_url is None and not settings.kie_keys
    return is_bundled or is_loopback_url(settings.kie_base_url)


def _report(saved: Sequence[SavedImage]) -> None:
    for one in saved:
        if one.outcome in {"saved", "kept"}:
            print_data(str(one.file))
        elif one.outcome == "different":
            print_message(f"{one.file} is another file, and is left as it is", "red")
        else:
            name = f"image {one.wanted.number} of job {one.wanted.job_id}"
            print_message(f"{name} was not saved: {one.error}", "red")
    new = [one for one in saved if one.outcome == "saved"]
    kept = sum(one.outcome == "kept" for one in saved)
    were = f", {kept} were there" if kept else ""
    size = sum(one.bytes for one in new) / 1e6
    print_message(f"{counted(len(new), 'image')} saved ({size:.1f} MB){were}")


def _to_json(one: SavedImage) -> dict[str, Any]:
    return {
        "job_id": str(one.wanted.job_id),
        "number": one.wanted.number,
        "outcome": one.outcome,
        "file": None if one.file is None else str(one.file),
        "bytes": one.bytes,
        "error": one.error,
    }
