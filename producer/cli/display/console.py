"""Prints data to stdout and messages to stderr. Output is plain unless it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer.cli.display.tables.fitting_table import FittingTable
from producer.cli.display.text_format import command_text

# Without a terminal, lines are neither folded nor cut.
_UNFOLDED_WIDTH = 100_000

STATE_STYLES = {
    "queued": "yellow",
    "submitting": "magenta",
    "unknown": "bold magenta",
    "generating": "cyan",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}


def stdout_console() -> Console:
    """Return the console for data, on stdout."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """Return the console for progress and messages, on stderr."""
    return _console(sys.stderr)


def _console(stream: IO[str]) -> Console:
    # Markup is off, because prompts and messages of Kie may contain it.
    width = None if stream.isatty() else _UNFOLDED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def print_message(text: str, style: str = "") -> None:
    """Write one message to stderr."""
    stderr_console().print(text, style=style or None)


def print_data(text: str) -> None:
    """Write one line of data to stdout."""
    stdout_console().print(text)


def print_json(*values: Mapping[str, Any]) -> None:
    """Write each object as one line of JSON to stdout."""
    for value in values:
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def print_next_page(command: str, given: Iterable[tuple[str, object]], last_id: object) -> None:
    """Write the command that lists the next page to stderr.

    `given` are the options of this page with their values. Options without a value are left out.
    """
    words = [word for name, value in given if value for word in (name, str(value))]
    shown = command_text(*command.split(), *words, "--below", str(last_id))
    print_message(f"older ones: {shown}", "dim")


def build_table(
    *columns: str,
    right: Iterable[str] = (),
    drop: Sequence[str] = (),
    sentences: Sequence[str] = (),
    title: str | None = None,
) -> Table:
    """Return a table with these columns. The columns in `right` are aligned right.

    Where the terminal is too narrow, the columns in `drop` are left out, the first one first. Long
    words are folded in the columns of `sentences` only.
    """
    table = FittingTable(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD if sys.stdout.isatty() else None,
        header_style="bold",
        padding=(0, 1 if sys.stdout.isatty() else 2, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.drop, table.sentences = drop, sentences
    right_columns = set(right)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right_columns else "left",
            no_wrap=column in {"id", "job"},
            overflow="fold",
        )
    return table


def styled_state(text: str) -> Text:
    """Return a text in the colour of the state with which it begins."""
    return Text(text, style=STATE_STYLES.get(text.split(" ", 1)[0], ""))
