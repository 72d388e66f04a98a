"""Checks tasks for which their job no longer waits, and stores the images that come.

A job may end at its deadline while Kie still works on its task, or a task id may come after the
end. Kie charges for such a task when it delivers. Each task is checked at growing intervals, by
Postgres's clock, until Kie reports its end or has no record of it. A few are checked at a time,
with the key of the account that made them and within the limit of queries for one task.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.change_messages import Change
from shared.catalog import get_family
from shared.domain.callback_url import has_token
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    TaskLookup,
    Unreadable,
)
from shared.domain.late_results import DELIVERED_LATE
from shared.errors import DatabaseRefused, DependencyDown
from worker.dependencies import Dependencies
from worker.limits.throttle import Throttled
from worker.steps.unreadable_success import resolve_hint

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 10
"""How many tasks a worker checks in one run."""
_LEASE_MARGIN_SECONDS = 30.0
_ONE_JOB_PER_TASK = "late_tasks_deliver_once"
_FAILED_LATE = "failed_late"
"""The event: Kie reported a failure after the end of the job."""
_CHECK_DELAYS_SECONDS = (300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0)
"""The delay after each check. The last one repeats. The first check is one minute after the end of
the job."""
_UNANSWERED_DELAY_SECONDS = 1_800.0
"""The maximum delay after a check without information about the task."""
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class LateTask:
    """A task whose check this worker has claimed."""

    job_id: UUID
    attempt: int
    task_id: str
    named_by_callback: bool
    """Whether only a callback names it. Then Kie's record must contain the callback URL of this
    attempt."""
    checks: int
    is_in_doubt: bool
    """Whether an earlier check has logged a doubt for operators."""
    family_name: str
    """The family by which the task was made."""
    token: str = field(repr=False)
    provider_account: str

    @property
    def key(self) -> tuple[UUID, int, str]:
        """Return the key of its row."""
        return self.job_id, self.attempt, self.task_id


def callback_url_has_token(token: str, examination: TaskLookup) -> bool | None:
    """Return whether the attempt of this token made the task; None where Kie's record has
    no URL.
    """
    if examination.callback_url is None:
        return None
    return has_token(examination.callback_url, token)


async def examine_task(
    deps: Dependencies, provider_account: str, family_name: str, task_id: str
) -> TaskLookup:
    """Query a task once, with its callback URL, as the account that made it.

    Raises `Throttled`.
    """
    async with deps.poll_throttle.permit(task_id):
        kie = deps.accounts.client_of(provider_account)
        return await kie.examine(get_family(family_name), task_id)


class LateTaskChecks:
    """The checks of late tasks of one worker. Any number of workers may run them at once."""

    def __init__(self, deps: Dependencies, *, most: int = MOST_AT_ONCE) -> None:
        self._deps = deps
        self._most = most
        # Longer than a check takes. The task of a worker that is lost meanwhile is free again after
        # it.
        self._lease_seconds = deps.settings.kie_request_timeout_seconds + _LEASE_MARGIN_SECONDS

    async def check_due(self) -> int:
        """Check the tasks that are due, a few at most. Returns how many. Raises `PostgresDown`."""
        late_tasks = await self._claim(self._most, None)
        await asyncio.gather(*map(self._check_safely, late_tasks))
        return len(late_tasks)

    async def record_claimed_task(self, job_id: UUID, attempt: int, task_id: str) -> None:
        """Store a task that a callback names. It is checked as soon as its job has ended."""
        await self._deps.queries.fetch_row("note_late_task", job_id, attempt, task_id)

    async def check_job(self, job_id: UUID) -> dict[str, str | None]:
        """Check the due tasks of one job. Returns the outcome of each; None where there is none.

        Raises `Throttled` and `DependencyDown`; the tasks are checked again later.
        """
        late_tasks = await self._claim(self._most, job_id)
        return {late.task_id: await self._check(late) for late in late_tasks}

    async def _claim(self, most: int, job_id: UUID | None) -> list[LateTask]:
        names = [account.name for account in self._deps.accounts]
        rows = await self._deps.queries.fetch(
            "claim_late_tasks", self._lease_seconds, names, most, job_id
        )
        return [_late_task_from_row(row) for row in rows]

    async def _check_safely(self, late: LateTask) -> None:
        try:
            await self._check(late)
        except DependencyDown as down:
            incidents.record_outage(down, doing="check_late_task", job_id=str(late.job_id))
        except Throttled as throttled:
            log.info("late_check_put_off", job_id=str(late.job_id), error=str(throttled))
        except Exception as error:
            # A bug in one check must not prevent the others.
            incidents.record_failure(
                "late_check_failed",
                "check_late_task",
                repr(error),
                level="error",
                job_id=str(late.job_id),
                exc_info=True,
            )

    async def _check(self, late: LateTask) -> str | None:
        examination = await examine_task(
            self._deps, late.provider_account, late.family_name, late.task_id
        )
        outcome = examination.outcome
        if late.named_by_callback and not isinstance(outcome, NoVerdict):
            is_ours = callback_url_has_token(late.token, examination)
            if is_ours is False:
                return await self._end(late, "refuted")
            # The owner matters once the task has delivered. Until then Kie may yet return the URL.
            if is_ours is None and not isinstance(outcome, Pending):
                return await self._end(late, "unproven", describe_success_answer(outcome))
        match outcome:
            case Delivered():
                return await self._store_images(late, outcome)
            case TaskFailed():
                return await self._end_failed(late, outcome)
            case Unreadable():
                # Checked again, because a later version may read it. The answer is stored for
                # operators.
                answer_text = describe_success_answer(outcome)
                if not late.is_in_doubt:
                    self._log_doubt("late_result_unreadable", late, answer_text)
                return await self._reschedule(late, has_no_record=False, answer_text=answer_text)
            case Pending() | NoVerdict(has_record=True):
                return await self._reschedule(late, has_no_record=False)
            case NoVerdict(lacks_record=True):
                return await self._reschedule(late, has_no_record=True)
        return await self._reschedule(late, has_no_record=None)

    async def _store_images(self, late: LateTask, delivered: Delivered) -> str | None:
        """Store the images once, whichever worker finds them, and publish the change."""
        try:
            row = await self._deps.queries.fetch_row(
                "record_delivered_late",
                *late.key,
                list(delivered.result_urls),
                DELIVERED_LATE,
                False,
                self._deps.settings.results_store_url is not None,
                delivered.consumed_credits,
            )
        except DatabaseRefused as error:
            if error.constraint != _ONE_JOB_PER_TASK:
                raise
            # They are stored for another job.
            log.error("task_of_another_job", job_id=str(late.job_id), error=str(error))
            row = None
        if row is None:
            return await self._end(late, "refuted")
        self._deps.images_to_copy.set()
        self._deps.metrics.count_late_delivery(row["provider_credits"])
        self._deps.publish_change(Change(late.job_id))
        log.error(
            "delivered_late",
            job_id=str(late.job_id),
            provider_task_id=late.task_id,
            images=len(delivered.result_urls),
            provider_credits=str(row["provider_credits"]),
            meaning="Kie was paid for images whose job had ended; they are kept, nobody is charged",
        )
        return "delivered"

    async def _end_failed(self, late: LateTask, failed: TaskFailed) -> str:
        row = await self._deps.queries.fetch_row(
            "record_failed_late", *late.key, failed.reason, failed.message, _FAILED_LATE
        )
        if row is not None:
            self._deps.publish_change(Change(late.job_id))
            log.info("failed_late", job_id=str(late.job_id), provider_task_id=late.task_id)
        return "failed"

    async def _end(
        self, late: LateTask, outcome: str, answer_text: str | None = None
    ) -> str | None:
        """End the checks. Returns None where another worker has stored an outcome."""
        row = await self._deps.queries.fetch_row("end_late_task", *late.key, outcome, answer_text)
        if row is None:
            return None
        if row["is_in_doubt"]:
            self._log_doubt("late_task_unproven", late, answer_text)
            return outcome
        log.warning(
            "late_task_not_ours",
            job_id=str(late.job_id),
            claimed_task_id=late.task_id,
            outcome=outcome,
        )
        return outcome

    async def _reschedule(
        self, late: LateTask, *, has_no_record: bool | None, answer_text: str | None = None
    ) -> str | None:
        delay_seconds = _check_delay_seconds(
            late.checks, self._deps.random.random(), is_answered=has_no_record is not None
        )
        row = await self._deps.queries.fetch_row(
            "record_late_check", *late.key, delay_seconds, has_no_record, answer_text
        )
        return row["outcome"] if row is not None else None

    @staticmethod
    def _log_doubt(event: str, late: LateTask, answer_text: str | None) -> None:
        log.error(
            event,
            job_id=str(late.job_id),
            provider_task_id=late.task_id,
            answer=answer_text,
            meaning="Kie was paid for images that are not certain to be this job's, or not known."
            f" {resolve_hint(late.job_id)}",
        )


def describe_success_answer(outcome: PollOutcome) -> str | None:
    """Return an answer with images as text, for an operator; None where it has none."""
    match outcome:
        case Delivered(urls):
            return "success, and Kie does not show whose the task is: " + " ".join(urls)
        case Unreadable(message, answer):
            return f"{message}: {answer}"
    return None


def _check_delay_seconds(checks: int, jitter: float, *, is_answered: bool) -> float:
    """Return the delay before the next check. `checks` is the number of checks before this one.

    `jitter` is 0 to 1 and adds up to 10 %, so that tasks of jobs that ended together spread out.
    """
    delay_seconds = _CHECK_DELAYS_SECONDS[min(checks, len(_CHECK_DELAYS_SECONDS) - 1)]
    if not is_answered:
        delay_seconds = min(delay_seconds, _UNANSWERED_DELAY_SECONDS)
    return delay_seconds * (1 + _JITTER * jitter)


def _late_task_from_row(row: asyncpg.Record) -> LateTask:
    return LateTask(
        job_id=UUID(int=row["job_id"].int),
        attempt=row["attempt"],
        task_id=row["provider_task_id"],
        named_by_callback=row["is_claimed"],
        checks=row["checks"],
        is_in_doubt=row["is_in_doubt"],
        family_name=row["model"],
        token=row["token"],
        provider_account=row["provider_account"],
    )
