"""Statistics of the runs of several rounds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.support.percentiles import percentile


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one pipeline."""

    name: str
    jobs: int
    seconds: float
    """From the resumption of the worker to the end of its last job."""
    cpu_seconds: float
    """The CPU time of the worker process."""
    polls: int
    statements: int
    """The statements that the worker sent. 0 if they were not counted."""
    kie_cpu_seconds: float
    lags: tuple[float, ...] = ()
    """Seconds from the end of each task at Kie to the settlement of its job."""

    def lag_seconds(self, percent: int) -> float:
        """Return a percentile of the lags. 0 without lags."""
        return percentile(self.lags, percent)

    @property
    def cpu_ms_per_job(self) -> float:
        """The CPU time per job, in milliseconds."""
        return 1000 * self.cpu_seconds / self.jobs

    @property
    def jobs_per_second(self) -> float:
        """Ended jobs per second of the whole run."""
        return self.jobs / self.seconds

    @property
    def polls_per_job(self) -> float:
        """The number of polls."""
        return self.polls / self.jobs

    @property
    def kie_share(self) -> float:
        """The simulated Kie's share of one core. At 1 it would be the bottleneck."""
        return self.kie_cpu_seconds / self.seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    lowest: float
    highest: float

    def shown(self, digits: int = 2) -> str:
        """Return the cells of a table: median, lowest, highest."""
        cells = (self.median, self.lowest, self.highest)
        return " | ".join(f"{cell:.{digits}f}" for cell in cells)


Round = Sequence[Run]
"""The runs of all pipelines in one round."""


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest of at least one value."""
    return Spread(median(values), min(values), max(values))


def spread_of(rounds: Sequence[Round], name: str, figure: Callable[[Run], float]) -> Spread:
    """Return a figure of one pipeline over the rounds."""
    return spread([figure(find(runs, name)) for runs in rounds])


def cpu_ratio(rounds: Sequence[Round], mine: str, floor: str) -> Spread:
    """Return the ratio of the CPU time per job of two pipelines, for each round."""
    return spread(
        [find(runs, mine).cpu_ms_per_job / find(runs, floor).cpu_ms_per_job for runs in rounds]
    )


def find(runs: Round, name: str) -> Run:
    """Return the run of that pipeline. Raises KeyError without one."""
    for run in runs:
        if run.name == name:
            return run
    raise KeyError(name)


def turned(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round, rotated so that no pipeline is always first."""
    turn = number % len(names) if names else 0
    return [*names[turn:], *names[:turn]]
