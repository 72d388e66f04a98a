"""`python -m bench.timetable`: the learned poll timetable against Kie's advice (P3b).

Pure simulation, seeded: no servers, nothing timed. With `--write` it also draws docs/timetable.svg
and writes the tables into docs/decisions/0012-learned-timetable.md.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from platform import python_version

from bench.polling.duration_models import MAIN, OTHERS, recorded
from bench.polling.lag_plot import Panel, Point, draw
from bench.polling.poll_simulation import (
    DurationModel,
    Figures,
    KieAdvicePolicy,
    Learned,
    SimulatedTask,
    UnlearnedPolicy,
    figures_of,
    simulate,
)
from tests.support.report_page import rewrite_section, table
from worker.poll_timing.optimal_plan import POLL_COST_IN_LAG_SECONDS
from worker.poll_timing.overload import LAG_FACTORS

_DOCS = Path(__file__).parents[1] / "docs"
PAGE = _DOCS / "decisions" / "0012-learned-timetable.md"
PLOT = _DOCS / "timetable.svg"
BEGIN = "<!-- figures: written by `python -m bench.timetable --write` -->"
END = "<!-- end of figures -->"
WARM_UP_TASKS = 2_000
COLD_TASKS = 200
TRADE_OFFS = (0.5, 0.65, 0.9, POLL_COST_IN_LAG_SECONDS, 1.6, 2.2, 3.0, 4.0)
_HEAD = ("completion times", "timetable", "polls", "p50 s", "p95 s", "p99 s", "polls ÷", "p95 ÷")


def main() -> int:
    """Measure and print. Returns 0: figures cannot fail."""
    options = _read_command_line(sys.argv[1:])
    worlds = [*MAIN, *([recorded(options.recorded)] if options.recorded else [])]
    rows = [row for world in worlds for row in _compare(world, options)]
    others = [row for world in OTHERS for row in _compare(world, options, brief=True)]
    busy = [row for world in MAIN for row in _compare_lag_factors(world, options)]
    section = "\n\n".join(
        [
            _describe(options),
            table(_HEAD, rows, words=2),
            "What else may happen, warmed up:",
            table(_HEAD, others, words=2),
            "A worker that needs most of a core, at each of its lag factors (0016):",
            table(_HEAD, busy, words=2),
        ]
    )
    sys.stdout.write(section + "\n")
    if options.write:
        PLOT.write_text(draw([_panel(world, options) for world in MAIN]), encoding="utf-8")
        rewrite_section(PAGE, BEGIN, END, section)
    return 0


def _read_command_line(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m bench.timetable", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="per distribution")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="draw the plot, write the page")
    parser.add_argument(
        "--recorded", type=Path, help="a file of completion times in seconds, one per line"
    )
    return parser.parse_args(arguments)


def _describe(options: Namespace) -> str:
    command = f"python -m bench.timetable --tasks {options.tasks} --seed {options.seed}"
    return f"`{command}`, Python {python_version()}; {options.tasks:,} tasks each."


def _compare(
    world: DurationModel, options: Namespace, *, brief: bool = False
) -> Iterable[Sequence[str]]:
    """Yield the rows of one world. All timetables have the same tasks."""
    warm = min(WARM_UP_TASKS, options.tasks // 2)
    tasks = options.tasks + warm
    advice = simulate(world, KieAdvicePolicy(), tasks, options.seed)
    ours = simulate(world, Learned(options.seed, POLL_COST_IN_LAG_SECONDS), tasks, options.seed)
    yield _row(world.name, "Kie's advice", advice[warm:], advice[warm:])
    if not brief:
        thumb = simulate(world, UnlearnedPolicy(), tasks, options.seed)
        yield _row("", "rule of thumb", thumb[warm:], advice[warm:])
        cold = min(COLD_TASKS, options.tasks)
        yield _row("", f"learned, the first {cold}", ours[:cold], advice[:cold])
        yield _row("", "learned, from cold", ours[: options.tasks], advice[: options.tasks])
    yield _row("", "learned, warm", ours[warm:], advice[warm:])


def _compare_lag_factors(world: DurationModel, options: Namespace) -> Iterable[Sequence[str]]:
    """Yield a row for each lag factor of an overloaded worker. The ratios are to the lowest one."""
    warm = min(WARM_UP_TASKS, options.tasks // 2)
    found = [
        simulate(
            world,
            Learned(options.seed, POLL_COST_IN_LAG_SECONDS * factor),
            options.tasks + warm,
            options.seed,
        )[warm:]
        for factor in LAG_FACTORS
    ]
    for factor, tasks in zip(LAG_FACTORS, found, strict=True):
        yield _row(world.name if tasks is found[0] else "", f"factor {factor:g}", tasks, found[0])


def _row(
    name: str, timetable: str, found: Sequence[SimulatedTask], advice: Sequence[SimulatedTask]
) -> list[str]:
    ours, theirs = figures_of(found), figures_of(advice)
    seconds = (ours.p50_seconds, ours.p95_seconds, ours.p99_seconds)
    ratios = (ours.polls / theirs.polls, ours.p95_seconds / theirs.p95_seconds)
    return [
        *(name, timetable, f"{ours.polls:.2f}"),
        *(f"{value:.2f}" for value in seconds),
        *(f"{value:.2f}" for value in ratios),
    ]


def _panel(world: DurationModel, options: Namespace) -> Panel:
    """Return the curve of one world, over all trade-offs."""
    warm = min(WARM_UP_TASKS, options.tasks // 2)
    tasks = options.tasks + warm

    def figures(policy: KieAdvicePolicy | Learned) -> Figures:
        return figures_of(simulate(world, policy, tasks, options.seed)[warm:])

    curve = [figures(Learned(options.seed, trade_off)) for trade_off in TRADE_OFFS]
    chosen = TRADE_OFFS.index(POLL_COST_IN_LAG_SECONDS)
    return Panel(
        title=world.name,
        curve=[Point(one.polls, one.p95_seconds) for one in curve],
        chosen=chosen,
        advice=_point(figures(KieAdvicePolicy())),
        thumb=_point(figures(UnlearnedPolicy())),
    )


def _point(figures: Figures) -> Point:
    return Point(figures.polls, figures.p95_seconds)


if __name__ == "__main__":
    sys.exit(main())
