"""Finds alerts about worker and API processes."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.alerts.alert import REDIS_OF_ANOTHER_DATABASE, Alert
from shared.domain.alerts.system_state import RedisState, SystemState, count_jobs
from shared.domain.counted import counted

OWN_REDIS_FIX = (
    "give each database a REDIS_PREFIX of its own, such as `shop:`, or a REDIS_URL of its own;"
    " another database number of the same Redis will do"
)


def find_process_alerts(state: SystemState) -> Iterator[Alert]:
    """Return the alerts about worker and API processes."""
    # Without writes to Postgres no process can report that it is alive.
    if not (state.is_standby or state.is_read_only):
        yield from _worker_alerts(state)
        yield from _key_alerts(state)
    yield from _clock_and_redis_alerts(state)


def _worker_alerts(state: SystemState) -> Iterator[Alert]:
    has_work = state.queued or state.tasks or state.unknown or state.failing
    if state.workers_alive == 0 and (has_work or state.workers_lost):
        yield Alert(
            "no_worker",
            f"no worker is running; {count_jobs(state.queued, 'waits', 'wait')} and"
            f" {counted(state.tasks, 'task is', 'tasks are')} not polled",
            "start one: `darkroom worker`",
            since=state.worker_seen_at,
        )
    for worker in state.workers_lost:
        yield Alert(
            "worker_lost",
            f"worker {worker.name} died or lost Postgres;"
            f" {counted(state.workers_alive, 'is', 'are')} alive",
            "start another; its log has the reason. Other workers continue its jobs"
            " once their leases lapse",
            since=worker.seen_at,
            subject=worker.name,
        )


_SAME_KEYS_FIX = (
    "give all workers the same KIE_API_KEYS, each Kie account one name of its own; nothing, while"
    " one worker after another is restarted with a new key of the same Kie account"
)


def _key_alerts(state: SystemState) -> Iterator[Alert]:
    for one in state.differing_keys:
        yield Alert(
            "keys_differ",
            f"the Kie account {one.account} has one key at {one.at}: if they are keys of different"
            " Kie accounts, each is braked for the other, and limits count both as one",
            _SAME_KEYS_FIX,
            since=one.since,
            subject=one.account,
        )
    for one in state.renamed_keys:
        yield Alert(
            "keys_differ",
            f"one key has several names ({one.at}): the limit of that Kie account is counted for"
            " each of them, and Kie will answer 429",
            _SAME_KEYS_FIX,
            since=one.since,
            subject=one.account,
        )


def _clock_and_redis_alerts(state: SystemState) -> Iterator[Alert]:
    for skewed in state.skewed:
        how = "ahead of" if skewed.seconds > 0 else "behind"
        yield Alert(
            "clock_skew",
            f"the clock of {skewed.name} is {abs(skewed.seconds):.0f} s {how} that of Postgres",
            "set its clock by NTP; jobs do not suffer, the dates in its log are wrong",
            subject=skewed.name,
        )
    for process in state.without_redis:
        yield Alert(
            "process_without_redis",
            f"process {process.name} is alive and cannot write to its Redis"
            + (f": {process.error}" if process.error else ""),
            "start Redis or Valkey, or correct REDIS_URL of that process",
            since=process.since,
            subject=process.name,
        )


def find_redis_user_alerts(state: SystemState, redis: RedisState) -> Iterator[Alert]:
    """Return the alert that a process of another database used this Redis first.

    A process writes its row to Postgres before its mark to Redis, so marks must be read first.
    """
    user = redis.first_user
    if user is None or user.process_id in state.process_ids:
        return
    yield Alert(
        REDIS_OF_ANOTHER_DATABASE,
        f"REDIS_URL leads to the Redis of another Darkroom: {user.kind} {user.name} of the database"
        f" {user.database} uses it. Orders are stored, and no worker of this database takes them"
        " from there",
        OWN_REDIS_FIX,
        since=user.since,
    )
