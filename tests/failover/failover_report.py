"""Writes what failover campaigns found, as a section of docs/reliability.md."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.campaign.campaign_invariants import ZeroCount, name_some
from tests.failover.failover_run import GOAL_SECONDS, FailoverResult, seconds_until_moved

MARKS = {
    "synchronous": ("<!-- failover: written by `make failover` -->", "<!-- failover: end -->"),
    "asynchronous": (
        "<!-- failover with losses: written by `make failover` -->",
        "<!-- failover with losses: end -->",
    ),
}
"""The begin and end marks of each section of the page, by kind of standby."""


def write_report(outcomes: Sequence[FailoverResult]) -> str:
    """Return the section."""
    return "\n".join(_lines(outcomes)) + "\n"


def _lines(outcomes: Sequence[FailoverResult]) -> Iterator[str]:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    yield f"Measured {today}, all servers on one machine: a Postgres"
    yield "primary with one standby, a Valkey primary with one replica and three Sentinels."
    for outcome in outcomes:
        yield ""
        yield from _one(outcome)


def _title(outcome: FailoverResult) -> str:
    plan = outcome.plan
    standby = "synchronous" if plan.is_synchronous else "asynchronous"
    return f"{standby} standby, callbacks {'on' if plan.callbacks else 'off'}"


def _one(outcome: FailoverResult) -> Iterator[str]:
    plan = outcome.plan
    yield f"### Failover: {_title(outcome)}"
    yield ""
    yield f"{plan.jobs} jobs, {plan.workers} workers, seed {plan.seed};"
    yield f"{plan.times} deaths of each primary, {outcome.took_seconds:.0f} s in all."
    yield ""
    yield "| died | s until promoted | s until the first open job moved | until the last | open |"
    yield "|---|---|---|---|---|"
    for one in outcome.failovers:
        first, last, count = seconds_until_moved(outcome, one)
        promoted = one.promoted_epoch - one.died_epoch
        yield f"| {one.server} | {promoted:.1f} | {first:.1f} | {last:.1f} | {count} |"
    firsts = [seconds_until_moved(outcome, one)[0] for one in outcome.failovers]
    word = "met" if max(firsts) <= GOAL_SECONDS else "NOT met"
    yield ""
    yield f"The goal, that jobs move again within {GOAL_SECONDS:.0f} s of a promotion, is {word}."
    yield ""
    if outcome.promotions > plan.times:
        yield f"The Sentinels promoted a Valkey {outcome.promotions} times: they took one for dead"
        yield "that lived."
        yield ""
    yield from _zeros(outcome.zeros)
    yield ""
    yield from _ends(outcome)
    yield ""
    if not plan.is_synchronous:
        yield from _losses(outcome)
    yield from _doctor(outcome)


def _losses(outcome: FailoverResult) -> Iterator[str]:
    lost = next(len(zero.who) for zero in outcome.zeros if zero.what == "orders lost")
    gone = [job for job in outcome.losses.jobs if not job.is_known]
    orphans = outcome.orphans()
    kept = {job.task_id for job in outcome.losses.jobs}
    yield f"By the record of Kie and of the caller, {lost} accepted jobs were lost, and"
    yield f"{len(orphans)} tasks that Kie was paid for have no job. Workers noticed and kept"
    yield f"{len(gone)} jobs, and {len(orphans & kept)} of these tasks by their ids."
    yield ""


def _zeros(zeros: Sequence[ZeroCount]) -> Iterator[str]:
    yield "| what must be zero | count |"
    yield "|---|---|"
    for zero in zeros:
        count = "0" if zero.is_kept else f"**{len(zero.who)}**: {name_some(zero.who)}"
        yield f"| {zero.what} | {count} |"


def _ends(outcome: FailoverResult) -> Iterator[str]:
    ends = Counter((job.state, job.reason) for job in outcome.evidence.tables.jobs)
    named = (f"{state}{f': {reason}' if reason else ''} {n}" for (state, reason), n in ends.items())
    yield f"How the jobs ended: {', '.join(sorted(named))}. The simulated"
    yield "Kie loses 1 % of its replies to create on purpose, which only callbacks can recover."


def _doctor(outcome: FailoverResult) -> Iterator[str]:
    bad = [one for one in outcome.doctor if not one["ok"]]
    if not bad and outcome.doctor_code == 0:
        yield f"`darkroom doctor` at the end: all is well, {len(outcome.doctor)} checks."
        return
    yield f"`darkroom doctor` at the end (exit {outcome.doctor_code}):"
    yield ""
    for one in bad:
        yield f"- **{one['name']}**: {one['detail']}"
