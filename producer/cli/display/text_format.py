"""Formats credits, durations, times, counts, states, commands and untrusted text."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.domain.job import Job


NO_VALUE = "-"
_TIMES = "\N{MULTIPLICATION SIGN}"
CANCEL_REQUESTED_TEXT = (
    "Kie takes no task back: nobody waits for the job any more, and it ends by Kie's outcome. A"
    " success is charged, a failure releases the hold"
)
"""What a requested cancel means."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def credits_text(credits: Decimal | None) -> str:
    """Return credits without trailing zeros, such as `7` or `7.5`, or a dash for None."""
    return NO_VALUE if credits is None else f"{credits.normalize():f}"


def duration_text(seconds: float | None) -> str:
    """Return a duration in its two largest units: `0.4 s`, `12 s`, `1 min 5 s`, `2 h 3 min`."""
    if seconds is None:
        return NO_VALUE
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return (
                f"{whole // size} {unit} {rest} {smaller_unit}"
                if rest
                else f"{whole // size} {unit}"
            )
    return f"{whole} s"


def duration_between_text(start: datetime | None, end: datetime | None) -> str:
    """Return the duration between two times, or a dash if one is missing."""
    return (
        NO_VALUE if start is None or end is None else duration_text((end - start).total_seconds())
    )


def time_text(time: datetime | None) -> str:
    """Return a time in UTC to the second, or a dash for None."""
    from shared.job_json import in_utc

    return NO_VALUE if time is None else f"{in_utc(time):%Y-%m-%d %H:%M:%S}Z"


def job_task_text(job: Job) -> str:
    """Return the task, the number of images and the variant of a job."""
    return task_quantity_text(job.task, job.quantity, job.variant)


def task_quantity_text(task: str, quantity: int, variant: str = "") -> str:
    """Return a task with a number of images, and the variant of their price."""
    return f"{task} {_TIMES}{quantity} {variant}".rstrip()


def state_text(job: Job, now: datetime | None = None) -> str:
    """Return the state with reason or progress: `failed (content_policy)`, `generating 45 %`.

    With `now`, a scheduled job says for when: `queued (scheduled for 2030-01-31 18:00:00Z)`.
    """
    if now is not None and job.is_scheduled(now):
        return f"{job.state} (scheduled for {time_text(job.run_at)})"
    if job.is_cancel_requested:
        return f"{job.state} (cancel requested)"
    if job.reason:
        return f"{job.state} ({job.reason})"
    if job.state == "generating" and job.progress > 0:
        return f"{job.state} {job.progress:.0%}".replace("%", " %")
    return job.state.value


def printable(text: str) -> str:
    """Return the text without control characters, so that it cannot control a terminal."""
    return "".join(
        one if one.isprintable() or one == " " else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def shortened(text: str, max_length: int) -> str:
    """Return the text as printable text on one line of at most `max_length` characters."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= max_length else f"{flat[: max_length - 1]}…"


def command_text(*words: str) -> str:
    """Return a command line that runs `darkroom` in this shell."""
    return " ".join([_program(), *(shlex.quote(word) for word in words)])


def _program() -> str:
    called = Path(sys.argv[0])
    if called.name != "darkroom":
        is_module = called.parts[-2:] == ("producer", "__main__.py")
        return "python -m producer" if is_module else "darkroom"
    found = shutil.which("darkroom")
    if found is not None and Path(found).resolve() == called.resolve():
        return "darkroom"
    relative = os.path.relpath(called)
    return str(called) if relative.startswith("..") else relative
