"""The options of the measurement of growth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.arguments import positive

FIGURES = ("flight", "history", "growth")
"""P4; P8 and E3; workers and accounts. Each has its own section on the page."""
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOptions:
    """One measurement. The seed repeats the random choices of the simulated Kie."""

    tasks: tuple[int, ...] = (1_000, 3_000, 10_000)
    """The numbers of tasks in flight at one worker, measured one after the other."""
    task_seconds: float = 120.0
    watch_seconds: float = 45.0
    history: int = 1_000_000
    """The number of ended jobs. A tenth as many are queued."""
    workers: tuple[int, ...] = (1, 2, 4, 8)
    jobs: int = 4_000
    """The number of jobs for the measurement of workers."""
    account_jobs: int = 10_000
    rounds: int = 5
    account_rounds: int = 3
    seed: int = 7
    figures: tuple[str, ...] = FIGURES
    page: Path | None = None
    """The page whose sections are rewritten. Default: none, the figures are only printed."""

    @property
    def command(self) -> str:
        """The command that repeats the measurement."""
        return (
            f"python -m bench.scale --tasks {_listed(self.tasks)}"
            f" --task-seconds {self.task_seconds:g} --watch-seconds {self.watch_seconds:g}"
            f" --history {self.history} --workers {_listed(self.workers)} --jobs {self.jobs}"
            f" --account-jobs {self.account_jobs} --rounds {self.rounds}"
            f" --account-rounds {self.account_rounds} --seed {self.seed}"
            f" --figures {','.join(self.figures)}"
        )


def read_scale_options(arguments: Sequence[str]) -> ScaleOptions:
    """Parse the arguments. Raises SystemExit if they are invalid."""
    defaults = ScaleOptions()
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description="Measures where Darkroom bends: tasks in flight, history, workers, accounts.",
        allow_abbrev=False,
    )
    parser.add_argument("--tasks", type=_numbers, default=defaults.tasks, metavar="N,...")
    parser.add_argument("--workers", type=_numbers, default=defaults.workers, metavar="N,...")
    for name in ("history", "jobs", "account-jobs", "rounds", "account-rounds"):
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=positive, default=default)
    for name in ("task-seconds", "watch-seconds"):
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=_seconds, default=default)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--figures",
        type=_figures,
        default=FIGURES,
        metavar="NAME,...",
        help="some of flight (P4), history (P8, E3), growth (workers, accounts); default: all",
    )
    parser.add_argument(
        "--write", action="store_true", help="rewrite their sections in docs/scaling.md as well"
    )
    given = vars(parser.parse_args(arguments))
    page = PAGE if given.pop("write") else None
    return ScaleOptions(**given, page=page)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(str(number) for number in numbers)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split(","))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} must be 1 to 3600")
    return seconds


def _figures(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        allowed = ", ".join(FIGURES)
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} must be some of {allowed}")
    return names
