"""Runs the `darkroom` executable and reads its output, from pipes or from a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forked_programs import DARKROOM, Process, start_program

WAIT_SECONDS = 30.0
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class CommandOutput:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every line of stdout as a JSON object."""
        return [json.loads(line) for line in self.lines]

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object of stdout."""
        [value] = self.objects
        return value


class RunningCommand:
    """A running command, whose stderr is read continuously."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.err = ""
        self._has_ended = False
        self._wake_up = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(4096):
            self.err += piece.decode(errors="replace")
            self._wake_up.set()
        self._has_ended = True
        self._wake_up.set()

    async def wait_for_text(self, *texts: str) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not all(text in self.err for text in texts):
                    assert not self._has_ended, f"it ended before it said so:\n{self.err}"
                    self._wake_up.clear()
                    await self._wake_up.wait()
        except TimeoutError:
            raise AssertionError(f"{texts} were not all said:\n{self.err}") from None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return await self.end()

    async def end(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            code = await self.process.wait()
            await self._reading
        return code


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, process: Process, master: int) -> None:
        self.process = process
        self._master = master
        self._wake_up = asyncio.Event()
        self.raw = ""
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return _ESCAPE.sub("", self.raw)

    def _read(self) -> None:
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the other end was closed
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += piece.decode(errors="replace")
        self._wake_up.set()

    async def until_it_shows(self, text: str, times: int = 1) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.text.count(text) < times:
                    self._wake_up.clear()
                    await self._wake_up.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown:\n{self.text}") from None

    async def press_ctrl_c(self) -> int:
        """Interrupt it, as the terminal would, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.end()

    async def end(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


class Darkroom:
    """The command line in one environment."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.environ = dict(environ)
        self.directory = directory

    def elsewhere(self, **changes: str | None) -> Darkroom:
        """Return the same command line with changes to its environment; None removes."""
        changed = {**self.environ, **{name: value for name, value in changes.items() if value}}
        for name in (name for name, value in changes.items() if value is None):
            changed.pop(name, None)
        return Darkroom(changed, self.directory)

    async def run(self, *words: str) -> CommandOutput:
        """Run one command to its end; whatever it says, it is never a traceback."""
        process = await self._start(*words, out=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        said = CommandOutput(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in said.err + said.out, said.err
        return said

    async def run_all(self, *commands: tuple[str, ...]) -> list[CommandOutput]:
        """Run commands that do not depend on each other side by side."""
        return list(await asyncio.gather(*(self.run(*words) for words in commands)))

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[RunningCommand]:
        """Start a command that runs until it is stopped."""
        process = await self._start(*words, out=asyncio.subprocess.DEVNULL)
        running = RunningCommand(process)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await running.end()

    @asynccontextmanager
    async def on_terminal(self, *words: str, columns: int = 120) -> AsyncIterator[Terminal]:
        """Start a command on a terminal."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = await self._start(*words, out=slave, err=slave)
        os.close(slave)
        terminal = Terminal(process, master)
        try:
            yield terminal
        finally:
            if process.returncode is None:
                process.kill()
            await terminal.end()
            terminal.close()

    async def _start(self, *words: str, out: int, err: int = asyncio.subprocess.PIPE) -> Process:
        return await start_program(
            DARKROOM, *words, env=self.environ, cwd=self.directory, stdout=out, stderr=err
        )
