"""The command `version`, and the root of the command line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from producer.cli.display.console import print_data, print_json
from producer.cli.options import AsJson
from shared.installed_version import installed_version

_NOT_INSTALLED = "(not installed)"

_CODES = (
    "Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 the job failed, 5 timed out waiting,"
    " 6 a dependency is down."
)


def new_app(tree: type[TyperGroup]) -> typer.Typer:
    """Return a command line with the commands of a tree."""
    app = typer.Typer(
        name="darkroom",
        cls=tree,
        help="Darkroom: a job queue for image generation at Kie, with prices and credit accounts.",
        epilog=_CODES,
        no_args_is_help=True,
        # A traceback with local variables would show secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
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
