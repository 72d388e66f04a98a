"""Starts a child process in its own process group, reads its lines, and stops it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.adapters.embedded.host import exec_wrapper

OnLine = Callable[[str], None]

_LONGEST_LINE_BYTES = 1024 * 1024
_NO_CHANGE = "-1"


@dataclass(frozen=True, slots=True)
class Program:
    """A Darkroom program to run as a child."""

    name: str
    arguments: Sequence[str]
    """The arguments of `python`, such as `-m worker`."""
    environ: Mapping[str, str]
    directory: Path = field(default_factory=Path.cwd)


class ChildProcess:
    """A running program, which Ctrl-C does not reach.

    On Linux, it gets SIGTERM when its parent ends.
    """

    def __init__(
        self, program: Program, process: asyncio.subprocess.Process, on_line: OnLine
    ) -> None:
        self.program = program
        self._process = process
        self._reading = asyncio.create_task(self._read(on_line))

    @classmethod
    async def start(cls, program: Program, on_line: OnLine) -> ChildProcess:
        """Start the program. `on_line` is called with each line that it writes."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", exec_wrapper.__file__),
            *(str(os.getpid()), str(int(signal.SIGTERM)), _NO_CHANGE, _NO_CHANGE),
            *(sys.executable, *program.arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(program.environ),
            cwd=program.directory,
            start_new_session=True,
            limit=_LONGEST_LINE_BYTES,
        )
        return cls(program, process, on_line)

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait until the process has ended and its lines are read. Return its exit code."""
        code = await self._process.wait()
        await self._reading
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is running."""
        if self.is_running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout_seconds: float) -> bool:
        """Send SIGTERM and wait, and kill the process after the timeout.

        Returns whether it ended before the timeout.
        """
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
            return False
        return True

    async def _read(self, on_line: OnLine) -> None:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:  # the line is longer than the limit, and is dropped
                continue
            if not line:
                return
            on_line(line.decode(errors="replace").rstrip("\n"))
