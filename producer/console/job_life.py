"""The life of a job as steps through its state machine, and the drawing of it.

The drawing has every state and every transition of `TRANSITIONS`. Those of this job are marked,
each state with the time of its first entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from producer.live.event_frames import StoredEvent
from shared.domain.job import Job
from shared.domain.lifecycle import TRANSITIONS, JobState
from shared.stored_json import read_stored_object

NODE_WIDTH, NODE_HEIGHT = 124, 46
_PLACES: Mapping[JobState, tuple[int, int]] = {
    JobState.QUEUED: (10, 82),
    JobState.SUBMITTING: (214, 82),
    JobState.UNKNOWN: (214, 186),
    JobState.GENERATING: (418, 82),
    JobState.SUCCEEDED: (622, 12),
    JobState.FAILED: (622, 110),
    JobState.CANCELLED: (214, 8),
}
"""The upper left corner of each state in the drawing."""
WIDTH, HEIGHT = 756, 242
_PATHS = {
    # Below the state between them.
    (JobState.SUBMITTING, JobState.FAILED): "M306 128 C340 168 540 168 616 142",
    # Beside the state between them.
    (JobState.UNKNOWN, JobState.CANCELLED): "M338 204 C376 176 376 64 344 40",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A stay of a job in one state."""

    state: str
    entered_at: datetime
    left_at: datetime | None
    """None if the job is still in the state, or ended in it."""
    event: str
    """The event that led into the state."""

    @property
    def seconds(self) -> float | None:
        """How long the stay was."""
        return None if self.left_at is None else (self.left_at - self.entered_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Node:
    """A state in the drawing."""

    state: str
    x: int
    y: int
    entered_at: datetime | None
    """When the job first entered the state. None if it never did."""
    visits: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow between two states in the drawing."""

    path: str
    """The line as an SVG path."""
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Life:
    """The steps of a job, and their drawing."""

    steps: tuple[Step, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def read_life(job: Job, events: Sequence[Mapping[str, Any]]) -> Life:
    """Return the life of a job from the rows of its events, oldest first."""
    steps = tuple(_read_steps(job, events))
    visited = [step.state for step in steps]
    taken = set(pairwise(visited))
    nodes = tuple(
        Node(
            state=state.value,
            x=x,
            y=y,
            entered_at=next((step.entered_at for step in steps if step.state == state), None),
            visits=visited.count(state),
            is_current=state == job.state,
        )
        for state, (x, y) in _PLACES.items()
    )
    pairs = {
        (source, one.target)
        for one in TRANSITIONS
        for source in one.sources
        if source is not one.target
    }
    edges = tuple(
        Edge(_draw_path(source, target), (source, target) in taken)
        for source, target in sorted(pairs)
    )
    # Taken arrows are drawn last, above the others.
    return Life(steps, nodes, tuple(sorted(edges, key=lambda edge: edge.is_taken)))


def _read_steps(job: Job, events: Sequence[Mapping[str, Any]]) -> list[Step]:
    entered: list[tuple[str, datetime, str]] = []
    for row in events:
        event = StoredEvent(
            id=row["id"],
            tx=0,
            job_id=UUID(int=job.id.int),
            account_id=job.account_id,
            at=row["at"],
            event=row["event"],
            detail=read_stored_object(row["detail"]),
            job_state=job.state,
        )
        if not entered or entered[-1][0] != event.state:
            entered.append((event.state, event.at, event.event))
        if event.is_end:
            break  # later events, such as late images, move nothing
    leaving = [at for _, at, _ in entered[1:]]
    return [
        Step(state, at, left_at, name)
        for (state, at, name), left_at in zip(entered, [*leaving, None], strict=True)
    ]


def _draw_path(source: JobState, target: JobState) -> str:
    """Return an arrow from the edge of one state to the edge of another."""
    if (source, target) in _PATHS:
        return _PATHS[source, target]
    (x, y), (to_x, to_y) = _PLACES[source], _PLACES[target]
    middle, to_middle = y + NODE_HEIGHT // 2, to_y + NODE_HEIGHT // 2
    if x < to_x:  # from the right side to the left side
        start, end = x + NODE_WIDTH, to_x - 6
        bend = (start + end) // 2
        return f"M{start} {middle} C{bend} {middle} {bend} {to_middle} {end} {to_middle}"
    if x == to_x:  # from one below the other
        center = x + NODE_WIDTH // 2
        start, end = (y + NODE_HEIGHT, to_y - 6) if y < to_y else (y, to_y + NODE_HEIGHT + 6)
        return f"M{center} {start} L{center} {end}"
    # Back to the queue: below the line, from the left side to the bottom.
    center = to_x + NODE_WIDTH // 2
    low = max(middle, to_y + NODE_HEIGHT + 24)
    end = to_y + NODE_HEIGHT + 6
    return f"M{x} {middle + 8} C{x - 40} {low} {center} {low} {center} {end}"
