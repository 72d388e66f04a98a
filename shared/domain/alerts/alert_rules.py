"""Finds alerts in the state of a deployment.

`darkroom doctor`, `darkroom queue`, `/readyz`, `/metrics` and the log show the same alerts: what is
wrong, since when, and what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.alerts.alert import Alert
from shared.domain.alerts.kie_model_alert_rules import find_kie_model_alerts
from shared.domain.alerts.pause_alert_rules import (
    find_operator_pause_alerts,
    find_pause_alerts,
    find_route_alerts,
    open_family_pauses,
)
from shared.domain.alerts.process_alert_rules import find_process_alerts, find_redis_user_alerts
from shared.domain.alerts.slow_submit_alert_rules import find_slow_submit_alerts
from shared.domain.alerts.system_state import (
    EndedJob,
    RedisState,
    SystemState,
    count_jobs,
)
from shared.domain.counted import counted
from shared.domain.lifecycle import JobState, Reason

RECENT_JOBS_SECONDS = 300.0
"""Jobs that ended within this time count for `jobs_fail` and for the rates of the queue."""
ENDED_JOBS_MAX = 50
"""The number of ended jobs that count. At a high rate this makes alerts react in seconds."""
FAILURES_MIN = 5
"""The minimum number of failures for `jobs_fail`."""
STALLED_SECONDS = 12.0
"""How long due jobs may wait without any submit. Kie's rate limit has a window of 10 s, so a
healthy worker at that limit submits at least once in 12 s."""
SILENT_SECONDS = 9.0
"""After this time without a heartbeat of any worker, which is due every 6 s, none may be alive."""
BACKLOG_SECONDS = 300.0
"""How long the oldest job may wait while others are submitted. Shorter backlogs are normal."""
SLOW_TASK_FACTOR = 2.0
"""A task is slow at this multiple of the 95th percentile of its kind."""
SLOW_TASK_SECONDS_MIN = 8.0
"""Below this, the poll interval dominates the measured time."""
SLOW_TASK_SECONDS_DEFAULT = 300.0
"""The limit for kinds of tasks without recorded completion times."""
SLOW_TASK_SHARE = 0.2
SLOW_TASKS_MIN = 3
"""`tasks_run_long` needs this number of slow tasks and this share of all running tasks."""
CONNECTIONS_SHARE = 0.9
MEMORY_SHARE = 0.9
"""The share of a server's limit from which an alert is raised."""
LOCKED_SECONDS = 8.0
"""How long a transaction may lock rows. Darkroom's statements take milliseconds."""
IMAGE_WAITS_SECONDS = 120.0
"""How long the copy of an image may take until `images_not_stored`."""
LOST_WORKER_SECONDS = 3600.0
"""How long `worker_lost` lasts if no worker starts afterwards."""


def find_alerts(system_state: SystemState, redis: RedisState | None) -> list[Alert]:
    """Return the alerts, the most severe first. `redis` is None if Redis did not reply."""
    alerts: list[Alert] = [*_server_alerts(system_state), *find_process_alerts(system_state)]
    if redis is not None:
        redis = replace(redis, family_pauses=open_family_pauses(redis, system_state))
        alerts += _redis_alerts(redis)
        alerts += find_redis_user_alerts(system_state, redis)
        alerts += find_pause_alerts(redis, system_state)
        alerts += find_slow_submit_alerts(redis, system_state)
    alerts += find_operator_pause_alerts(system_state)
    alerts += find_route_alerts(system_state)
    alerts += _backlog_alerts(system_state, redis)
    alerts += _task_alerts(system_state)
    alerts += _failure_alerts(system_state)
    alerts += _drift_alerts(system_state)
    alerts += _webhook_alerts(system_state)
    alerts += _copy_alerts(system_state)
    alerts += find_kie_model_alerts(system_state.kie_models)
    return alerts


def _server_alerts(state: SystemState) -> Iterator[Alert]:
    if state.is_standby or state.is_read_only:
        what = "is a standby" if state.is_standby else "refuses writes (read-only)"
        yield Alert(
            "postgres_is_read_only",
            f"Postgres {what}: nothing can be stored",
            "point DATABASE_URL at the primary, with target_session_attrs=read-write; or promote"
            " it, or RESET default_transaction_read_only",
        )
    if state.connections >= CONNECTIONS_SHARE * state.connections_most:
        yield Alert(
            "connections_nearly_used_up",
            f"{state.connections} of {state.connections_most} connections of Postgres are in use",
            "raise max_connections, run fewer processes, or lower WORKER_DATABASE_CONNECTIONS and"
            " API_DATABASE_CONNECTIONS",
        )
    for locker in state.lockers:
        yield Alert(
            "rows_locked",
            f"session {locker.pid} ({locker.who}) keeps rows of jobs or accounts locked: what they"
            " belong to stands still",
            f"end it: SELECT pg_terminate_backend({locker.pid})",
            since=locker.since,
            subject=str(locker.pid),
        )
    for kind in state.unpriced:
        yield Alert(
            "price_missing",
            f"open jobs of {kind} have no row in pricing: each is charged by the price of its hold",
            "put the row back in psql: `INSERT INTO pricing`; `darkroom prices set` inserts none",
            subject=kind,
        )


