"""Formats the results: ratios, figures of each pipeline, and the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.figures.callback_lag import CallbackLag, CallbackRun, lag_of
from bench.figures.cpu_per_job import PairedRuns
from bench.figures.enqueue_cost import MANY, EnqueueRates
from bench.figures.figure_options import FigureOptions
from bench.figures.redis_commands import MANY_WORKERS, CommandCounts
from bench.figures.sustained_rate import Sustained
from bench.figures.sustained_report import is_bound, say_sustained, sustained_ratio
from bench.measurement.pipelines import BareLoopPipeline, DarkroomPipeline
from bench.measurement.run_statistics import Round, cpu_ratio, spread, spread_of
from bench.peers.peer_environments import version_of
from tests.support.percentiles import percentile
from tests.support.report_page import table
from tests.support.run_description import describe_run

BEGIN = "<!-- figures: written by `make bench` -->"
END = "<!-- end of figures -->"
_BOTTLENECK = 0.8
_RATES = ("many_rate", "arq_rate")
_TIMES = ("single_seconds", "bare_seconds")
_SPREAD_HEAD = ("median", "min", "max")


@dataclass(slots=True)
class Findings:
    """The measured figures. Others are empty."""

    speed: PairedRuns = field(default_factory=lambda: PairedRuns([], 0))
    sustained: Sustained = field(default_factory=Sustained)
    enqueued: list[EnqueueRates] = field(default_factory=list)
    commands: list[CommandCounts] = field(default_factory=list)
    called: list[CallbackRun] = field(default_factory=list)


def write_figures(found: Findings, options: FigureOptions, loads: tuple[float, float]) -> str:
    """Return the section as Markdown."""
    speed = found.speed
    parts = [
        "\n".join(describe_run(options.command, loads, _name(options.peers))),
        table(("figure", "what", *_SPREAD_HEAD, "goal"), _ratios(found), words=2),
    ]
    if speed.rounds:
        parts += [
            f"P1, {options.jobs} jobs, rounds: {options.rounds}.",
            _contestants(speed),
        ]
    parts += say_sustained(found.sustained, options.offered_seconds)
    parts += _verdict_on_kie(found)
    parts += [*_said_of_enqueueing(found.enqueued), *_said_of_commands(found.commands)]
    if found.called:
        parts.append(_lags_by_rate(found.called, options.rounds))
    return "\n\n".join(parts) + "\n"


def _name(libraries: Sequence[str]) -> str:
    return ", ".join(f"{one} {version_of(one)}" for one in libraries) or "none"


def _ratios(found: Findings) -> Iterator[tuple[str, ...]]:
    speed, enqueued = found.speed, found.enqueued
    if speed.rounds:
        ratio = cpu_ratio(speed.rounds, DarkroomPipeline.name, BareLoopPipeline.name)
        yield ("P1", "worker CPU per job ÷ the bare loop's", ratio.shown(), "≤ 1.5")
    if (sustained := sustained_ratio(found.sustained)) is not None:
        bound = " (of bounds, see below)" if is_bound(found.sustained) else ""
        what = f"jobs/s that one worker process carries ÷ the best peer's{bound}"
        yield ("P2", what, sustained.shown(), "≥ 3")
    for rate in dict.fromkeys(one.rate for one in found.called):
        runs = [one for one in found.called if one.rate == rate]
        for percent, goal in ((50, "≤ 50"), (99, "≤ 250")):
            lags = spread([1000 * percentile(one.lags, percent) for one in runs])
            what = f"finish-to-settled lag with callbacks, p{percent}, ms, at {rate} jobs/s"
            yield ("P3a", what, lags.shown(0), goal)
    if enqueued:
        ratio = spread([one.many_rate / one.arq_rate for one in enqueued])
        what = f"`enqueue_many` of {MANY:,} jobs, jobs/s ÷ stock arq's `enqueue_job` under `gather`"
        yield ("P5", what, ratio.shown(), "≥ 3")
        ratio = spread([one.single_seconds / one.bare_seconds for one in enqueued])
        what = "`enqueue` p50 ÷ one bare commit and one bare `enqueue_job`"
        yield ("P6", what, ratio.shown(), "≤ 1.3")
    for name in dict.fromkeys(one.name for one in found.commands):
        mine = [one.crowded / one.alone for one in found.commands if one.name == name]
        what = f"Redis commands per job, {MANY_WORKERS} workers ÷ 1: {name}"
        goal = "≤ 1.15" if name == DarkroomPipeline.name else ""
        yield ("P7", what, spread(mine).shown(), goal)


def _said_of_enqueueing(enqueued: Sequence[EnqueueRates]) -> Iterator[str]:
    if not enqueued:
        return
    rates = [spread([getattr(one, name) for one in enqueued]).median for name in _RATES]
    times = [1000 * spread([getattr(one, name) for one in enqueued]).median for name in _TIMES]
    yield (
        f"P5: {rates[0]:.0f} jobs/s against {rates[1]:.0f}. P6: {times[0]:.2f} ms against"
        f" {times[1]:.2f} ms. Medians of {len(enqueued)} rounds."
    )


def _said_of_commands(commands: Sequence[CommandCounts]) -> Iterator[str]:
    for name in dict.fromkeys(one.name for one in commands):
        mine = [one for one in commands if one.name == name]
        alone = spread([one.alone for one in mine]).median
        crowded = spread([one.crowded for one in mine]).median
        yield (
            f"P7: {name}: {alone:.1f} commands per job alone, {crowded:.1f} with"
            f" {MANY_WORKERS} workers."
        )


def _lags_by_rate(called: Sequence[CallbackRun], rounds: int) -> str:
    head = (
        *("P3a: jobs/s offered", "jobs", "lag p50, ms", "p95", "p99", "p99 of the worst round"),
        *("polls a job", "callbacks a job", "of which hastened", "worker, % of a core"),
    )
    rates = dict.fromkeys(one.rate for one in called)
    lags = [lag_of([one for one in called if one.rate == rate]) for rate in rates]
    return f"P3a, rounds: {rounds}.\n\n" + table(head, (_lag_row(lag) for lag in lags))


def _lag_row(lag: CallbackLag) -> tuple[str, ...]:
    return (
        f"{lag.rate}",
        f"{lag.jobs}",
        *(f"{ms:.0f}" for ms in (lag.p50_ms, lag.p95_ms, lag.p99_ms, lag.worst_p99_ms)),
        f"{lag.polls_per_job:.2f}",
        f"{lag.callbacks_per_job:.2f}",
        f"{lag.hastened_per_job:.2f}",
        f"{100 * lag.worker_share:.0f}",
    )


def _contestants(found: PairedRuns) -> str:
    head = (
        "contestant",
        *("CPU ms a job", "min", "max"),
        *("jobs/s", "min", "max"),
        *("polls a job", "lag p50, s", "lag p95, s"),
        *("statements a job", "simulated Kie, % of a core"),
    )
    names = (DarkroomPipeline.name, BareLoopPipeline.name)
    return table(head, (_row(found.rounds, name, found.statements) for name in names))


def _row(rounds: Sequence[Round], name: str, statements: float) -> tuple[str, ...]:
    return (
        name,
        spread_of(rounds, name, lambda run: run.cpu_ms_per_job).shown(),
        spread_of(rounds, name, lambda run: run.jobs_per_second).shown(0),
        f"{spread_of(rounds, name, lambda run: run.polls_per_job).median:.2f}",
        *(_lag(rounds, name, percent) for percent in (50, 95)),
        f"{statements:.2f}",
        f"{100 * spread_of(rounds, name, lambda run: run.kie_share).highest:.0f}",
    )


def _lag(rounds: Sequence[Round], name: str, percent: int) -> str:
    # The bare loop with fewer than two statements a job stores no task ids: nobody can tell.
    if not any(run.lags for runs in rounds for run in runs if run.name == name):
        return "-"
    return f"{spread_of(rounds, name, lambda run: run.lag_seconds(percent)).median:.2f}"


def _verdict_on_kie(found: Findings) -> Iterator[str]:
    runs = [run for runs in found.speed.rounds for run in runs]
    trials = [trial for trials in found.sustained.trials.values() for trial in trials]
    shares = [*(run.kie_share for run in runs), *(trial.kie_share for trial in trials)]
    if not shares:
        return
    if max(shares) < _BOTTLENECK:
        yield f"The simulated Kie took {100 * max(shares):.0f} % of a core at most: no bottleneck."
        return
    yield (
        f"**The simulated Kie took {100 * max(shares):.0f} % of a core: it may have been the"
        " bottleneck, and the jobs/s above may be too low.**"
    )
