"""Keeps a crew of child processes running until told to stop, then lets them drain."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from producer.cli.display.console import say
from producer.cli.display.text_format import seconds_text
from producer.cli.processes.child_process import Child, Program
from producer.cli.processes.log_lines import LogLine, read_line
from shared.errors import ConfigurationError

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""A process that ran this long before it died is started again without a growing pause."""
_CONFIGURATION_CODE = 1


class Crew:
    """Programs that run side by side; one that dies is started again."""

    def __init__(
        self,
        programs: Iterable[Program],
        *,
        on_line: Callable[[LogLine], None],
        drain_seconds: float,
    ) -> None:
        self._programs = tuple(programs)
        self._on_line = on_line
        self._drain_seconds = drain_seconds
        self._children: dict[str, Child] = {}
        self._ready: set[str] = set()
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Run all until `stop` is set, then drain them; `hurry` kills what still drains.

        Raises `ConfigurationError` where a program refuses to start at all: no restart mends that.
        """
        keepers = [asyncio.create_task(self._keep(program)) for program in self._programs]
        stopped = asyncio.create_task(_wait_for(stop))
        try:
            done, _ = await asyncio.wait({stopped, *keepers}, return_when="FIRST_COMPLETED")
            failed = [task for task in keepers if task in done]
            await self._drain(hurry)
            for task in failed:
                task.result()
        finally:
            self._stopping.set()
            for task in (stopped, *keepers):
                task.cancel()
            await asyncio.gather(stopped, *keepers, return_exceptions=True)
            for child in self._children.values():
                child.send(signal.SIGKILL)

    async def _keep(self, program: Program) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            child = await Child.start(program, lambda text: self._hear(program.name, text))
            self._children[program.name] = child
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == _CONFIGURATION_CODE and program.name not in self._ready:
                raise ConfigurationError(
                    f"{program.name} does not start; mend what it says above and start again"
                )
            if time.monotonic() - began > _STEADY_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            say(
                f"{program.name} ended with code {code}; starting it again in"
                f" {seconds_text(pause_seconds)}",
                "bold red",
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._stopping.wait()
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _hear(self, name: str, text: str) -> None:
        line = read_line(name, text)
        if line.started_at is not None:
            self._ready.add(name)
        self._on_line(line)

    async def _drain(self, hurry: asyncio.Event) -> None:
        self._stopping.set()
        running = [child for child in self._children.values() if child.is_running]
        if not running:
            return
        say(f"stopping; work in flight may take up to {seconds_text(self._drain_seconds)}")
        stops = [asyncio.create_task(child.stop(self._drain_seconds)) for child in running]
        hurried = asyncio.create_task(hurry.wait())
        pending: set[asyncio.Task[bool]] = set(stops)
        while pending and not hurry.is_set():
            done, _ = await asyncio.wait({hurried, *pending}, return_when="FIRST_COMPLETED")
            pending = {task for task in pending if task not in done}
        hurried.cancel()
        if pending:
            for child in running:
                child.send(signal.SIGKILL)
        for child, obeyed in zip(running, await asyncio.gather(*stops), strict=True):
            if not obeyed:
                say(f"{child.program.name} did not stop in time and was killed", "bold red")


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