def _redis_alerts(redis: RedisState) -> Iterator[Alert]:
    if redis.is_replica:
        yield Alert(
            "redis_is_replica",
            "REDIS_URL leads to a replica: nothing can be delivered",
            "point REDIS_URL at the primary, or promote this server",
        )
    if redis.policy != "noeviction":
        yield Alert(
            "redis_evicts",
            f"maxmemory-policy is {redis.policy}: deliveries and limits may vanish",
            "set maxmemory-policy to noeviction",
        )
    if redis.memory_share >= MEMORY_SHARE:
        yield Alert(
            "redis_is_full",
            f"{redis.memory_share:.0%} of maxmemory is used: writes are, or will be, refused",
            "raise maxmemory, or find what else fills this server",
        )
    if redis.wiped_at is not None:
        yield Alert(
            "redis_was_wiped",
            "Redis lost its keys while workers ran: every open job was delivered again, none is"
            " lost",
            "find out why: noeviction and the append-only file must be on, and nobody may flush it;"
            " told for an hour, or until `darkroom queue acknowledge redis_was_wiped`",
            since=redis.wiped_at,
        )
    if redis.lost_writes:
        lost = counted(redis.lost_writes, "job or event", "jobs or events")
        yield Alert(
            "writes_lost",
            f"confirmed writes are not in Postgres: {lost}",
            "read which: `darkroom queue lost-writes`; once they are dealt with:"
            " `darkroom queue acknowledge writes_lost`",
        )
    if not redis.saves:
        yield Alert(
            "redis_cannot_save",
            "the last save to disk failed: writes are refused, or lost at the next restart",
            "free its disk; the server's log says why",
        )


def _backlog_alerts(state: SystemState, redis: RedisState | None) -> Iterator[Alert]:
    if state.waiting_since is None or state.due == 0:
        return
    waited = state.at - state.waiting_since
    is_held_back = redis is None or bool(redis.pauses or redis.family_pauses)
    if redis is not None:
        is_held_back = is_held_back or any(rate.is_slowed(state.at) for _, rate in redis.rates)
    seen = state.worker_seen_at
    # One that misses heartbeats counts as alive for a while, and is as good as none.
    is_worker_silent = seen is not None and state.at - seen > timedelta(seconds=SILENT_SECONDS)
    is_held_back = is_held_back or state.workers_alive == 0 or is_worker_silent
    is_kie_account_paused = any(one.scope == "kie_account" for one in state.pauses)
    is_held_back = is_held_back or is_kie_account_paused
    last = state.last_submitted_at
    is_stalled = last is None or state.at - last > timedelta(seconds=STALLED_SECONDS)
    if waited > timedelta(seconds=STALLED_SECONDS) and is_stalled and not is_held_back:
        yield Alert(
            "nothing_is_submitted",
            f"{count_jobs(state.due, 'is', 'are')} due and workers are alive, but none was"
            f" submitted for {STALLED_SECONDS:g} s",
            "look at the log of the workers; `darkroom queue` says what is in flight",
            since=max(state.waiting_since, last) if last else state.waiting_since,
        )
    elif waited > timedelta(seconds=BACKLOG_SECONDS) and not is_kie_account_paused:
        yield Alert(
            "jobs_wait",
            f"{count_jobs(state.due, 'is', 'are')} due, and the oldest has waited for"
            f" {waited.total_seconds():.0f} s",
            "see what holds submits back; else the backlog exceeds Kie's limit: wait, have it"
            " raised, or add an account to KIE_API_KEYS",
            since=state.waiting_since,
        )


