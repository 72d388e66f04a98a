"""The tree of commands that `darkroom --help` shows."""

from __future__ import annotations

import typer

from producer.cli.commands import jobs, keys, kie, models, queue, webhooks
from producer.cli.commands.audit import audit
from producer.cli.commands.doctor import doctor
from producer.cli.commands.enqueue import enqueue, quote
from producer.cli.commands.health import health
from producer.cli.commands.images import files, results
from producer.cli.commands.migrate_env import env, migrate
from producer.cli.commands.money import accounts, prices
from producer.cli.commands.money.margin import margin
from producer.cli.commands.queue_waiting import waiting
from producer.cli.demo import demo
from producer.cli.processes.service_commands import PASS_ALL_ARGUMENTS, api, simulate_kie, worker
from producer.cli.processes.up import up
from producer.cli.version_command import new_app, show_version

_START = "Start"
_JOBS = "Jobs and money"
_OPERATIONS = "Operations"


def build_app() -> typer.Typer:
    """Return the whole command line."""
    app = new_app()
    for command in (demo, up, worker, api):
        app.command(rich_help_panel=_START)(command)
    app.command("simulate-kie", context_settings=PASS_ALL_ARGUMENTS, rich_help_panel=_START)(
        simulate_kie
    )
    app.command(rich_help_panel=_JOBS)(enqueue)
    app.command(rich_help_panel=_JOBS)(quote)
    app.command(rich_help_panel=_JOBS)(margin)
    for name, group in (
        *(("jobs", jobs), ("files", files)),
        *(("accounts", accounts), ("prices", prices)),
    ):
        app.add_typer(group.app, name=name, rich_help_panel=_JOBS)
    app.add_typer(keys.app, name="keys", rich_help_panel=_OPERATIONS)
    app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_OPERATIONS)
    app.add_typer(kie.app, name="kie", rich_help_panel=_OPERATIONS)
    queue.app.command("waiting")(waiting)
    app.add_typer(queue.app, name="queue", rich_help_panel=_OPERATIONS)
    app.add_typer(models.app, name="models", rich_help_panel=_OPERATIONS)
    app.add_typer(results.app, name="results", rich_help_panel=_OPERATIONS)
    for command in (audit, doctor, migrate, env, health):
        app.command(rich_help_panel=_OPERATIONS)(command)
    app.command("version", rich_help_panel=_OPERATIONS)(show_version)
    return app
