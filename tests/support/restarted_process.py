"""Runs a program, restarts it when it dies, and records its deaths."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

_LONGEST_LINE_BYTES = 1 << 20
_AFTER_A_REFUSED_START_SECONDS = 0.2
_STOP_SECONDS = 50.0
_EVENT_LENGTH = 80
_LOUD = (b'"level": "error"', b'"level": "critical"')


@dataclass(frozen=True, slots=True)
class Death:
    """A death of the process. `point` is the crash point if it killed itself."""

    at_epoch: float
    role: str
    pid: int
    point: str | None = None


class RestartedProcess:
    """A program that is restarted when it dies. Call `run` as a task, then `stop`."""

    def __init__(
        self,
        role: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        started_word: str,
        folder: Path,
    ) -> None:
        self.role = role
        self.deaths: list[Death] = []
        self.lives: list[tuple[float, float]] = []
        """From when to when (epoch) it was up, for each start that came so far."""
        self.starts = 0
        self.refused_starts = 0
        self.loud_lines: Counter[str] = Counter()
        """Lines of level error and critical, by event."""
        self.next_environ: dict[str, str] = {}
        """For the next start only."""
        self.has_finished = False
        self._arguments = arguments
        self._environ = dict(environ)
        self._started_word = started_word.encode()
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._is_up = False
        self._up_at = 0.0
        self._point: str | None = None
        self._died_at = 0.0
        self._stopping = False

    @property
    def is_up(self) -> bool:
        """Whether it has logged its start, and runs."""
        return self._is_up and self._process is not None and self._process.returncode is None

    @property
    def process_id(self) -> int:
        """The id of the running process, or 0."""
        return self._process.pid if self._process is not None and self.is_up else 0

    @property
    def is_in_a_drill(self) -> bool:
        """Whether it will kill itself at a crash point."""
        return self._point is not None

    async def run(self) -> None:
        """Start it, and restart it when it dies, until it ends normally or is stopped."""
        while not self._stopping and not self.has_finished:
            code = await self._run_once()
            if code not in (0, -signal.SIGKILL) and not self._stopping:
                # A server was away, so it refused to start; an orchestrator would try again.
                self.refused_starts += 1
                if self._point is not None:
                    self.next_environ = {"DARKROOM_CRASH_AT": self._point}
                await asyncio.sleep(_AFTER_A_REFUSED_START_SECONDS)

    async def _run_once(self) -> int:
        extra, self.next_environ = self.next_environ, {}
        self._point = extra.get("DARKROOM_CRASH_AT")
        self.starts += 1
        process = await asyncio.create_subprocess_exec(
            *self._arguments,
            env={**self._environ, **extra},
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE_BYTES,
        )
        self._process, self._died_at, self._up_at = process, 0.0, 0.0
        with (self._folder / f"{self.role.replace(' ', '-')}.log").open("ab", buffering=0) as log:
            assert process.stderr is not None
            async for line in process.stderr:
                log.write(line)
                self._hear(line)
        code = await process.wait()
        self._is_up = False
        self._note_end(process.pid, code)
        return code

    def _note_end(self, pid: int, code: int) -> None:
        if self._up_at > 0:
            self.lives.append((self._up_at, self._died_at or time.time()))
        if code == 0:
            self.has_finished = True
        if code == -signal.SIGKILL:
            was_ours = self._died_at > 0
            at_epoch = self._died_at or time.time()
            point = None if was_ours else self._point
            self.deaths.append(Death(at_epoch, self.role, pid, point))

    def _hear(self, line: bytes) -> None:
        if not self._is_up and self._started_word in line:
            self._is_up, self._up_at = True, time.time()
        if any(level in line for level in _LOUD):
            self.loud_lines[_event_of(line)] += 1

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            self._died_at = time.time()
            self._is_up = False
            self._process.kill()

    def send(self, number: signal.Signals) -> int | None:
        """Send a signal, and return the process id, or None if it does not run."""
        if self._process is None or self._process.returncode is not None:
            return None
        self._process.send_signal(number)
        return self._process.pid

    def leave(self) -> None:
        """Record that it runs but cannot work: it is frozen or cut off."""
        if self._up_at > 0:
            self.lives.append((self._up_at, time.time()))
            self._up_at = 0.0

    def come_back(self) -> None:
        """Record that it can work again."""
        if self._is_up and self._up_at == 0:
            self._up_at = time.time()

    def thaw(self, pid: int) -> None:
        """Resume it if it is still the process with that id."""
        if self._process is not None and self._process.pid == pid:
            self.send(signal.SIGCONT)

    async def stop(self) -> None:
        """Stop it by SIGTERM, or by SIGKILL if it does not end."""
        self._stopping = True
        self.send(signal.SIGCONT)
        if self.send(signal.SIGTERM) is None or self._process is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        self.kill()


def _event_of(line: bytes) -> str:
    """Return the event of a log line, with its error if it has one."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode(errors="replace")[:_EVENT_LENGTH]
    event = str(said.get("event")).splitlines()[0][:_EVENT_LENGTH]
    trace = str(said.get("exception") or "").strip().splitlines()
    return f"{event}: {trace[-1][:_EVENT_LENGTH]}" if trace else event
