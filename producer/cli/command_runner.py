"""Runs a command: reads settings, sets up logging, connects, prints errors, sets the exit code."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from producer.actor import Actor
from producer.cli.exit_codes import ExitCode, code_of
from producer.cli.json_errors import report_error
from shared.errors import DarkroomError

if TYPE_CHECKING:
    from producer.billing import Billing
    from producer.client import Producer
    from shared.adapters.postgres.database import Database
    from shared.adapters.servers import Servers
    from shared.settings import Settings

_GROUPS = frozenset(
    {"jobs", "files", "prices", "accounts", "keys", "models", "queue", "results", "webhooks"}
)

CommandResult = ExitCode | None
"""The exit code of a command. None means `ExitCode.DONE`."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The settings and connections that most commands use."""

    settings: Settings
    servers: Servers
    database: Database
    producer: Producer


@dataclass(frozen=True, slots=True)
class DatabaseContext:
    """The settings and connections of commands that do not use Redis."""

    settings: Settings
    database: Database
    billing: Billing


def _open_database(servers: Servers) -> AbstractAsyncContextManager[Database]:
    from shared.adapters.postgres.database import connect_database

    return connect_database(
        servers.database_url, connections=2, name="darkroom-cli", clamps_timestamps=True
    )


@asynccontextmanager
async def open_command_context(
    settings: Settings, *, creates_database: bool = False
) -> AsyncIterator[CommandContext]:
    """Connect to the servers of these settings. Raises the errors of `open_servers`."""
    from producer.client import Producer
    from producer.results.stored_images import CopyOptions
    from shared.adapters.kie.kie_connection import choose_upload_access
    from shared.adapters.servers import open_servers

    async with (
        open_servers(settings, creates_database=creates_database) as servers,
        _open_database(servers) as database,
        Producer.connect_to(
            servers,
            webhooks_allow_loopback=settings.webhooks_allow_loopback,
            outbound=settings.outbound,
            kie_account_names=settings.kie_account_names,
            upload_access=lambda: choose_upload_access(settings, servers),
            copies=CopyOptions.of(settings),
        ) as producer,
    ):
        yield CommandContext(settings, servers, database, producer)


def run_connected(step: Callable[[CommandContext], Awaitable[CommandResult]]) -> None:
    """Run a step with all connections, and exit with its code. Errors are printed."""

    async def with_context(settings: Settings) -> CommandResult:
        async with open_command_context(settings) as context:
            return await step(context)

    run(with_context)


def run_with_database(step: Callable[[DatabaseContext], Awaitable[CommandResult]]) -> None:
    """Run a step with Postgres only, and exit with its code. Errors are printed."""

    async def with_database(settings: Settings) -> CommandResult:
        from producer.billing import Billing
        from shared.adapters.servers import open_servers

        async with (
            open_servers(settings, needs_redis=False, creates_database=False) as servers,
            _open_database(servers) as database,
        ):
            return await step(DatabaseContext(settings, database, Billing(database)))

    run(with_database)


def run(step: Callable[[Settings], Awaitable[CommandResult]], *, is_service: bool = False) -> None:
    """Run a step with the settings, and exit with its code. Errors are printed.

    Only warnings are logged, unless LOG_LEVEL is set or the command is a service.
    """
    from shared.settings import load_settings

    with exit_on_error():
        settings = load_settings()
    run_with_settings(settings if is_service else with_quiet_logging(settings), step)


def with_quiet_logging(settings: Settings) -> Settings:
    """Return the settings with log level WARNING, unless LOG_LEVEL is set."""
    # asyncpg logs every failed reconnection with a traceback. Darkroom logs a sentence.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


def run_with_settings(
    settings: Settings, step: Callable[[Settings], Awaitable[CommandResult]]
) -> None:
    """Run a step with these settings, and exit with its code. Errors are printed."""
    import asyncio
    import gc

    from shared.adapters.async_tasks import loop_factory
    from shared.adapters.log_setup import set_up_logging

    with exit_on_error():
        set_up_logging(settings)
        gc.enable()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            raise typer.Exit(runner.run(_run_until_terminated(step, settings)))


async def _run_until_terminated(
    step: Callable[[Settings], Awaitable[CommandResult]], settings: Settings
) -> ExitCode:
    import asyncio

    task = asyncio.ensure_future(step(settings))
    was_terminated = False

    def terminate() -> None:
        nonlocal was_terminated
        was_terminated = True
        task.cancel()

    # Cancel instead of exiting, so that leases are released and the terminal is restored.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task or ExitCode.DONE
    except asyncio.CancelledError:
        if was_terminated:
            return ExitCode.TERMINATED
        raise


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print a `DarkroomError` of the block to stderr, and exit with its code."""
    try:
        yield
    except DarkroomError as error:
        report_error(error, _command_as_typed())
        raise typer.Exit(code_of(error)) from None


def _command_as_typed() -> str:
    """Return `darkroom` and the name of the command, without its arguments."""
    words = [word for word in sys.argv[1:3] if word.isidentifier() or word == "simulate-kie"]
    return " ".join(["darkroom", *words[: 2 if words[:1] and words[0] in _GROUPS else 1]])


def command_actor() -> Actor:
    """Return the operating-system user of this command as an operator."""
    user = _user()
    return Actor(user, via="cli", is_operator=True, os_user=user, origin=socket.gethostname())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"
