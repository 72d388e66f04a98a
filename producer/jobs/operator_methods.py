"""The methods of `Producer` by which operators resolve jobs that Kie's answers leave in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from producer.actor import Actor
from producer.job_ids import read_uuid
from producer.jobs.held_resolution import HeldResolution, resolve_held
from producer.jobs.job_repository import JobRepository
from producer.jobs.late_resolution import resolve_late
from producer.jobs.unknown_resolution import SubmissionResolution, resolve_unknown
from producer.monitoring.alert_evidence import AlertEvidence
from producer.orders.argument_types import describe_type
from producer.orders.order_enqueuer import OrderEnqueuer
from producer.results.image_pruning import ImagePruning
from producer.results.image_retries import ImageRetries
from producer.results.stored_images import StoredImages
from producer.retention.prompt_erasure import PromptErasures
from producer.retention.pruning import Pruning
from shared.adapters.monitoring.alert_monitor import find_redis_of_another_database
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from shared.domain.job import Job
from shared.errors import Fault, InvalidRequest, JobNotFound, RedisDown
from shared.settings import ChargeBasis

log = structlog.get_logger(__name__)


class OperatorMethods:
    """The methods of `producer.Producer` that resolve jobs in doubt."""

    def __init__(
        self,
        database: Database,
        delivery_queue: DeliveryQueue,
        enqueuer: OrderEnqueuer,
        *,
        job_deadline_seconds: float,
        charge_basis: ChargeBasis,
    ) -> None:
        self._database = database
        self._delivery_queue = delivery_queue
        self.enqueuer = enqueuer
        """Enqueues orders and returns for each whether its job is new, for the HTTP API."""
        self._job_deadline_seconds = job_deadline_seconds
        self._charge_basis = charge_basis
        self.stored_images = StoredImages(database)
        """The images of jobs, and their copies in the store of RESULTS_URL."""

    @property
    def alert_evidence(self) -> AlertEvidence:
        """What Postgres has lost, and the acknowledgement of alerts that have been dealt with."""
        return AlertEvidence(self._database, self._delivery_queue)

    @property
    def image_pruning(self) -> ImagePruning:
        """Deletes copies of images by age."""
        return ImagePruning(self._database, self.stored_images)

    @property
    def pruning(self) -> Pruning:
        """Deletes data of ended jobs by age."""
        return Pruning(self._database)

    @property
    def prompt_erasures(self) -> PromptErasures:
        """Erases the prompts of accounts."""
        return PromptErasures(self._database)

    @property
    def image_retries(self) -> ImageRetries:
        """Makes failed copies of images due again."""
        return ImageRetries(self._database)

    async def resolve_submitted(
        self,
        job_id: UUID | str,
        task_id: str,
        reason: str | None = None,
        *,
        actor: Actor | str | None = None,
        deadline_seconds: float | None = None,
    ) -> Job:
        """Resolve an unknown submission: Kie created the task `task_id`. It is polled immediately.

        Only Kie's answer to the poll ends and charges the job. The deadline is JOB_DEADLINE_SECONDS
        from now unless given. Raises `JobNotFound`, and `StateConflict` if the job is not `unknown`
        or if another job has the task.
        """
        seconds = self._job_deadline_seconds if deadline_seconds is None else deadline_seconds
        resolution = SubmissionResolution(task_id, reason, actor)
        job = await resolve_unknown(
            self._database, parse_job_id(job_id), resolution, deadline_seconds=seconds
        )
        await self.enqueuer.deliver([Delivery(job.id, Lane.POLL)])
        return job

    async def resolve_lost(
        self, job_id: UUID | str, reason: str, *, actor: Actor | str | None = None
    ) -> Job:
        """Resolve an unknown submission: Kie created no task. The job fails, the hold is released.

        Raises `JobNotFound`, and `StateConflict` if the job is not `unknown`.
        """
        resolution = SubmissionResolution(None, reason, actor)
        job = await resolve_unknown(
            self._database, parse_job_id(job_id), resolution, deadline_seconds=0
        )
        await self._announce_end(job)
        return job

    async def resolve_delivered(
        self,
        job_id: UUID | str,
        result_urls: Sequence[str],
        reason: str,
        *,
        actor: Actor | str | None = None,
        charge_basis: ChargeBasis | None = None,
        task_id: str | None = None,
    ) -> Job:
        """Resolve a job held as `result_unreadable` with the images that Kie made. It succeeds.

        It is charged like any success, by the number of images and by CHARGE_BASIS unless given.

        For a job that has ended, this resolves its late task in doubt. The images are stored in
        `late_result_urls` and not charged. `task_id` is required if several tasks are in doubt.

        Raises `JobNotFound`, `StateConflict` if nothing is in doubt, and `InvalidRequest` for URLs
        that are not valid.
        """
        if not result_urls:
            raise InvalidRequest([Fault("result_urls", "is empty: name each image that was made")])
        resolution = HeldResolution(tuple(result_urls), reason, actor)
        return await self._resolve_held_or_late(
            job_id, resolution, charge_basis or self._charge_basis, task_id
        )

    async def resolve_undelivered(
        self,
        job_id: UUID | str,
        reason: str,
        *,
        actor: Actor | str | None = None,
        task_id: str | None = None,
    ) -> Job:
        """Resolve a job held as `result_unreadable` without images. It fails, the hold is released.

        For a job that has ended, this resolves its late task in doubt: the task has no images of
        this job, and is not checked again. `task_id` is required if several tasks are in doubt.

        Raises `JobNotFound`, and `StateConflict` if nothing is in doubt.
        """
        return await self._resolve_held_or_late(
            job_id, HeldResolution((), reason, actor), self._charge_basis, task_id
        )

    async def _resolve_held_or_late(
        self,
        job_id: UUID | str,
        resolution: HeldResolution,
        basis: ChargeBasis,
        task_id: str | None,
    ) -> Job:
        job = await JobRepository(self._database).get(parse_job_id(job_id))
        if job.is_terminal:
            is_copied = self.stored_images.options.within_seconds is not None
            job = await resolve_late(self._database, job, resolution, task_id, is_copied=is_copied)
        else:
            job = await resolve_held(
                self._database,
                job,
                resolution,
                basis=basis,
                task_id=task_id,
                copies_within_seconds=self.stored_images.options.within_seconds,
            )
        await self._announce_end(job)
        return job

    async def _log_redis_of_another_database(self) -> None:
        """Log an error if REDIS_URL leads to the Redis of another Darkroom."""
        redis = self.enqueuer.delivery_queue.redis
        found = await find_redis_of_another_database(self._database, redis)
        if found is not None:
            log.error(found.name, error=found.detail, fix=found.fix)

    async def _announce_end(self, job: Job) -> None:
        await self._announce_ends([job])

    async def _announce_ends(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        try:
            changes = [
                Change(job.id, has_ended=job.is_announced or job.is_cancel_requested)
                for job in jobs
            ]
            await self._delivery_queue.publish_changes(changes)
        except RedisDown as error:
            incidents.record_outage(error, doing="announce_end")


def parse_job_id(job_id: UUID | str) -> UUID:
    """Return the job id as a UUID. Raises `JobNotFound` for other text.

    Raises `InvalidRequest` for other types.
    """
    if isinstance(job_id, UUID):
        return job_id
    given: object = job_id
    if not isinstance(given, str):
        advice = "give its id, `job.id`" if isinstance(given, Job) else "give a UUID or its text"
        raise InvalidRequest([Fault("job_id", f"is {describe_type(given)}; {advice}")])
    found = read_uuid(job_id)
    if found is None:
        raise JobNotFound(job_id[:80])
    return found
