"""What is made of the runs of several rounds: pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's work through the jobs, once."""

    name: str
    jobs: int
    seconds: float
    """From the moment it was let go until its last job had ended."""
    cpu_seconds: float
    """Processor time of the worker process alone."""
    polls: int
    statements: int
    """Sent to Postgres by the worker; 0 unless they were counted in this run."""
    kie_cpu_seconds: float
    lags: tuple[float, ...] = ()
    """Seconds from the end of each task at Kie until its job was settled."""

    def lag_seconds(self, percent: int) -> float:
        """Return the lag that so many per cent of the jobs keep within; 0 without any lag."""
        return percentile(self.lags, percent)

    @property
    def cpu_ms_per_job(self) -> float:
        """Processor time per job, in milliseconds."""
        return 1000 * self.cpu_seconds / self.jobs

    @property
    def jobs_per_second(self) -> float:
        """How many jobs it ended per second of the whole run."""
        return self.jobs / self.seconds

    @property
    def polls_per_job(self) -> float:
        """How often it asked about a task."""
        return self.polls / self.jobs

    @property
    def kie_share(self) -> float:
        """Which share of one core the simulated Kie took: at 1 it would be the bottleneck."""
        return self.kie_cpu_seconds / self.seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float

    def shown(self, digits: int = 2) -> str:
        """Return it as the cells median, lowest, highest of a table."""
        cells = (self.median, self.lowest, self.highest)
        return " | ".join(f"{cell:.{digits}f}" for cell in cells)


Round = Sequence[Run]
"""Everybody's run in one round."""


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many per cent of them keep within; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest of at least one value."""
    return Spread(median(values), min(values), max(values))


def spread_of(rounds: Sequence[Round], name: str, figure: Callable[[Run], float]) -> Spread:
    """Return a figure of one contestant over the rounds."""
    return spread([figure(find(runs, name)) for runs in rounds])


def cpu_ratio(rounds: Sequence[Round], mine: str, floor: str) -> Spread:
    """Return one contestant's processor time per job in terms of another's, round by round."""
    return spread(
        [find(runs, mine).cpu_ms_per_job / find(runs, floor).cpu_ms_per_job for runs in rounds]
    )


def rate_ratio(rounds: Sequence[Round], mine: str, peers: Sequence[str]) -> Spread:
    """Return one contestant's jobs per second in terms of the best peer's, round by round."""
    return spread(
        [
            find(runs, mine).jobs_per_second
            / max(find(runs, peer).jobs_per_second for peer in peers)
            for runs in rounds
        ]
    )


def find(runs: Round, name: str) -> Run:
    """Return the run of that contestant; raises KeyError where it has none."""
    for run in runs:
        if run.name == name:
            return run
    raise KeyError(name)


def turned(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each begins with another one, so that none is always first."""
    turn = number % len(names) if names else 0
    return [*names[turn:], *names[:turn]]
