"""Stores in Postgres the task ids that a worker backed up and could not store itself."""

from __future__ import annotations

import structlog

from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.domain import job_events
from shared.domain.job import replace_fields
from shared.errors import DatabaseRefused, DependencyDown, JobNotFound, StaleJob, TaskOfAnotherJob
from worker.dependencies import Dependencies
from worker.recovery.task_id_backup import PaidTask

log = structlog.get_logger(__name__)


class TaskIdRecovery:
    """Stores backed-up task ids. Any number of workers may do so at once."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._logged: set[str] = set()

    async def run_once(self) -> None:
        """Store every backup that can be read. Raises `PostgresDown` or `RedisDown`."""
        for paid_task in await self._deps.task_id_backup.read_all():
            try:
                is_settled = await self._store(paid_task)
            except DependencyDown:
                raise
            except Exception:
                # A bug with one backup must not prevent the others from being stored.
                log.exception("evidence_failed", **paid_task.log_fields)
                continue
            if is_settled:
                await self._deps.task_id_backup.remove(paid_task)

    async def _store(self, paid_task: PaidTask) -> bool:
        """Store one task id. Returns whether Postgres has it, so that the backup can be removed."""
        deps = self._deps
        event = job_events.Submitted(paid_task.task_id, deps.settings.job_deadline_seconds)
        try:
            job = await deps.store.load(paid_task.job_id)
            attempted = replace_fields(
                job, attempt=paid_task.attempt, provider_account=paid_task.account
            )
            recovered = await deps.store.record_submitted(attempted, event)
        except JobNotFound:
            # The database was restored, or is another one. The backup stays until a person has read
            # it.
            self._log_once("evidence_without_job", paid_task)
            return False
        except StaleJob:
            # The worker has stored it, or the attempt has it as a task without a job.
            await self._log_stray_task(paid_task)
            return True
        except DatabaseRefused as error:
            is_taken = isinstance(error, TaskOfAnotherJob)
            event_name = "task_of_another_job" if is_taken else "task_id_refused"
            self._log_once(event_name, paid_task, error=str(error))
            return is_taken
        deps.publish_change(Change(recovered.id))
        deps.metrics.count_submitted(recovered)
        log.warning("submission_recovered", **paid_task.log_fields, by="evidence")
        await deps.delivery_queue.deliver([Delivery(recovered.id, Lane.POLL, 0)])
        return True

    async def _log_stray_task(self, paid_task: PaidTask) -> None:
        job = await self._deps.store.load(paid_task.job_id)
        if job.provider_task_id != paid_task.task_id:
            log.error("task_without_job", **paid_task.log_fields, state=job.state.value)

    def _log_once(self, event: str, paid_task: PaidTask, **facts: object) -> None:
        if paid_task.name not in self._logged:
            self._logged.add(paid_task.name)
            log.error(event, **paid_task.log_fields, **facts)
