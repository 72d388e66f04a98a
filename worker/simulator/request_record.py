"""Counts and logs every request and callback. Tests judge clients by it."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from .simulated_account import SimulatedAccount, describe_account, describe_credits
from .simulated_task import SimulatedTask
from .simulator_config import SimulatorClocks
from .sliding_windows import ArrivalWindow

_MAX_UNKNOWN_IDS = 10_000


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request of the raw log; ``at`` is its arrival in seconds since 1970."""

    at: float
    method: str
    path: str
    task_id: str
    answer: str

    def describe(self) -> dict[str, object]:
        """Return its row in the record. ``answer`` is the code, or a word where there is none."""
        return {
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "task_id": self.task_id or None,
            "answer": self.answer,
        }


@dataclass(frozen=True, slots=True)
class SentCallback:
    """One delivery of a callback; ``answer`` is the HTTP status or a word for the failure."""

    at: float
    task_id: str
    kind: str
    delivery: int
    answer: str

    def describe(self) -> dict[str, object]:
        """Return its row in the record. ``delivery`` counts from 1."""
        return {
            "at": self.at,
            "task_id": self.task_id,
            "kind": self.kind,
            "delivery": self.delivery,
            "answer": self.answer,
        }


class RequestRecord:
    """Exact counters over everything since the start or the last reset; logs are bounded."""

    def __init__(
        self, clocks: SimulatorClocks, accounts: Sequence[SimulatedAccount], log_size: int
    ) -> None:
        self._clocks = clocks
        self.accounts = tuple(accounts)
        self.started_epoch = clocks.epoch()
        self.tasks: dict[str, SimulatedTask] = {}
        self.requests: deque[SeenRequest] = deque(maxlen=log_size)
        self.callbacks: deque[SentCallback] = deque(maxlen=log_size)
        self.answers: Counter[tuple[str, str]] = Counter()
        self.create_arrivals = ArrivalWindow(10.0)
        self.creates_admitted = ArrivalWindow(10.0)
        self.creates_refused: Counter[str] = Counter()
        self.replies_lost = 0
        self.unknown_fields: Counter[str] = Counter()
        self.tasks_by_prompt: Counter[str] = Counter()
        self.tasks_by_callback: Counter[str] = Counter()
        self.tasks_by_model: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.poll_arrivals = ArrivalWindow(1.0)
        self.polls_over_limit = 0
        self.polls_of_unknown_tasks = 0
        self.asked_by_other_accounts = 0
        self.worst_window = 0
        self.worst_task_id = ""
        self.callback_answers: Counter[tuple[str, str]] = Counter()
        self.callbacks_given_up = 0
        self._unknown_ids: OrderedDict[str, ArrivalWindow] = OrderedDict()

    @property
    def account(self) -> SimulatedAccount:
        """The first account, which is the only one unless more keys are given."""
        return self.accounts[0]

    def note_task(self, task: SimulatedTask) -> None:
        """Record a task that was created and charged."""
        self.tasks[task.id] = task
        self.creates_admitted.arrive(task.created_at)
        task.account.creates_admitted.arrive(task.created_at)
        self.tasks_by_prompt[task.request.prompt] += 1
        self.tasks_by_model[task.request.endpoint, task.request.model] += 1
        if task.request.call_back_url:
            self.tasks_by_callback[task.request.call_back_url] += 1
        self.unknown_fields.update(task.request.unknown_fields)

    def note_poll(self, task_id: str, now: float) -> int:
        """Record a poll. Returns how many polls of this id arrived in the last second, with this
        one.
        """
        self.poll_arrivals.arrive(now)
        task = self.tasks.get(task_id)
        window = task.arrivals if task is not None else self._window_of_unknown(task_id)
        count = window.arrive(now)
        if window.worst > self.worst_window:
            self.worst_window = window.worst
            self.worst_task_id = task_id
        return count

    def note_request(self, route: str, seen: SeenRequest) -> None:
        """Record a request that was answered, or whose connection was broken on purpose."""
        self.answers[route, seen.answer] += 1
        self.requests.append(seen)

    def note_callback(self, sent: SentCallback) -> None:
        """Record a callback that was delivered, or whose delivery failed."""
        self.callback_answers[sent.kind, sent.answer] += 1
        self.callbacks.append(sent)

    def _window_of_unknown(self, task_id: str) -> ArrivalWindow:
        self.polls_of_unknown_tasks += 1
        window = self._unknown_ids.get(task_id)
        if window is None:
            window = self._unknown_ids[task_id] = ArrivalWindow(1.0)
            if len(self._unknown_ids) > _MAX_UNKNOWN_IDS:
                self._unknown_ids.popitem(last=False)
        return window

    def summary(self) -> dict[str, object]:
        """The whole record in figures."""
        return {
            "started_at": self.started_epoch,
            "now": self._clocks.epoch(),
            "requests": {"total": sum(self.answers.values()), "by_route": _nest(self.answers)},
            "creates": {
                "arrived": self.create_arrivals.total,
                "created": len(self.tasks),
                "refused": dict(self.creates_refused),
                "replies_lost": self.replies_lost,
                "worst_window_10_seconds": self.creates_admitted.worst,
                "worst_arrivals_10_seconds": self.create_arrivals.worst,
                "unknown_fields": dict(self.unknown_fields),
            },
            "paid_more_than_once": {
                "by_prompt": _repeats(self.tasks_by_prompt),
                "by_call_back_url": _repeats(self.tasks_by_callback),
            },
            "polls": {
                "arrived": self.poll_arrivals.total,
                "over_limit": self.polls_over_limit,
                "of_unknown_tasks": self.polls_of_unknown_tasks,
                "of_other_accounts": self.asked_by_other_accounts,
                "worst_window_per_task": self.worst_window,
                "worst_task_id": self.worst_task_id or None,
                "worst_window_overall": self.poll_arrivals.worst,
            },
            "tasks": {
                "generating": len(self.tasks) - sum(self.outcomes.values()),
                "by_outcome": dict(self.outcomes),
                "by_endpoint": _nest(self.tasks_by_model),
            },
            "callbacks": {
                "sent": sum(self.callback_answers.values()),
                "given_up": self.callbacks_given_up,
                "answers": _nest(self.callback_answers),
            },
            "credits": describe_credits(self.accounts),
            "accounts": [describe_account(account) for account in self.accounts],
        }


def _nest(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counts.items()):
        nested.setdefault(outer, {})[inner] = count
    return nested


def _repeats(counts: Counter[str]) -> int:
    """Return how many tasks there are beyond the first of each key."""
    return counts.total() - len(counts)
