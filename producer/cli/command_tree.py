"""The tree of commands that `darkroom --help` shows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from producer.cli.commands import files, jobs, keys, kie, models, queue, webhooks
from producer.cli.commands.audit import audit
from producer.cli.commands.doctor import doctor
from producer.cli.commands.enqueue import enqueue
from producer.cli.commands.health import health
from producer.cli.commands.migrate_env import env, migrate
from producer.cli.commands.money import accounts, prices
from producer.cli.commands.money.margin import margin
from producer.cli.demo import demo
from producer.cli.display.console import print_data, print_json
from producer.cli.options import AsJson
from producer.cli.processes.service_commands import PASS_ALL_ARGUMENTS, api, simulate_kie, worker
from producer.cli.processes.up import up
from shared.installed_version import installed_version

_START = "Start"
_JOBS = "Jobs and money"
_OPERATIONS = "Operations"
_NOT_INSTALLED = "(not installed)"

_CODES = (
    "Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 the job failed, 5 timed out waiting,"
    " 6 a dependency is down."
)


def build_app() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name="darkroom",
        help="Darkroom: a job queue for image generation at Kie, with prices and credit accounts.",
        epilog=_CODES,
        no_args_is_help=True,
        # A traceback with local variables would show secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in (demo, up, worker, api):
        app.command(rich_help_panel=_START)(command)
    app.command("simulate-kie", context_settings=PASS_ALL_ARGUMENTS, rich_help_panel=_START)(
        simulate_kie
    )
    app.command(rich_help_panel=_JOBS)(enqueue)
    app.command(rich_help_panel=_JOBS)(margin)
    for name, group in (
        *(("jobs", jobs), ("files", files)),
        *(("accounts", accounts), ("prices", prices)),
    ):
        app.add_typer(group.app, name=name, rich_help_panel=_JOBS)
    app.add_typer(keys.app, name="keys", rich_help_panel=_OPERATIONS)
    app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_OPERATIONS)
    app.add_typer(kie.app, name="kie", rich_help_panel=_OPERATIONS)
    app.add_typer(queue.app, name="queue", rich_help_panel=_OPERATIONS)
    app.add_typer(models.app, name="models", rich_help_panel=_OPERATIONS)
    for command in (audit, doctor, migrate, env, health):
        app.command(rich_help_panel=_OPERATIONS)(command)
    app.command("version", rich_help_panel=_OPERATIONS)(show_version)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        print_data(f"darkroom {installed_version(_NOT_INSTALLED)}")
        raise typer.Exit


def _root(
    is_version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Darkroom: a job queue for image generation at Kie, with prices and credit accounts."""
    del is_version_asked


def show_version(as_json: AsJson = False) -> None:
    """Tell the version."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    if as_json:
        print_json({"darkroom": installed_version(_NOT_INSTALLED), "python": python})
    else:
        print_data(f"darkroom {installed_version(_NOT_INSTALLED)} on Python {python}")
