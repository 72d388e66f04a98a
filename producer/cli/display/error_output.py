"""Prints errors, and the command to type next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from producer.cli.display.console import stderr_console
from producer.cli.display.text_format import command_text, credits_text, printable
from shared.errors import (
    AccountNotFound,
    AlreadyExists,
    ConfigurationError,
    DarkroomError,
    DependencyDown,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    JobNotFound,
    KeyNotFound,
    PriceMissing,
    SchemaOutdated,
    TooLateToCancel,
    WaitTimedOut,
    WouldLeaveDebt,
)


def error_lines(error: DarkroomError) -> list[str]:
    """Return the lines of an error. Each fault of a request has its own line, with its field."""
    if isinstance(error, InvalidRequest):
        return ["the request is refused:", *(f"  {printable(str(one))}" for one in error.faults)]
    return [printable(line) for line in (str(error) or type(error).__name__).splitlines()]


def next_command(error: DarkroomError, command: str) -> str | None:
    """Return the command to type next after an error of `command`, if there is one."""
    for kind, words in _NEXT_COMMANDS:
        if isinstance(error, kind):
            return command_text(*words(error)) if words is not None else None
    if isinstance(error, InvalidRequest):
        return command_text(*command.split()[1:], "--help")
    return None


def print_error(error: DarkroomError, command: str) -> None:
    """Print an error to stderr. `command` is the typed command without its arguments."""
    console = stderr_console()
    first, *rest = error_lines(error)
    console.print(f"{command}: {first}", style="red", soft_wrap=True)
    for line in rest:
        console.print(line, style="red", soft_wrap=True)
    advice = next_command(error, command)
    if advice is not None:
        console.print(f"next: {advice}", soft_wrap=True)


_CommandWords = Callable[[Any], tuple[str, ...]]

# The first matching row counts, so subclasses come before base classes.
_NEXT_COMMANDS: tuple[tuple[type[DarkroomError], _CommandWords | None], ...] = (
    (
        InsufficientCredits,
        lambda error: (
            *("accounts", "grant", error.account_id),
            *(credits_text(error.needed - error.available), "--reason", "top-up"),
        ),
    ),
    (
        IdempotencyConflict,
        # A key of a grant names no job.
        lambda error: (
            ("jobs", "show", error.job_id)
            if error.job_id
            else ("accounts", "ledger", error.account_id)
        ),
    ),
    (PriceMissing, lambda _: ("prices", "list")),
    (JobNotFound, lambda _: ("jobs", "list")),
    (KeyNotFound, lambda _: ("keys", "list")),
    (AccountNotFound, lambda error: ("accounts", "create", error.account_id, "--credits", "100")),
    (AlreadyExists, None),
    (WouldLeaveDebt, None),
    (TooLateToCancel, lambda error: ("jobs", "show", error.job_id)),
    (WaitTimedOut, lambda error: ("jobs", "wait", error.job_id)),
    (DependencyDown, lambda _: ("doctor",)),
    (SchemaOutdated, lambda _: ("migrate",)),
    (ConfigurationError, None),
)
