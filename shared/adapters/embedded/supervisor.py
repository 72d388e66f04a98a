"""Starts one server at the first request, and restarts it when it dies."""

from __future__ import annotations

import asyncio
import logging
import os

from shared.adapters.embedded.host.child_process import POLL_SECONDS, spawn, stop, take_over_lock
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.home import Home
from shared.adapters.embedded.host.log_files import format_log_tail
from shared.adapters.embedded.servers.server_protocol import Server
from shared.errors import EmbeddedServerError

START_SECONDS = 120.0
"""The timeout of a start, which includes recovery after a crash."""
STEADY_SECONDS = 10.0
"""A server that has run this long is restarted without an increased pause."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs the process of one server."""

    def __init__(self, server: Server, home: Home) -> None:
        self._server, self._home = server, home
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until the server is ready. Starts it if needed.

        Raises EmbeddedServerError with the end of its log if it fails or the deadline passes.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_running())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, self._task},
                timeout=deadline.remaining_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._task.done():
            await self._task
        raise EmbeddedServerError(f"{self._server.title} does not answer yet{self._quote()}")

    async def stop(self) -> None:
        """Stop the server and wait for its end."""
        self._ready.clear()
        if self._task is not None:
            self._task.cancel()
            # Its error was reported to the waiting clients.
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None:
            await stop(self._process, self._server.stop_signals)
            logger.info("%s stopped", self._server.title)
        self._server.clean_up()

    async def _keep_running(self) -> None:
        process = await self._start()
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            steady = Deadline.after(STEADY_SECONDS)
            code = await process.wait()
            self._ready.clear()
            logger.warning("%s ended with code %d; starting it again", self._server.title, code)
            if steady.is_over:
                pause_seconds = _FIRST_PAUSE_SECONDS
            process, pause_seconds = await self._start_again(pause_seconds)

    async def _start_again(self, pause_seconds: float) -> tuple[asyncio.subprocess.Process, float]:
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            try:
                return await self._start(), pause_seconds
            except (EmbeddedServerError, OSError) as error:
                logger.error("%s did not start again: %s", self._server.title, error)

    async def _start(self) -> asyncio.subprocess.Process:
        deadline = Deadline.after(START_SECONDS)
        name = self._server.name
        log = self._home.open_log(name)
        try:
            lock = await take_over_lock(
                self._home.process_lock(name),
                signals=self._server.stop_signals,
                log=self._home.log(name),
                deadline=deadline,
            )
            try:
                command = await self._server.prepare(lock=lock, log=log, deadline=deadline)
                process = await spawn(command, log=log, lock=lock)
            finally:
                os.close(lock)
        finally:
            os.close(log)
        self._process = process
        try:
            await self._wait_for_answer(process, deadline)
        except EmbeddedServerError:
            await stop(process, self._server.stop_signals)
            raise
        logger.info("%s answers (process %d)", self._server.title, process.pid)
        self._ready.set()
        return process

    async def _wait_for_answer(
        self, process: asyncio.subprocess.Process, deadline: Deadline
    ) -> None:
        while not await self._server.is_ready():
            if process.returncode is not None:
                raise EmbeddedServerError(
                    f"{self._server.title} ended with code {process.returncode} while starting"
                    f"{self._quote()}"
                )
            if deadline.is_over:
                raise EmbeddedServerError(
                    f"{self._server.title} did not answer within {START_SECONDS:g} s{self._quote()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _quote(self) -> str:
        return format_log_tail(self._home.log(self._server.name))
