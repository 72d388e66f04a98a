"""Formats the results of the measurement of growth, a section for each figure. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.measurement.run_statistics import spread
from bench.scaling.history_cost import CHORES, FIRST_SCREEN, LISTS, MOVES, StatementCosts
from bench.scaling.history_databases import SMALL
from bench.scaling.scale_options import ScaleOptions
from bench.scaling.tasks_in_flight import ON_TIME_SECONDS, SIGMA, LoadResult
from bench.scaling.worker_growth import MANY_ACCOUNTS, STORES, AccountRates, WorkerGroupRun
from tests.support.report_page import table, wrapped

P8_GOAL = 1.3
_PERCENTS = (50, 95, 99)


def marks_of(figure: str) -> tuple[str, str]:
    """Return the marks of a figure's section on the page."""
    return f"<!-- {figure}: written by `make bench-scale` -->", f"<!-- end of {figure} -->"


def write_flights(flights: Sequence[LoadResult]) -> str:
    """Return the table of P4."""
    head = (
        *("tasks in flight", "fewest seen", "sent within 250 ms, %", "late p50 / p95 / p99, ms"),
        *("polls/s", "ended/s", "worker, % of a core", "peak MB"),
        *("simulated Kie, %", "Valkey, %", "busy cores"),
    )
    rows = table(head, (_flight_row(one) for one in flights))
    carried = [one for one in flights if one.is_carried]
    if carried:
        most = max(carried, key=lambda one: one.load.tasks)
        summary = f"P4: {most.load.tasks:,} tasks carried, in {most.peak_mb:.0f} MB at most."
    else:
        summary = "P4: none of these loads was carried."
    missing = sum(one.unsent for one in flights)
    load = flights[0].load
    return "\n\n".join(
        (
            rows,
            summary,
            wrapped(
                f"Tasks last {load.task_seconds:g} s (median of a lognormal, sigma {SIGMA:g});"
                f" watched for {load.watch_seconds:g} s each. {missing} polls were overdue by more"
                f" than {1000 * ON_TIME_SECONDS:g} ms and unsent at the end of a watch; they count"
                f" as late. The worker's own count of polls and the simulated Kie's differ by"
                f" {max(abs(one.arrived - one.lateness.count) for one in flights)} at most."
            ),
        )
    )


def _flight_row(flight: LoadResult) -> tuple[str, ...]:
    late = (f"{1000 * flight.lateness.percentile(percent):.0f}" for percent in _PERCENTS)
    return (
        f"{flight.load.tasks:,}",
        f"{flight.fewest:,}",
        f"{100 * flight.on_time:.2f}",
        " / ".join(late),
        f"{flight.lateness.count / flight.seconds:,.0f}",
        f"{flight.ended / flight.seconds:.0f}",
        f"{100 * flight.worker_share:.0f}",
        f"{flight.peak_mb:.0f}",
        f"{100 * flight.kie_share:.0f}",
        f"{100 * flight.valkey_share:.0f}",
        f"{flight.busy_cores:.1f}",
    )


def write_costs(costs: StatementCosts, options: ScaleOptions) -> str:
    """Return the table of P8 and the sentence of E3."""
    names = [*MOVES, *LISTS, *CHORES, FIRST_SCREEN]
    head = ("statement", "median", "min", "max", "small, ms", "large, ms")
    rows = table(head, (_cost_row(costs, name) for name in names))
    above = [name for name in names if costs.ratio(name).median > P8_GOAL]
    screen = costs.milliseconds(FIRST_SCREEN)[1]
    return "\n\n".join(
        (
            rows,
            wrapped(
                f"Large: {options.history:,} jobs that have ended, {options.history // 10:,} that"
                f" wait; small: {SMALL.ended:,} and {SMALL.queued:,}. Ratios large ÷ small over"
                f" {options.rounds} rounds. Above {P8_GOAL}: {', '.join(above) or 'none'}."
                f" E3: the first screen's query took {screen:.1f} ms in the large one."
            ),
        )
    )


def _cost_row(costs: StatementCosts, name: str) -> tuple[str, ...]:
    small, large = costs.milliseconds(name)
    return (name, costs.ratio(name).shown(), f"{small:.2f}", f"{large:.2f}")


def write_growth(crews: Sequence[WorkerGroupRun], accounts: Sequence[AccountRates]) -> str:
    """Return the table of workers and the sentences about accounts."""
    head = ("workers", "jobs/s", "worker CPU ms a job", "Redis commands a job", "busy cores")
    return "\n\n".join((table(head, map(_crew_row, crews)), *_said_of_accounts(accounts)))


def _crew_row(crew: WorkerGroupRun) -> tuple[str, ...]:
    return (
        str(crew.workers),
        f"{crew.jobs_per_second:.0f}",
        f"{crew.cpu_ms_per_job:.2f}",
        f"{crew.redis_commands_per_job:.1f}",
        f"{crew.busy_cores:.1f}",
    )


def _said_of_accounts(accounts: Sequence[AccountRates]) -> Iterator[str]:
    enqueued = spread([one.enqueued_hot / one.enqueued_spread for one in accounts])
    settled = spread([one.settled_hot / one.settled_spread for one in accounts])
    many = f"{MANY_ACCOUNTS:,}"
    yield table(
        (f"all jobs on one account ÷ spread over {many}", "median", "min", "max", "one", many),
        (
            (
                "`enqueue_many`, jobs/s",
                enqueued.shown(),
                f"{spread([one.enqueued_hot for one in accounts]).median:,.0f}",
                f"{spread([one.enqueued_spread for one in accounts]).median:,.0f}",
            ),
            (
                f"settlements from {STORES} stores, jobs/s",
                settled.shown(),
                f"{spread([one.settled_hot for one in accounts]).median:,.0f}",
                f"{spread([one.settled_spread for one in accounts]).median:,.0f}",
            ),
        ),
    )
