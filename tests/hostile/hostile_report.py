"""Writes what a hostile campaign found, as a section of docs/reliability.md."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from tests.hostile.honest_jobs import Phase
from tests.hostile.hostile_invariants import HostileResult, faults_of
from tests.hostile.hostile_options import MEMORY_BYTES_MAX
from tests.support.percentiles import percentile

BEGIN = "<!-- hostile: written by `make hostile` -->"
END = "<!-- hostile: end -->"


def write_report(outcome: HostileResult) -> str:
    """Return the section."""
    return "\n".join(_lines(outcome)) + "\n"


def _lines(outcome: HostileResult) -> Iterator[str]:
    options, attack = outcome.options, outcome.attack
    today = time.strftime("%Y-%m-%d", time.gmtime())
    yield f"Measured {today}, attackers and attacked on one machine: {attack['connections']:,}"
    yield f"connections over {options.seconds:g} s, {attack['most_open']:,} open at once, to an"
    yield f"API and a worker with {options.descriptors:,} file descriptors each."
    yield ""
    yield from _phases(outcome)
    yield ""
    yield from _limits_table(outcome)
    yield ""
    yield from _kinds(outcome)
    faults = faults_of(outcome)
    yield ""
    if not faults:
        yield "Nothing is wrong."
        return
    yield "**Not as it must be:**"
    yield ""
    yield from (f"- {fault}" for fault in faults)


def _phases(outcome: HostileResult) -> Iterator[str]:
    yield "| honest jobs | succeeded | median s | p95 s | longest s | again | `/healthz` p95 ms |"
    yield "|---|---|---|---|---|---|---|"
    for name, phase in (("alone", outcome.alone), ("under attack", outcome.attacked)):
        yield f"| {name} | {len(phase.took_seconds)} of {outcome.options.jobs} | {_row(phase)} |"


def _row(phase: Phase) -> str:
    times = [f"{phase.percentile(part):.2f}" for part in (0.5, 0.95, 1.0)]
    health = percentile(phase.health_seconds, 95, of_none=math.inf) * 1000
    return " | ".join([*times, str(phase.tried_again), f"{health:.0f}"])


def _limits_table(outcome: HostileResult) -> Iterator[str]:
    options, watch = outcome.options, outcome.watch
    yield "| | allowed | was |"
    yield "|---|---|---|"
    slower, allowed_slower = f"{outcome.slower:.2f}", f"{options.slower_at_most:g}"
    yield f"| p95 of honest jobs ÷ p95 without the attack | {allowed_slower} | {slower} |"
    for name, held in watch.memory_bytes.items():
        allowed = MEMORY_BYTES_MAX // 2**20
        yield f"| memory of the {name} at most, MiB | {allowed} | {held / 2**20:.0f} |"
    for name, count in watch.descriptors.items():
        yield f"| descriptors of the {name} at most | {options.descriptors:,} | {count} |"
    changed = sum(
        count != outcome.stored_before[name] for name, count in outcome.stored_after.items()
    )
    yield f"| counts of rows that changed, of {len(outcome.stored_after)} | 0 | {changed} |"
    for name, grown in outcome.log_growth.items():
        yield f"| growth of the log of {name}, KiB | | {grown / 1024:.0f} |"
    yield f"| exit code of `darkroom doctor` | 0 | {outcome.doctor[0]} |"


def _kinds(outcome: HostileResult) -> Iterator[str]:
    yield "| hostile connections | how many | outcomes |"
    yield "|---|---|---|"
    for kind, outcomes in sorted(outcome.attack["outcomes"].items()):
        told = ", ".join(f"{what} {count:,}" for what, count in sorted(outcomes.items()))
        yield f"| {kind.replace('_', ' ')} | {sum(outcomes.values()):,} | {told} |"
