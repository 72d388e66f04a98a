"""Commands that become another program: the worker and the simulator; and the API's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import typer

from producer.cli.command_runner import run

PASS_ALL_ARGUMENTS = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Context settings of a command whose arguments, `--help` too, belong to the program behind it."""


def worker() -> None:
    """Run a worker; several may run. The same as `python -m worker`."""
    exec_module("worker")


def simulate_kie(context: typer.Context) -> None:
    """Run the Kie simulator alone; `simulate-kie --help` lists what it can be asked."""
    exec_module("worker.simulator", *context.args)


def api() -> None:
    """Run the HTTP API."""
    from producer.api import serve  # noqa: PLC0415 - the HTTP server is needed by no other command

    run(serve, is_service=True)


def exec_module(module: str, *arguments: str) -> NoReturn:
    """Replace this process, so that signals and the exit code are the program's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, argv, program_environ(os.environ))  # noqa: S606 - no shell wanted


def program_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `python -m worker` finds ours.

    The working directory is a caller's project, which may have a `worker` of its own.
    """
    project_root = str(Path(__file__).resolve().parents[3])
    search = os.pathsep.join(filter(None, [project_root, environ.get("PYTHONPATH")]))
    return {**environ, "PYTHONPATH": search, "PYTHONSAFEPATH": "1"}
