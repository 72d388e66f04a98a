"""Lists what is wrong after a hostile campaign, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.hostile.attack_kinds import ALWAYS_ALLOWED, EXPECTED
from tests.hostile.honest_jobs import Phase
from tests.hostile.hostile_evidence import ResourceWatch
from tests.hostile.hostile_options import MEMORY_BYTES_MAX, HostileOptions

HEALTH_SECONDS_MAX = 5.0
LOG_BYTES_MAX = 128 * 1024
"""For the worker and for the API, over the whole attack."""


@dataclass(frozen=True, slots=True)
class HostileResult:
    """The content of a report."""

    options: HostileOptions
    alone: Phase
    attacked: Phase
    attack: dict[str, Any]
    """The number of hostile connections, and their outcomes by kind."""
    watch: ResourceWatch
    log_growth: dict[str, int]
    stored_before: dict[str, int]
    stored_after: dict[str, int]
    doctor: tuple[int, str]
    tracebacks: int

    @property
    def slower(self) -> float:
        """Return by how much the 95th percentile of honest jobs grew under attack."""
        return self.attacked.percentile(0.95) / self.alone.percentile(0.95)

    def unexpected(self) -> list[str]:
        """Return the outcomes of hostile connections that are not allowed."""
        expected = {kind.__name__: allowed for kind, allowed in EXPECTED.items()}
        return [
            f"{kind}: {outcome} x {count}"
            for kind, outcomes in self.attack["outcomes"].items()
            for outcome, count in outcomes.items()
            if outcome not in expected[kind] | ALWAYS_ALLOWED
        ]


def faults_of(outcome: HostileResult) -> list[str]:
    """Return what is wrong, a sentence each."""
    return [
        *_of_honest_jobs(outcome),
        *_of_processes(outcome),
        *_of_the_database(outcome),
        *(f"unexpected: {one}" for one in outcome.unexpected()),
    ]


def _of_honest_jobs(outcome: HostileResult) -> Iterator[str]:
    options = outcome.options
    for name, phase in (("alone", outcome.alone), ("under attack", outcome.attacked)):
        yield from (f"{name}: {one}" for one in phase.not_succeeded)
        if len(phase.took_seconds) != options.jobs:
            yield f"{name}: {len(phase.took_seconds)} of {options.jobs} jobs succeeded"
    if outcome.slower > options.slower_at_most:
        yield f"honest jobs took {outcome.slower:.2f} times as long as alone"
    longest = max(outcome.attacked.health_seconds)
    if longest > HEALTH_SECONDS_MAX or outcome.attacked.health_failures:
        yield f"/healthz failed {outcome.attacked.health_failures} times, took {longest:.1f} s"
    if outcome.attack["connections"] != options.connections:
        yield f"only {outcome.attack['connections']} hostile connections"


def _of_processes(outcome: HostileResult) -> Iterator[str]:
    for name, held in outcome.watch.memory_bytes.items():
        if held > MEMORY_BYTES_MAX:
            yield f"{name} had {held / 2**20:.0f} MiB"
    for name in ("worker", "api"):
        if outcome.log_growth[name] > LOG_BYTES_MAX:
            yield f"the log of {name} grew by {outcome.log_growth[name]} bytes"
    if outcome.tracebacks:
        yield f"{outcome.tracebacks} tracebacks in the logs"


def _of_the_database(outcome: HostileResult) -> Iterator[str]:
    for name, count in outcome.stored_after.items():
        if count != outcome.stored_before[name]:
            yield f"stored: {name} was {outcome.stored_before[name]}, is {count}"
    code, said = outcome.doctor
    if code != 0:
        yield f"the doctor: {said}"
