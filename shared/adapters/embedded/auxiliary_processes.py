"""Auxiliary processes: programs that the watchdog runs once for all clients of a home."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.control_messages import EnsureRequest
from shared.adapters.embedded.host.child_process import (
    POLL_SECONDS,
    Command,
    spawn,
    stop,
    take_over_lock,
)
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.home import Home
from shared.adapters.embedded.host.log_files import format_log_tail
from shared.adapters.embedded.host.process_info import is_alive
from shared.errors import EmbeddedServerError

READY_FILE_VARIABLE = "DARKROOM_READY_FILE"
_STOP_SIGNALS = (signal.SIGTERM,)
_STEP_SECONDS = 3.0
"""How long an auxiliary process may take to end after SIGTERM before it is killed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    process: asyncio.subprocess.Process
    answer: dict[str, str]

    @property
    def is_alive(self) -> bool:
        # The kernel reports the death before the event loop has the return code.
        return self.process.returncode is None and is_alive(self.process.pid)


class AuxiliaryProcesses:
    """The auxiliary processes of one home, by name."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: dict[str, _Running] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def ensure(self, request: EnsureRequest) -> dict[str, str]:
        """Return what the process of that name wrote when it became ready. Starts it if needed.

        Raises EmbeddedServerError if it ends before it is ready, or is not ready in time.
        """
        deadline = Deadline.after(request.timeout_seconds)
        turn = self._turns.setdefault(request.name, asyncio.Lock())
        try:
            async with asyncio.timeout(deadline.remaining_seconds):
                await turn.acquire()
        except TimeoutError as error:
            raise self._failure(
                request.name, "is still being started for another client"
            ) from error
        try:
            running = self._running.get(request.name)
            if running is None or not running.is_alive:
                running = self._running[request.name] = await self._start(request, deadline)
            return running.answer
        finally:
            turn.release()

    async def stop(self) -> None:
        """Stop all processes."""
        await asyncio.gather(*(_stop(running.process) for running in self._running.values()))
        for name in self._running:
            self._home.ready_file(name).unlink(missing_ok=True)

    async def _start(self, request: EnsureRequest, deadline: Deadline) -> _Running:
        ready_file = self._home.ready_file(request.name)
        ready_file.unlink(missing_ok=True)
        process = await self._spawn(request, ready_file, deadline)
        try:
            answer = await self._wait_for_answer(request, process, ready_file, deadline)
        except BaseException:
            # Also on cancellation: a partially started process must not stay behind.
            await _stop(process)
            raise
        logger.info("%s is ready (process %d)", request.name, process.pid)
        return _Running(process, answer)

    async def _spawn(
        self, request: EnsureRequest, ready_file: Path, deadline: Deadline
    ) -> asyncio.subprocess.Process:
        log = self._home.open_log(request.name)
        try:
            lock = await take_over_lock(
                self._home.process_lock(request.name),
                signals=_STOP_SIGNALS,
                step_seconds=_STEP_SECONDS,
                log=self._home.log(request.name),
                deadline=deadline,
            )
            try:
                environ = {**request.environ, READY_FILE_VARIABLE: str(ready_file)}
                directory = Path(request.directory)
                command = Command(request.argv, environ, directory, None, signal.SIGTERM)
                return await spawn(command, log=log, lock=lock)
            except OSError as error:
                raise self._failure(request.name, f"cannot be started ({error})") from error
            finally:
                os.close(lock)
        finally:
            os.close(log)

    async def _wait_for_answer(
        self,
        request: EnsureRequest,
        process: asyncio.subprocess.Process,
        ready_file: Path,
        deadline: Deadline,
    ) -> dict[str, str]:
        while not ready_file.exists():
            if process.returncode is not None:
                what = f"ended with code {process.returncode} before it was ready"
                raise self._failure(request.name, what)
            if deadline.is_over:
                what = f"was not ready within {request.timeout_seconds:g} s"
                raise self._failure(request.name, what)
            await asyncio.sleep(POLL_SECONDS)
        try:
            return _read_answer(ready_file)
        except ValueError as error:
            what = f"did not write one JSON object of strings to its {READY_FILE_VARIABLE}"
            raise self._failure(request.name, what) from error

    def _failure(self, name: str, what: str) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"process {name!r} {what}{format_log_tail(self._home.log(name))}"
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    await stop(process, _STOP_SIGNALS, group=True, step_seconds=_STEP_SECONDS)


def _read_answer(ready_file: Path) -> dict[str, str]:
    answer: object = json.loads(ready_file.read_text(encoding="utf-8"))
    if not isinstance(answer, dict) or not all(isinstance(v, str) for v in answer.values()):
        raise ValueError(f"not an object of strings: {answer!r}")
    return answer
