"""`darkroom worker`, `api` and `simulate-kie`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import typer

from producer.cli.command_runner import run


def worker() -> None:
    """Run a worker; several may run. The same as `python -m worker`."""
    exec_module("worker")


def simulate_kie(context: typer.Context) -> None:
    """Run the Kie simulator alone; `simulate-kie --help` lists what it can be asked."""
    exec_module("worker.simulator", *context.args)


def api() -> None:
    """Run the HTTP API."""
    from producer.api import serve

    run(serve, is_service=True)


def exec_module(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m MODULE`, which then gets the signals of this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, argv, program_environ(os.environ))  # noqa: S606 - no shell wanted


def program_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which `python -m worker` runs the worker of Darkroom.

    The working directory may contain another package named `worker`.
    """
    project_root = str(Path(__file__).resolve().parents[3])
    search = os.pathsep.join(filter(None, [project_root, environ.get("PYTHONPATH")]))
    return {**environ, "PYTHONPATH": search, "PYTHONSAFEPATH": "1"}
