"""The routes of models, as the submit step needs them: by which family a queued job is sent.

Rows of `model_routes` in Postgres say it. A worker stores none of them in memory: the route in
force comes with the row of each job, and its claim is refused where the route has changed since.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shared.domain.job import Job
from shared.errors import StaleJob


class RouteChanged(StaleJob):
    """Another route is in force for the model than the one of this write, or the job has moved.

    Nothing was written.
    """


@dataclass(frozen=True, slots=True)
class RoutedJob:
    """A job, and the route in force for its model when it was read."""

    job: Job
    route: str | None
    """The family by which it is sent. None for the model's own family."""


class RouteChanges:
    """Requests to look for changes of routes now."""

    def __init__(self) -> None:
        self.read_requested = asyncio.Event()
        """Set when the routes should be read now."""

    def request_read(self) -> None:
        """Have the routes read now: one has changed."""
        self.read_requested.set()
