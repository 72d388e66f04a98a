"""What is wrong with the processes of a Darkroom."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.alerts.alert import Alert
from shared.domain.alerts.system_state import Situation


def alerts_of_processes(now: Situation) -> Iterator[Alert]:
    """Return what is wrong with the workers and API processes."""
    # Who is alive is known by what each process writes, and now none of them can.
    if not (now.is_standby or now.is_read_only):
        yield from _of_workers(now)
        yield from _of_keys(now)
    yield from _of_others(now)


def _of_workers(now: Situation) -> Iterator[Alert]:
    has_work = now.queued or now.tasks or now.unknown or now.failing
    if now.workers_alive == 0 and (has_work or now.workers_lost):
        yield Alert(
            "no_worker",
            f"no worker is running; {now.queued_text} wait and {now.tasks} tasks are not looked at",
            "start one: `darkroom worker`",
            since=now.worker_seen_at,
        )
    for worker in now.workers_lost:
        yield Alert(
            "worker_lost",
            f"worker {worker.name} died or lost Postgres; {now.workers_alive} are alive",
            "start another; its log says why. Its jobs go on elsewhere, once their leases lapse",
            since=worker.seen_at,
            subject=worker.name,
        )


_SAME_KEYS = (
    "give all workers the same KIE_API_KEYS, each Kie account one name of its own; nothing, while"
    " one worker after another is restarted with a new key of the same Kie account"
)


def _of_keys(now: Situation) -> Iterator[Alert]:
    for one in now.differing_keys:
        yield Alert(
            "keys_differ",
            f"the Kie account {one.account} has one key at {one.at}: if they are keys of different"
            " Kie accounts, each is braked for the other, and limits count both as one",
            _SAME_KEYS,
            since=one.since,
            subject=one.account,
        )
    for one in now.renamed_keys:
        yield Alert(
            "keys_differ",
            f"one key has several names ({one.at}): the limit of that Kie account is counted for"
            " each of them, and Kie will answer 429",
            _SAME_KEYS,
            since=one.since,
            subject=one.account,
        )


def _of_others(now: Situation) -> Iterator[Alert]:
    for skewed in now.skewed:
        how = "ahead of" if skewed.seconds > 0 else "behind"
        yield Alert(
            "clock_skew",
            f"the clock of {skewed.name} is {abs(skewed.seconds):.0f} s {how} that of Postgres",
            "set its clock by NTP; jobs do not suffer, the dates in its log are wrong",
            subject=skewed.name,
        )
    for process in now.without_redis:
        yield Alert(
            "process_without_redis",
            f"{process.name} is alive and cannot write to its Redis"
            + (f": {process.error}" if process.error else ""),
            "start Redis or Valkey, or mend REDIS_URL of that process",
            since=process.since,
            subject=process.name,
        )
