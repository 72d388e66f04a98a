"""Starts the servers, the simulator, the worker and the API of the demo, and stops them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from producer.cli.command_runner import CommandContext, open_command_context
from producer.cli.display.console import print_message
from producer.cli.processes.child_process import ChildProcess, Program
from producer.cli.processes.log_lines import LogLine, format_text, read_line
from producer.cli.processes.service_commands import program_environ
from producer.results.stored_images import prepare_local_folder
from shared.errors import ConfigurationError, EmbeddedServerError
from shared.setting_checks.results_settings import NO_RESULTS
from shared.settings import Settings

SIMULATOR_NAME = "demo-kie"
# Slow enough to see the progress, and fast enough for a short demo.
_SIMULATOR_OPTIONS = (
    *("--duration", "3", "--sigma", "0.2"),
    *("--create-latency", "0.2", "--poll-latency", "0.1"),
)
# The tasks of an interrupted demo end with its simulator. Short limits end their jobs soon.
_DEADLINES = {"JOB_DEADLINE_SECONDS": "60", "UNKNOWN_LIMIT_SECONDS": "30"}
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LINES_KEPT = 200


_IGNORED = ("DATABASE_URL", "REDIS_URL", "KIE_API_KEY", "KIE_API_KEYS")


@dataclass(frozen=True, slots=True)
class DemoProcesses:
    """The running processes of the demo."""

    context: CommandContext
    simulator_url: str
    addresses: dict[str, str]
    """The HTTP addresses of worker and API, by process."""
    logs: deque[LogLine]
    """The newest log lines of worker and API."""


@asynccontextmanager
async def start_processes(settings: Settings) -> AsyncIterator[DemoProcesses]:
    """Start all processes, and stop them at the end. Raises `ConfigurationError`."""
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(
            open_command_context(settings, creates_database=True)
        )
        await _wait_for_other_worker(context)
        kie = await _start_simulator(context)
        logs: deque[LogLine] = deque(maxlen=_LINES_KEPT)
        children = _Children(logs)
        stack.push_async_callback(children.stop)
        kie_environ = {"KIE_API_KEY": kie["api_key"], "KIE_BASE_URL": kie["base_url"]}
        port = str(_find_free_port())
        addresses = {"API_PORT": port, "API_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        results = {"RESULTS_URL": prepare_local_folder(settings) or NO_RESULTS}
        environ = child_environ(settings, {**kie_environ, **_DEADLINES, **addresses, **results})
        for name, arguments in (("worker", ["-m", "worker"]), ("api", ["-m", "producer", "api"])):
            await children.start(Program(name, arguments, environ, settings.darkroom_home))
        await children.wait_until_started()
        yield DemoProcesses(context, kie["base_url"], children.addresses, logs)


def _find_free_port() -> int:
    """Return a port for the API, which the links to images contain."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Children:
    """The child processes: the worker and the API."""

    def __init__(self, logs: deque[LogLine]) -> None:
        self._logs = logs
        self._children: list[ChildProcess] = []
        self._wake_up = asyncio.Event()
        self.addresses: dict[str, str] = {}

    async def start(self, program: Program) -> None:
        self._children.append(
            await ChildProcess.start(
                program, lambda text: self._handle_line(read_line(program.name, text))
            )
        )

    def _handle_line(self, line: LogLine) -> None:
        self._logs.append(line)
        if line.started_at is not None:
            self.addresses[line.process] = line.started_at
            self._wake_up.set()

    async def wait_until_started(self) -> None:
        ends = [asyncio.create_task(child.wait()) for child in self._children]
        try:
            async with asyncio.timeout(_START_SECONDS):
                while len(self.addresses) < len(self._children):
                    self._wake_up.clear()
                    woken = asyncio.create_task(self._wake_up.wait())
                    done, _ = await asyncio.wait({woken, *ends}, return_when="FIRST_COMPLETED")
                    woken.cancel()
                    if done & set(ends):
                        raise self._failure("ended before it was ready")
        except TimeoutError:
            raise self._failure(f"was not ready within {_START_SECONDS:g} s") from None
        finally:
            for end in ends:
                end.cancel()

    def _failure(self, what: str) -> ConfigurationError:
        absent = [child.program.name for child in self._children]
        names = ", ".join(name for name in absent if name not in self.addresses)
        lines = "\n".join(format_text(line).plain for line in list(self._logs)[-10:])
        return ConfigurationError(f"{names} {what}; the last lines were:\n{lines}")

    async def stop(self) -> None:
        try:
            await asyncio.gather(*(child.stop(_STOP_SECONDS) for child in self._children))
        finally:
            for child in self._children:
                child.send(signal.SIGKILL)


async def _start_simulator(context: CommandContext) -> dict[str, str]:
    embedded = context.servers.embedded
    if embedded is None:
        raise EmbeddedServerError("the demo needs the embedded servers")
    argv = [sys.executable, "-m", "worker.simulator", *_SIMULATOR_OPTIONS]
    environ = child_environ(context.settings, {})
    return await asyncio.to_thread(embedded.ensure_process, SIMULATOR_NAME, argv, env=environ)


async def _wait_for_other_worker(context: CommandContext) -> None:
    """Wait for the worker of an interrupted demo to stop.

    Raises `ConfigurationError` if a worker stays. Two workers would each send some jobs of the
    other to the wrong Kie.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _STOP_SECONDS
    was_printed = False
    while True:
        row = await context.database.fetch_row("worker_is_connected")
        if row is None or not row["is_connected"]:
            return
        if loop.time() > give_up_at:
            raise ConfigurationError(
                f"another worker runs on the servers of {context.settings.darkroom_home}, and would"
                " send the demo's jobs to another Kie: stop it, or give the demo a place of its"
                " own with `DARKROOM_HOME=.darkroom-demo darkroom demo`"
            )
        if not was_printed:
            print_message("another worker is connected here; waiting for it to leave", "yellow")
            was_printed = True
        await asyncio.sleep(0.2)


def demo_settings(environ: Mapping[str, str]) -> Settings:
    """Return the default settings, with only DARKROOM_HOME from the environment."""
    given = find_setting(environ, "DARKROOM_HOME")
    # Pass every field, so that none is read from the environment.
    values: dict[str, Any] = {
        name: field.get_default() for name, field in Settings.model_fields.items()
    }
    values["darkroom_home"] = Path(given or values["darkroom_home"]).resolve()
    return Settings(_env_file=None, **values)


def ignored_settings(environ: Mapping[str, str]) -> list[str]:
    """Return the names of settings that are set and that the demo does not use."""
    return [name for name in _IGNORED if find_setting(environ, name)]


def find_setting(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of a name in any case, from the environment or from `.env`."""
    for source in (environ, dotenv_values(".env") if Path(".env").is_file() else {}):
        for key, value in source.items():
            if key.upper() == name and value:
                return value
    return None


def child_environ(settings: Settings, additions: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with only the settings of the demo.

    Run the child in another directory, because it would read a `.env` of this one.
    """
    names = {name.upper() for name in Settings.model_fields}
    cleaned = {name: value for name, value in os.environ.items() if name.upper() not in names}
    return program_environ(
        {
            **cleaned,
            "DARKROOM_HOME": str(settings.darkroom_home),
            "API_PORT": "0",
            "WORKER_HTTP_PORT": "0",
            "LOG_FORMAT": "json",
            **additions,
        }
    )
