"""Tables of what was measured: the shares of accounts, and the wait beside a large batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from bench.fairness.budget_share import BATCH_JOBS, LIMIT, ShareResult
from bench.fairness.lone_jobs import LoneWaits
from bench.fairness.scenario_run import SUBMITS_PER_10_SECONDS, Submit
from bench.fairness.scenarios import Scenario
from tests.support.percentiles import percentile

_PLACED_SECONDS = 1.0
"""After this the jobs of a crowd are placed."""


def report_scenarios(
    measured: Sequence[tuple[Scenario, Sequence[Submit]]], seconds: float
) -> Iterator[str]:
    """Yield a row for each scenario: the submits of each crowd while all of them waited."""
    yield f"limit {SUBMITS_PER_10_SECONDS} submits in 10 s, {seconds:g} s each, one worker"
    yield ""
    yield "| scenario | share to get | submits while all waited | submits in all |"
    yield "|---|---|---|---|"
    for scenario, submits in measured:
        side_by_side = while_all_waited(scenario, submits)
        counts = Counter(one.account for one in side_by_side)
        shown = ", ".join(f"{crowd.name} {counts[crowd.name]}" for crowd in scenario.crowds)
        yield f"| {scenario.name} | {scenario.shares} | {shown} | {len(submits)} |"


def while_all_waited(scenario: Scenario, submits: Sequence[Submit]) -> list[Submit]:
    """Return the submits from the arrival of the last crowd until the first had no job left."""
    since = max(crowd.at_seconds for crowd in scenario.crowds) + _PLACED_SECONDS
    ends = [
        own[-1]
        for crowd in scenario.crowds
        if len(own := [one.at_seconds for one in submits if one.account == crowd.name])
        == crowd.jobs * crowd.accounts
    ]
    until = min(ends, default=float("inf"))
    return [one for one in submits if since <= one.at_seconds <= until]


def report_lone_jobs(waits: LoneWaits) -> Iterator[str]:
    """Yield how long single jobs waited."""
    yield "| a single job, from placing it until Kie received it | p50, ms | p95, ms | max, ms |"
    yield "|---|---|---|---|"
    for name, seconds in (
        ("in an idle queue (goal: p95 at most 100 ms)", waits.idle),
        ("while jobs of a paused account wait", waits.beside_paused),
    ):
        figures = [1000 * percentile(seconds, percent) for percent in (50, 95, 100)]
        yield f"| {name} | {' | '.join(f'{one:.0f}' for one in figures)} |"


def report_shares(alone: Sequence[ShareResult], beside: Sequence[ShareResult]) -> Iterator[str]:
    """Yield what ten jobs waited without and with a large batch before them (E5)."""
    waits = [[one.last_wait_seconds for one in runs] for runs in (alone, beside)]
    ratios = [with_batch / without for without, with_batch in zip(*waits, strict=True)]
    yield f"limit {LIMIT} submits in 10 s, used up when the ten jobs come; {len(alone)} rounds"
    yield ""
    yield "| | median | min | max |"
    yield "|---|---|---|---|"
    for name, values in (
        ("wait of the last of ten jobs, s, alone", waits[0]),
        (f"wait of the last of ten jobs, s, beside {BATCH_JOBS:,} queued", waits[1]),
        ("beside ÷ alone (goal: at most 2)", ratios),
    ):
        yield f"| {name} | {median(values):.2f} | {min(values):.2f} | {max(values):.2f} |"
    used = [one.submits / one.seconds * 10 for one in beside]
    spread = f"{median(used):.1f} | {min(used):.1f} | {max(used):.1f}"
    yield f"| submits in 10 s beside the batch | {spread} |"
    yield ""
    most = max(one.worst_window for one in beside)
    yield f"most submits in any 10 s, as the simulated Kie counts: {most}"
