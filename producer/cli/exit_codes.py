"""The exit codes of every command. They are stable, so scripts may use them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from shared.errors import (
    DarkroomError,
    DependencyDown,
    NotFound,
    WaitTimedOut,
    names_wrong_setting,
)

if TYPE_CHECKING:
    from shared.domain.job import Job


class ExitCode(IntEnum):
    """The exit codes of commands."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    JOB_FAILED = 4
    TIMED_OUT = 5
    DEPENDENCY_DOWN = 6
    INTERRUPTED = 130
    TERMINATED = 143


_BY_ERROR: tuple[tuple[type[DarkroomError], ExitCode], ...] = (
    (NotFound, ExitCode.NOT_FOUND),
    (WaitTimedOut, ExitCode.TIMED_OUT),
    (DependencyDown, ExitCode.DEPENDENCY_DOWN),
)


def code_of(error: DarkroomError) -> ExitCode:
    """Return the exit code for an error."""
    if names_wrong_setting(error):
        return ExitCode.USAGE
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.ERROR)


def code_of_ended(job: Job) -> ExitCode:
    """Return the exit code for a job that has ended. Only a success is `DONE`."""
    from shared.domain.lifecycle import JobState

    return ExitCode.DONE if job.state is JobState.SUCCEEDED else ExitCode.JOB_FAILED
