"""Formats the results of P2: the ratio, the trials and the screening."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures.rate_search import Outcome, is_bracketed, rate_of, ratio_to_best
from bench.figures.rate_trial import LATE_SECONDS, Trial
from bench.figures.sustained_rate import (
    PEERS_MEASURED,
    SCREENING_RATE,
    SCREENING_SECONDS,
    Sustained,
)
from bench.measurement.pipelines import DarkroomPipeline
from bench.measurement.run_statistics import Spread
from tests.support.percentiles import percentile
from tests.support.report_page import table, wrapped

_COSTS_HEAD = (
    *("worker, % of a core", "CPU ms a job", "polls a job", "lag p50, s", "lag p95, s"),
    *("submit delay p95, s", "simulated Kie, % of a core"),
)
_HEAD = ("contestant", "jobs/s carried", "min", "max", "tried", "last carried", *_COSTS_HEAD)
_SCREENING_HEAD = ("contestant", "carried", *_COSTS_HEAD, "first guess, jobs/s")


def sustained_ratio(found: Sustained) -> Spread | None:
    """Return the ratio of Darkroom's rate to the best peer's. None without a measured peer."""
    peers = {name: found.tried(name) for name in found.trials if name != DarkroomPipeline.name}
    return ratio_to_best(found.tried(DarkroomPipeline.name), peers) if peers else None


def is_bound(found: Sustained) -> bool:
    """Return whether a limit was seen from one side only, so that the ratio is a bound."""
    return not all(is_bracketed(found.tried(name)) for name in found.trials)


def say_sustained(found: Sustained, offered_seconds: int) -> Iterator[str]:
    """Yield paragraphs and tables as Markdown. Yields nothing without trials."""
    if not found.trials:
        return
    rounds = len(found.trials[DarkroomPipeline.name])
    yield wrapped(
        f"P2: jobs offered evenly for {offered_seconds} s, rounds: {rounds}. Carried: all jobs"
        f" end, and 95 % are submitted within {LATE_SECONDS:g} s of being placed and settled within"
        f" {LATE_SECONDS:g} s of their task's end. What is right of the last rate that was carried"
        " was measured at it; the share of a core in the last quarter of the offering, the CPU a"
        " job until the last had ended."
    )
    yield table(_HEAD, (_row(found, name) for name in found.trials))
    yield from _warnings(found)
    yield wrapped(
        f"P2, the screening: {SCREENING_RATE} jobs/s for {SCREENING_SECONDS:g} s. Darkroom and the"
        f" {PEERS_MEASURED} peers with the highest guess went on. A guess is the rate that would"
        " take 0.8 of a core. Darkroom's timetable has learned nothing yet."
    )
    yield table(_SCREENING_HEAD, map(_screening_row, found.screened))


def _row(found: Sustained, name: str) -> tuple[str, ...]:
    trial = found.last_carried(name)
    costs = _costs(trial) if trial is not None else ("none",) * len(_COSTS_HEAD)
    return (
        name,
        rate_of(found.tried(name)).shown(0),
        ", ".join(f"{one.rate} {one.outcome}" for one in found.tried(name)),
        f"{trial.rate}" if trial is not None else "none",
        *costs,
    )


def _screening_row(trial: Trial) -> tuple[str, ...]:
    return (
        trial.name,
        f"{trial.outcome}",
        *_costs(trial),
        f"{trial.tried.guess}",
    )


def _costs(trial: Trial) -> tuple[str, ...]:
    return (
        f"{100 * trial.worker_share:.0f}",
        f"{trial.cpu_ms_per_job:.2f}",
        f"{trial.polls_per_job:.2f}",
        f"{percentile(trial.lags, 50):.2f}",
        f"{percentile(trial.lags, 95):.2f}",
        f"{percentile(trial.submit_delays, 95):.2f}",
        f"{100 * trial.kie_share:.0f}",
    )


def _warnings(found: Sustained) -> Iterator[str]:
    """Yield warnings: figures that are bounds, and trials whose jobs were placed late."""
    for name in found.trials:
        tried = found.tried(name)
        if not is_bracketed(tried):
            side = "above" if tried[-1].outcome is Outcome.CARRIED else "below"
            yield wrapped(
                f"**{name}: the outcome never changed. The rate is somewhere {side}"
                f" {tried[-1].rate} jobs/s; more rounds would tell.**"
            )
        late = [f"{one.rate}" for one in tried if one.outcome is Outcome.NOT_OFFERED]
        if late:
            yield wrapped(
                f"**{name}: at {', '.join(late)} jobs/s the placing fell behind. Such a round says"
                " nothing of the worker, whose rate may be higher.**"
            )
