"""Runs several child processes, restarts those that end, and drains them on a stop signal."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from producer.cli.display.console import print_message
from producer.cli.display.text_format import duration_text
from producer.cli.processes.child_process import ChildProcess, Program
from producer.cli.processes.log_lines import LogLine, read_line
from shared.errors import ConfigurationError

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0
"""A process that ran this long before it ended is restarted after the shortest pause."""
_CONFIGURATION_CODE = 1


class ProcessSupervisor:
    """Runs programs in parallel, and restarts a program that ends."""

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
        self._children: dict[str, ChildProcess] = {}
        self._ready: set[str] = set()
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event, kill_now: asyncio.Event) -> None:
        """Run all programs until `stop` is set, then drain them. `kill_now` ends the drain.

        Raises `ConfigurationError` if a program ends with a configuration error before it is ready,
        because a restart would not help.
        """
        runners = [asyncio.create_task(self._run_program(program)) for program in self._programs]
        stopped = asyncio.create_task(_wait_for(stop))
        try:
            done, _ = await asyncio.wait({stopped, *runners}, return_when="FIRST_COMPLETED")
            failed = [task for task in runners if task in done]
            await self._drain(kill_now)
            for task in failed:
                task.result()
        finally:
            self._stopping.set()
            for task in (stopped, *runners):
                task.cancel()
            await asyncio.gather(stopped, *runners, return_exceptions=True)
            for child in self._children.values():
                child.send(signal.SIGKILL)

    async def _run_program(self, program: Program) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            child = await ChildProcess.start(
                program, lambda text: self._handle_line(program.name, text)
            )
            self._children[program.name] = child
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == _CONFIGURATION_CODE and program.name not in self._ready:
                raise ConfigurationError(
                    f"{program.name} does not start; fix the error above and start again"
                )
            if time.monotonic() - began > _STABLE_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            print_message(
                f"{program.name} ended with code {code}; starting it again in"
                f" {duration_text(pause_seconds)}",
                "bold red",
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._stopping.wait()
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _handle_line(self, name: str, text: str) -> None:
        line = read_line(name, text)
        if line.started_at is not None:
            self._ready.add(name)
        self._on_line(line)

    async def _drain(self, kill_now: asyncio.Event) -> None:
        self._stopping.set()
        running = [child for child in self._children.values() if child.is_running]
        if not running:
            return
        print_message(
            f"stopping; work in flight may take up to {duration_text(self._drain_seconds)}"
        )
        stops = [asyncio.create_task(child.stop(self._drain_seconds)) for child in running]
        kill_requested = asyncio.create_task(kill_now.wait())
        pending: set[asyncio.Task[bool]] = set(stops)
        while pending and not kill_now.is_set():
            done, _ = await asyncio.wait({kill_requested, *pending}, return_when="FIRST_COMPLETED")
            pending = {task for task in pending if task not in done}
        kill_requested.cancel()
        if pending:
            for child in running:
                child.send(signal.SIGKILL)
        for child, stopped_in_time in zip(running, await asyncio.gather(*stops), strict=True):
            if not stopped_in_time:
                print_message(
                    f"{child.program.name} did not stop in time and was killed", "bold red"
                )


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
