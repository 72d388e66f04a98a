"""Shows the progress of jobs: bars on a terminal, otherwise a line for each change of state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from producer.cli.display.console import STATE_STYLES, stderr_console, styled_state
from producer.cli.display.text_format import job_task_text, state_text
from shared.domain.job import Job
from shared.errors import DependencyDown

if TYPE_CHECKING:
    from producer.client import Producer

REFRESH_SECONDS = 0.3

ReadJobs = Callable[[], Awaitable[Sequence[Job]]]


class ProgressDisplay(Protocol):
    """A display of the progress of jobs."""

    def show(self, jobs: Sequence[Job]) -> None:
        """Show the current state of these jobs."""
        ...


@contextmanager
def open_display() -> Iterator[ProgressDisplay]:
    """Open the display for the kind of stderr, and close it at the end."""
    console = stderr_console()
    if not console.is_terminal:
        yield _StateLines(console)
        return
    progress = Progress(
        TextColumn("{task.description:<18}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
    )
    with progress:
        yield _ProgressBars(progress)


class _ProgressBars:
    """A bar for each job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[UUID, TaskID] = {}

    def show(self, jobs: Sequence[Job]) -> None:
        """Update the bar of each job. The clock of a job that has ended stops."""
        for job in jobs:
            state = Text(state_text(job), style=STATE_STYLES[job.state]).markup
            task = self._tasks.get(job.id)
            if task is None:
                task = self._progress.add_task(job_task_text(job), total=1.0, state=state)
                self._tasks[job.id] = task
            self._progress.update(task, completed=job.progress, state=state)
            if job.is_terminal:
                self._progress.stop_task(task)


class _StateLines:
    """A line for each change of state."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[UUID, tuple[str, str | None]] = {}

    def show(self, jobs: Sequence[Job]) -> None:
        """Print a line for each job whose state has changed."""
        for job in jobs:
            now = (job.state.value, job.reason)
            if self._shown.get(job.id) != now:
                self._shown[job.id] = now
                line = Text(f"{job.id}  {job_task_text(job)}  ")
                self._console.print(line.append_text(styled_state(state_text(job))))


async def refresh_display(read_jobs: ReadJobs, display: ProgressDisplay) -> None:
    """Show the jobs of `read_jobs` until all have ended. Run this as a task during a wait."""
    while True:
        try:
            jobs = await read_jobs()
        except DependencyDown:
            # The wait raises the error. The display does not change until the server is back.
            jobs = []
        display.show(jobs)
        if jobs and all(job.is_terminal for job in jobs):
            return
        await asyncio.sleep(REFRESH_SECONDS)


async def wait_with_progress(
    producer: Producer, jobs: Sequence[Job], timeout_seconds: float
) -> list[Job]:
    """Wait for the end of all jobs, and show their progress. Raises like `Producer.wait`."""

    async def read_jobs() -> list[Job]:
        return list(await asyncio.gather(*(producer.get(job.id) for job in jobs)))

    with open_display() as display:
        display.show(jobs)
        showing = asyncio.create_task(refresh_display(read_jobs, display))
        try:
            waits = (producer.wait(job.id, timeout_seconds=timeout_seconds) for job in jobs)
            ended = await asyncio.gather(*waits)
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        display.show(ended)
    return list(ended)
