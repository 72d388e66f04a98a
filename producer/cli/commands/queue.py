"""`darkroom queue`: print the queue overview, once or every second."""

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

from producer.cli.command_runner import CommandContext, open_command_context, run
from producer.cli.display.console import print_data, print_json, print_message, stdout_console
from producer.cli.display.queue_tables import queue_line, queue_overview_view
from producer.cli.display.text_format import printable
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson
from producer.monitoring.overview import Overview, overview_to_json
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
        async with open_command_context(settings) as context:
            view = await context.producer.overview()
        if as_json:
            print_json(overview_to_json(view))
        else:
            stdout_console().print(queue_overview_view(view))
        if view.redis_error is not None:
            print_message(printable(view.redis_error), "red")
            return ExitCode.DEPENDENCY_DOWN
        return ExitCode.DONE

    run(step)


class _WatchDisplay(Protocol):
    """The output of `--watch`."""

    def show(self, view: Overview) -> None: ...

    def show_error(self, error: str, now: datetime) -> None: ...


class _JsonDisplay:
    def show(self, view: Overview) -> None:
        print_json(overview_to_json(view))

    def show_error(self, error: str, now: datetime) -> None:
        print_message(f"{now:%H:%M:%S}Z {printable(error)}", "red")


class _LineDisplay(_JsonDisplay):
    def show(self, view: Overview) -> None:
        print_data(queue_line(view))


class _LiveDisplay:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._last: RenderableType = Text("nothing was read yet", style="dim")

    def show(self, view: Overview) -> None:
        self._last = queue_overview_view(view)
        self._live.update(self._last, refresh=True)

    def show_error(self, error: str, now: datetime) -> None:
        message = Text(f"{now:%H:%M:%S}Z {printable(error)}; trying again", style="bold red")
        self._live.update(Group(message, "", self._last), refresh=True)


@contextmanager
def _open_watch_display(*, as_json: bool) -> Iterator[_WatchDisplay]:
    if as_json:
        yield _JsonDisplay()
    elif sys.stdout.isatty():
        with Live(console=stdout_console(), auto_refresh=False, screen=False) as live:
            yield _LiveDisplay(live)
    else:
        yield _LineDisplay()


async def _watch(settings: Settings, *, as_json: bool) -> None:
    """Show the queue repeatedly. If a server is down, show the error and connect again."""
    pause_seconds = WATCH_SECONDS if sys.stdout.isatty() else WATCH_SECONDS_UNWATCHED
    with _open_watch_display(as_json=as_json) as display:
        while True:
            try:
                async with open_command_context(settings) as context:
                    await _keep_reading(context, display, pause_seconds)
            except DependencyDown as error:
                display.show_error(str(error), datetime.now(UTC))
            await asyncio.sleep(pause_seconds)


async def _keep_reading(
    context: CommandContext, display: _WatchDisplay, pause_seconds: float
) -> None:
    while True:
        now = datetime.now(UTC)
        try:
            async with asyncio.timeout(READ_SECONDS):
                view = await context.producer.overview()
        except TimeoutError:
            display.show_error(f"Postgres gave no answer within {READ_SECONDS:g} s", now)
        except PostgresDown as error:
            display.show_error(str(error), now)
        else:
            display.show(view)
        await asyncio.sleep(pause_seconds)
