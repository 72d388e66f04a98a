"""Ends unknown submissions after `UNKNOWN_LIMIT_SECONDS` without evidence of a task."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.domain import job_events
from shared.errors import DatabaseRefused, RowBusy, StaleJob
from worker.dependencies import Dependencies
from worker.steps.job_end import report_job_end

log = structlog.get_logger(__name__)


class UnknownSubmissions:
    """The unknown submissions of all workers. Any number of workers may end them at once."""

    def __init__(self, deps: Dependencies, page_length: int) -> None:
        self._deps = deps
        self._page_length = page_length

    async def end_overdue(self, excluded: Collection[UUID] = ()) -> None:
        """Fail each submission that is unknown for longer than the limit, and release its hold.

        `excluded` are jobs with a callback about which Kie is still being asked. Raises
        `PostgresDown`.
        """
        limit_seconds = self._deps.settings.unknown_limit_seconds
        event = job_events.SubmissionLost(
            f"no evidence of a task within {limit_seconds:g} s; the hold was released"
        )
        rows = await self._deps.queries.fetch(
            "overdue_unknown_jobs", limit_seconds, self._page_length
        )
        for job_id, attempt in ((UUID(int=row["id"].int), row["attempt"]) for row in rows):
            if job_id in excluded:
                continue
            try:
                job = await self._deps.store.lose_submission(job_id, attempt, event)
            except StaleJob:
                continue  # evidence came at the last check
            except (RowBusy, DatabaseRefused) as error:
                # One row that cannot be written must not prevent the end of the others.
                incidents.record_failure(
                    "unknown_not_ended", "reconcile", error, job_id=str(job_id)
                )
                continue
            incidents.record_success("unknown_not_ended", "reconcile")
            log.error("submission_lost", job_id=str(job_id), attempt=attempt)
            report_job_end(self._deps, job)
