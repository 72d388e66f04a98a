"""Stores the task ids that a worker kept as evidence and did not live to store itself."""

from __future__ import annotations

import structlog

from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.domain import job_events
from shared.domain.job import replace_fields
from shared.errors import DatabaseRefused, DependencyDown, JobNotFound, StaleJob
from worker.dependencies import Deps
from worker.recovery.task_id_backup import Evidence
from worker.store.job_store import ONE_JOB_PER_TASK

log = structlog.get_logger(__name__)


class EvidenceRecovery:
    """Brings evidence into Postgres. Any number of workers may do so at once without harm."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._told: set[str] = set()

    async def run_once(self) -> None:
        """Store all evidence that can be read. Raises `PostgresDown` or `RedisDown`."""
        for evidence in await self._deps.evidence.read():
            try:
                is_settled = await self._store(evidence)
            except DependencyDown:
                raise
            except Exception:
                # A bug of ours: one piece of evidence must not keep the others from being stored.
                log.exception("evidence_failed", **evidence.facts)
                continue
            if is_settled:
                await self._deps.evidence.forget(evidence)

    async def _store(self, evidence: Evidence) -> bool:
        """Store one task id; return whether Postgres has it, so that nothing else need keep it."""
        deps = self._deps
        event = job_events.Submitted(evidence.task_id, deps.settings.job_deadline_seconds)
        try:
            job = await deps.store.load(evidence.job_id)
            attempted = replace_fields(
                job, attempt=evidence.attempt, provider_account=evidence.account
            )
            recovered = await deps.store.record_submitted(attempted, event)
        except JobNotFound:
            # A database that was restored, or another one: nobody may take this away unread.
            self._tell_once("evidence_without_job", evidence)
            return False
        except StaleJob:
            # The worker stored it itself, or the attempt has it now as a task without a job.
            await self._tell_stray(evidence)
            return True
        except DatabaseRefused as error:
            is_taken = error.constraint == ONE_JOB_PER_TASK
            event_name = "task_of_another_job" if is_taken else "task_id_refused"
            self._tell_once(event_name, evidence, error=str(error))
            return is_taken
        deps.announce(Change(recovered.id))
        deps.metrics.count_submitted(recovered)
        log.warning("submission_recovered", **evidence.facts, by="evidence")
        await deps.delivery_queue.deliver([Delivery(recovered.id, Lane.POLL, 0)])
        return True

    async def _tell_stray(self, evidence: Evidence) -> None:
        job = await self._deps.store.load(evidence.job_id)
        if job.provider_task_id != evidence.task_id:
            log.error("task_without_job", **evidence.facts, state=job.state.value)

    def _tell_once(self, event: str, evidence: Evidence, **facts: object) -> None:
        if evidence.name not in self._told:
            self._told.add(evidence.name)
            log.error(event, **evidence.facts, **facts)
