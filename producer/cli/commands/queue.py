"""`darkroom queue`: what an operator needs first, once or every second."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Protocol

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from producer.cli.command_runner import Desk, open_desk, run
from producer.cli.display.console import data_console, put, put_json, say
from producer.cli.display.queue_overview import QueueView, read_view
from producer.cli.display.queue_tables import queue_line, queue_page, view_to_json
from producer.cli.display.text_format import printable
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson
from shared.errors import DependencyDown, PostgresDown
from shared.settings import Settings

WATCH_SECONDS = 1.0
WATCH_SECONDS_UNWATCHED = 5.0
READ_SECONDS = 5.0


def queue(
    watch: Annotated[
        bool, typer.Option("--watch", help="Every second, until Ctrl-C; survives outages.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queue: depth, oldest, in flight, rates, money, failures."""

    async def step(settings: Settings) -> ExitCode:
        if watch:
            await _watch(settings, as_json=as_json)
        async with open_desk(settings) as desk:
            view = await read_view(desk, datetime.now(UTC))
        if as_json:
            put_json(view_to_json(view))
        else:
            data_console().print(queue_page(view))
        if view.redis_error is not None:
            say(printable(view.redis_error), "red")
            return ExitCode.DEPENDENCY_DOWN
        return ExitCode.DONE

    run(step)


class _Face(Protocol):
    """What a watch is shown on."""

    def show(self, view: QueueView) -> None: ...

    def show_error(self, error: str, now: datetime) -> None: ...


class _JsonFace:
    def show(self, view: QueueView) -> None:
        put_json(view_to_json(view))

    def show_error(self, error: str, now: datetime) -> None:
        say(f"{now:%H:%M:%S}Z {printable(error)}", "red")


class _LineFace(_JsonFace):
    def show(self, view: QueueView) -> None:
        put(queue_line(view))


class _LiveFace:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._last: RenderableType = Text("nothing was read yet", style="dim")

    def show(self, view: QueueView) -> None:
        self._last = queue_page(view)
        self._live.update(self._last, refresh=True)

    def show_error(self, error: str, now: datetime) -> None:
        told = Text(f"{now:%H:%M:%S}Z {printable(error)}; trying again", style="bold red")
        self._live.update(Group(told, "", self._last), refresh=True)


@contextmanager
def _open_face(*, as_json: bool) -> Iterator[_Face]:
    if as_json:
        yield _JsonFace()
    elif sys.stdout.isatty():
        with Live(console=data_console(), auto_refresh=False, screen=False) as live:
            yield _LiveFace(live)
    else:
        yield _LineFace()


async def _watch(settings: Settings, *, as_json: bool) -> None:
    """Show the queue again and again; a server that is away is shown, and looked for again."""
    pause_seconds = WATCH_SECONDS if sys.stdout.isatty() else WATCH_SECONDS_UNWATCHED
    with _open_face(as_json=as_json) as face:
        while True:
            try:
                async with open_desk(settings) as desk:
                    await _keep_reading(desk, face, pause_seconds)
            except DependencyDown as error:
                face.show_error(str(error), datetime.now(UTC))
            await asyncio.sleep(pause_seconds)


async def _keep_reading(desk: Desk, face: _Face, pause_seconds: float) -> None:
    while True:
        now = datetime.now(UTC)
        try:
            async with asyncio.timeout(READ_SECONDS):
                view = await read_view(desk, now)
        except TimeoutError:
            face.show_error(f"Postgres gave no answer within {READ_SECONDS:g} s", now)
        except PostgresDown as error:
            face.show_error(str(error), now)
        else:
            face.show(view)
        await asyncio.sleep(pause_seconds)