def _task_alerts(state: SystemState) -> Iterator[Alert]:
    is_slow = state.long >= max(SLOW_TASKS_MIN, SLOW_TASK_SHARE * state.tasks)
    # Without a worker, nobody asks Kie whether they have ended.
    if is_slow and state.workers_alive:
        yield Alert(
            "tasks_run_long",
            f"{state.long} of {counted(state.tasks, 'task runs', 'tasks run')} longer than tasks of"
            " their kind do",
            "see Kie's log page and status: each is given up at its deadline, free of charge",
            since=state.long_since,
        )
    if state.late:
        yield Alert(
            "images_come_late",
            f"{counted(state.late, 'task')} delivered after the end of the job within the last"
            f" hour; Kie charged {state.late_credits:f} credits for images that nobody paid for",
            "raise JOB_DEADLINE_SECONDS above what Kie takes: see `run p95` of `darkroom queue`",
            since=state.late_since,
        )
    if state.in_doubt:
        yield Alert(
            "late_tasks_in_doubt",
            f"{counted(state.in_doubt, 'task')} succeeded after the end of the job, and which"
            " images Kie made, or for which job, is not certain; they are kept nowhere",
            f"see `darkroom jobs show {state.in_doubt_job}` for Kie's answer, then `darkroom jobs"
            " resolve` with --delivered or --undelivered; Kie deletes images after 14 days",
            since=state.in_doubt_since,
            job_id=state.in_doubt_job,
        )
    if state.held:
        yield Alert(
            "results_unreadable",
            f"{counted(state.held, 'task')} succeeded, but the images cannot be read for certain;"
            " such jobs are held and charged nothing",
            "see `darkroom jobs show` for Kie's answer, then `darkroom jobs resolve ID` with"
            " --delivered or --undelivered; a newer worker may read it",
            since=state.held_since,
        )
    if state.unknown:
        yield Alert(
            "unknown_submissions",
            f"{counted(state.unknown, 'submission has', 'submissions have')} an unknown outcome:"
            " Kie may have made and billed the images",
            "see `darkroom jobs list --state unknown`, and Kie's log page",
            since=state.unknown_since,
        )


_FAILURE_FIXES: dict[str, str] = {
    Reason.CONTENT_POLICY: "nothing here: Kie refuses what the callers ask for",
    Reason.REJECTED: "read the message: callers ask for what Kie does not take, or its API changed",
    Reason.SUBMISSION_LOST: "see Kie's log page: it may have been paid for images nobody has",
    Reason.DEADLINE_EXCEEDED: "see Kie's log page: tasks do not end by JOB_DEADLINE_SECONDS",
}


def _failure_alerts(state: SystemState) -> Iterator[Alert]:
    failed = [job for job in state.ended if job.state == JobState.FAILED]
    decided = [job for job in state.ended if job.state != JobState.CANCELLED]
    if len(failed) < FAILURES_MIN or 2 * len(failed) <= len(decided):
        return
    reasons = Counter(job.reason or "unknown" for job in failed)
    (main, _), *_ = reasons.most_common(1)
    said = next((job.message for job in failed if job.reason == main and job.message), None)
    shares = ", ".join(f"{reason} {times}" for reason, times in reasons.most_common())
    yield Alert(
        "jobs_fail",
        f"{len(failed)} of the last {len(decided)} jobs failed ({shares})"
        + (f"; the last said: {said}" if said else ""),
        _FAILURE_FIXES.get(main, "see Kie's log page and status"),
        since=_find_streak_start(failed, state.ended),
    )


def _find_streak_start(failed: Sequence[EndedJob], ended: Sequence[EndedJob]) -> datetime:
    """Return the time of the first failure after the last success, or of the first failure."""
    last_success = max((job.at for job in ended if job.state == JobState.SUCCEEDED), default=None)
    after = [job.at for job in failed if last_success is None or job.at > last_success]
    return min(after or [job.at for job in failed])


def _drift_alerts(state: SystemState) -> Iterator[Alert]:
    for drift in state.drifting:
        how = "more" if drift.credits > 0 else "less"
        yield Alert(
            "kie_balance_drifts",
            f"Kie took {abs(drift.credits):f} credits {how} from its account {drift.account} than"
            " our tasks explain",
            "compare `provider_balance_checks` with Kie's log page: find who else uses the key",
            since=drift.since,
            subject=drift.account,
        )


def _copy_alerts(state: SystemState) -> Iterator[Alert]:
    if not state.images_waiting and not state.images_given_up:
        return
    given_up = counted(state.images_given_up, "was", "were")
    yield Alert(
        "images_not_stored",
        f"{counted(state.images_waiting, 'image has', 'images have')} waited long for a copy"
        + (f"; {given_up} given up after a day" if state.images_given_up else "")
        + (f"; the last error: {state.images_error}" if state.images_error else ""),
        "fix the store of RESULTS_URL, or free its disk, then run `darkroom results retry --all`:"
        " Kie keeps images for 14 days. Nothing is charged again",
        since=state.images_since or state.images_given_up_since,
    )


def _webhook_alerts(state: SystemState) -> Iterator[Alert]:
    for receiver in state.failing:
        yield Alert(
            "webhooks_fail",
            f"the receiver {receiver.url} did not take {counted(receiver.messages, 'webhook')}"
            + (f" ({receiver.error})" if receiver.error else ""),
            "have the receiver fixed: each is tried again for a day",
            since=receiver.since,
            subject=receiver.url,
        )
    if state.dead_webhooks:
        yield Alert(
            "webhooks_dead",
            f"{counted(state.dead_webhooks, 'webhook was', 'webhooks were')} given up within the"
            " last day",
            "have the receiver fixed, then `darkroom webhooks replay`",
            since=state.dead_since,
        )
