"""When to ask about a task next: pure, from what is known about it and others of its kind."""

from .next_poll import (
    FIRST_LOOK_SECONDS,
    LAST_LOOK_RETRY_SECONDS,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Known,
    Sighting,
    backoff_seconds,
    seconds_until_next_poll,
)
from .optimal_plan import WINDOW_LENGTH, plan_looks
from .poll_planner import Completion, Ending, TaskKind, Timetable

__all__ = [
    "FIRST_LOOK_SECONDS",
    "LAST_LOOK_RETRY_SECONDS",
    "LONGEST_SECONDS",
    "SHORTEST_SECONDS",
    "WINDOW_LENGTH",
    "Completion",
    "Ending",
    "Known",
    "Sighting",
    "TaskKind",
    "Timetable",
    "backoff_seconds",
    "plan_looks",
    "seconds_until_next_poll",
]
