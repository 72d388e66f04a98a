"""When a task is polled next: pure, from its own progress and from others of its kind."""

from .first_and_next_poll import (
    FIRST_POLL_SECONDS,
    LAST_POLL_RETRY_SECONDS,
    LONGEST_GAP_SECONDS,
    SHORTEST_GAP_SECONDS,
    PollObservation,
    PollPlan,
    seconds_until_next_poll,
)
from .optimal_plan import WINDOW_LENGTH, plan_polls
from .poll_planner import CompletionTime, PollPlanner, SuccessTiming, TaskKind

__all__ = [
    "FIRST_POLL_SECONDS",
    "LAST_POLL_RETRY_SECONDS",
    "LONGEST_GAP_SECONDS",
    "SHORTEST_GAP_SECONDS",
    "WINDOW_LENGTH",
    "CompletionTime",
    "PollObservation",
    "PollPlan",
    "PollPlanner",
    "SuccessTiming",
    "TaskKind",
    "plan_polls",
    "seconds_until_next_poll",
]
