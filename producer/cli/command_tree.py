"""The tree of commands that `darkroom --help` shows. A command is loaded when it is typed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from producer.cli.exit_codes import ExitCode
from producer.cli.json_errors import (
    errors_as_json,
    is_json_asked,
    report_refusal,
    report_stop,
    report_usage_error,
)
from producer.cli.request.request_command import RequestCommand
from producer.cli.version_command import new_app

# Typer gives it no public name.
_UsageError: Any = typer.BadParameter.__base__

_START = "Start"
_JOBS = "Jobs and money"
_OPERATIONS = "Operations"


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command or a group of commands, as `darkroom --help` lists it."""

    name: str
    panel: str
    place: str
    """The module, and the name in it of a function or of a `typer.Typer`."""
    summary: str
    """The first sentences of its own help."""
    context_settings: tuple[tuple[str, object], ...] = ()
    command_class: type[TyperCommand] = TyperCommand

    def load(self) -> Any:
        """Import the module, and return the command."""
        module, _, name = self.place.partition(":")
        found = getattr(import_module(f"producer.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            found.info.help = self.summary
            return typer.main.get_group(found)
        app = typer.Typer(add_completion=False)
        settings = dict(self.context_settings)
        app.command(self.name, cls=self.command_class, context_settings=settings)(found)
        return typer.main.get_command(app)


COMMANDS = (
    ListedCommand(
        *("demo", _START, "demo:demo"),
        "Run real jobs from end to end on this machine: servers, simulator, worker, API.",
    ),
    ListedCommand(
        *("up", _START, "processes.up:up"),
        "Run everything in one terminal: servers, schema, worker, API.",
    ),
    ListedCommand(
        *("worker", _START, "processes.service_commands:worker"),
        "Run a worker; several may run. The same as `python -m worker`.",
    ),
    ListedCommand("api", _START, "processes.service_commands:api", "Run the HTTP API."),
    ListedCommand(
        *("simulate-kie", _START, "processes.service_commands:simulate_kie"),
        "Run the Kie simulator alone; `simulate-kie --help` lists what it can be asked.",
        # All arguments, including `--help`, are passed to the simulator.
        (
            *(("allow_extra_args", True), ("ignore_unknown_options", True)),
            ("help_option_names", []),
        ),
    ),
    ListedCommand(
        *("enqueue", _JOBS, "commands.enqueue:enqueue"),
        "Enqueue a job: prints its id, or with --wait the image URLs, one per line.",
        command_class=RequestCommand,
    ),
    ListedCommand(
        *("quote", _JOBS, "commands.enqueue:quote"),
        "Say what a job would cost and when it would be submitted. Nothing is placed or uploaded.",
        command_class=RequestCommand,
    ),
    ListedCommand(
        *("margin", _JOBS, "commands.money.margin:margin"),
        "Show what accounts were charged less what Kie charged, of the last 30 days.",
    ),
    ListedCommand(
        *("jobs", _JOBS, "commands.jobs:app"), "Look at jobs, wait, cancel, retry, resolve."
    ),
    ListedCommand(
        *("files", _JOBS, "commands.images.files:app"),
        "Upload images for image-to-image jobs, show those uploaded.",
    ),
    ListedCommand(
        *("accounts", _JOBS, "commands.money.accounts:app"),
        "Create and list accounts, set limits, grant and refund credits, read the ledger.",
    ),
    ListedCommand("prices", _JOBS, "commands.money.prices:app", "Read and change prices."),
    ListedCommand("keys", _OPERATIONS, "commands.keys:app", "Create, list and revoke API keys."),
    ListedCommand(
        *("webhooks", _OPERATIONS, "commands.webhooks:app"),
        "List webhooks, send them again, read and rotate secrets.",
    ),
    ListedCommand("kie", _OPERATIONS, "commands.kie:app", "Show what Kie says of its models."),
    ListedCommand(
        *("queue", _OPERATIONS, "commands.queue.queue:app"),
        "Show the queue: depth, oldest, in flight, rates, money, failures. Pause it.",
    ),
    ListedCommand(
        *("models", _OPERATIONS, "commands.models:app"),
        "List the models and by which family each is sent to Kie, and change it.",
    ),
    ListedCommand(
        *("results", _OPERATIONS, "commands.images.results:app"),
        "Copies of images in the results store.",
    ),
    ListedCommand(
        *("audit", _OPERATIONS, "commands.audit:audit"),
        "Show who did what, newest first: prices, credits, cancels, keys, webhooks.",
    ),
    ListedCommand(
        *("doctor", _OPERATIONS, "commands.doctor:doctor"),
        "Examine every dependency and every invariant: 0 all is well, 1 or 6 something is not.",
    ),
    ListedCommand(
        *("prune", _OPERATIONS, "commands.prune:prune"),
        "Delete data of jobs that ended longer ago than the RETENTION settings say, for good.",
    ),
    ListedCommand(
        *("migrate", _OPERATIONS, "commands.migrate_env:migrate"),
        "Bring the database's schema up to date.",
    ),
    ListedCommand(
        *("env", _OPERATIONS, "commands.migrate_env:env"),
        "Print export lines with the DATABASE_URL, REDIS_URL and REDIS_PREFIX in use, for scripts.",
    ),
    ListedCommand(
        *("health", _OPERATIONS, "commands.health:health"),
        "Ask a worker or an API whether it is ready: 0 it is, 6 it is not.",
    ),
    ListedCommand("version", _OPERATIONS, "version_command:show_version", "Tell the version."),
)


class CommandTree(TyperGroup):
    """The root group. Its `commands` have names and summaries, and are loaded one by one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for one in COMMANDS:
            listed = TyperCommand(one.name, help=one.summary, rich_help_panel=one.panel)
            self.add_command(listed)

    def main(self, args: Any = None, prog_name: str | None = None, *_: Any, **settings: Any) -> Any:
        """Run the command line. Under `--json`, every error is JSON."""
        words = sys.argv[1:] if args is None else list(args)
        if not is_json_asked(words):
            return super().main(words, prog_name, **settings)
        with errors_as_json():
            try:
                code = super().main(words, prog_name, **{**settings, "standalone_mode": False})
            except _UsageError as error:
                report_usage_error(error)
                sys.exit(ExitCode.USAGE)
            except typer.Abort:
                report_refusal()
                sys.exit(ExitCode.ERROR)
            report_stop(code or 0)
            sys.exit(code or 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the loaded command that the arguments name, with the arguments after it."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name is not None else listed, rest


def load_command(name: str) -> Any:
    """Return a command of the root group, loaded."""
    return next(one for one in COMMANDS if one.name == name).load()


def build_app() -> typer.Typer:
    """Return the whole command line."""
    return new_app(CommandTree)
