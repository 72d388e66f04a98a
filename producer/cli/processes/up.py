"""`darkroom up`: run servers, schema migrations, workers and API until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.command_runner import run
from producer.cli.display.console import print_message, stderr_console
from producer.cli.display.text_format import command_text
from producer.cli.processes.child_process import Program
from producer.cli.processes.log_lines import LogLine, format_json, format_text
from producer.cli.processes.process_supervisor import ProcessSupervisor
from producer.cli.processes.service_commands import program_environ
from shared.domain.counted import counted

if TYPE_CHECKING:
    from shared.adapters.servers import Servers
    from shared.settings import Settings

# A worker drains for the request timeout and 10 s, and then closes its connections.
_DRAIN_MARGIN_SECONDS = 15.0


def up(
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=64)] = 1,
) -> None:
    """Run everything in one terminal: servers, schema, worker, API."""

    async def step(settings: Settings) -> None:
        from shared.adapters.postgres.migrations import migrate
        from shared.adapters.servers import open_servers

        async with open_servers(settings, check_schema=False) as servers:
            applied = await migrate(servers.database_url, schema=settings.database_schema)
            # Until here a signal cancels the command: a server may not answer.
            stop, kill_now = _listen_for_signals()
            _announce(settings, servers, len(applied))
            supervisor = ProcessSupervisor(
                _programs(settings, workers),
                on_line=_Printer(as_json=settings.log_format == "json"),
                drain_seconds=settings.shutdown_delay_seconds
                + settings.kie_request_timeout_seconds
                + _DRAIN_MARGIN_SECONDS,
            )
            await supervisor.run(stop, kill_now)
        print_message("everything has stopped")

    run(step)


def _listen_for_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the events that the first and the second SIGINT or SIGTERM set."""
    stop, kill_now = asyncio.Event(), asyncio.Event()

    def handle_signal() -> None:
        (kill_now if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle_signal)
    return stop, kill_now


def _programs(settings: Settings, workers: int) -> Iterator[Program]:
    environ = program_environ({**os.environ, "LOG_FORMAT": "json"})
    from producer.results.stored_images import local_folder, prepare_local_folder

    results_url = prepare_local_folder(settings)
    if results_url is not None:
        environ["RESULTS_URL"] = results_url
        print_message(f"images are copied into {local_folder(settings)}")
    for number in range(1, workers + 1):
        name = "worker" if workers == 1 else f"worker-{number}"
        # Only one worker can use the configured port. The others use free ports.
        port = settings.worker_http_port if number == 1 else 0
        ports = {"WORKER_HTTP_PORT": str(port)}
        if settings.callback_http_port is not None:
            ports["CALLBACK_HTTP_PORT"] = str(settings.callback_http_port if number == 1 else 0)
        yield Program(name, ["-m", "worker"], {**environ, **ports})
    yield Program("api", ["-m", "producer", "api"], environ)


def _announce(settings: Settings, servers: Servers, applied: int) -> None:
    if servers.embedded is not None:
        print_message(f"embedded servers run in {servers.embedded.home}")
    if applied:
        print_message(f"schema brought up to date: {counted(applied, 'migration')}")
    if not settings.kie_keys and not servers.has_given_database:
        print_message(
            "KIE IS SIMULATED: no KIE_API_KEY is set, so the bundled simulator draws the images"
            " and no money moves",
            "bold yellow",
        )
    first = command_text("accounts", "create", "acme", "--credits", "100")
    then = command_text(
        "enqueue", "--account", "acme", "--prompt", "a lighthouse at dusk", "--wait"
    )
    print_message("in another terminal:")
    for line in (first, then, command_text("queue", "--watch")):
        print_message(f"  {line}")
    print_message("Ctrl-C stops everything", "dim")


class _Printer:
    """Writes the log lines of the child processes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = stderr_console()

    def __call__(self, line: LogLine) -> None:
        if self._as_json:
            sys.stderr.write(format_json(line) + "\n")
            sys.stderr.flush()
            return
        self._console.print(format_text(line), soft_wrap=True)
        if line.started_at is not None:
            paths = "/healthz, /readyz, /startupz, /metrics"
            if line.process == "api":
                paths = f"/console, /docs, /openapi.json, {paths}"
            self._console.print(
                f"{line.process} is ready on http://{line.started_at} ({paths})", style="green"
            )
