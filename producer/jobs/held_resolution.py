"""Resolves jobs that are held because Kie's success could not be read, by an operator's decision.

The resolution uses the statements of an ordinary end, so the charge, the ledger and the webhooks
are the same. Only the first end counts: a readable answer of Kie, or the operator's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from producer.actor import MAX_REASON_LENGTH, Actor, actor_name, actor_to_json
from producer.jobs.job_repository import JobRepository
from producer.jobs.locked_rows import describe_job_rows, name_locked_row
from producer.jobs.unknown_resolution import is_printable_text
from shared.adapters.postgres.database import Database
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.errors import Fault, InvalidRequest, StateConflict
from shared.settings import ChargeBasis

log = structlog.get_logger(__name__)

MAX_RESULT_URLS = 16
_URL_LENGTH = 4_096


@dataclass(frozen=True, slots=True)
class HeldResolution:
    """An operator's decision on one held job. Raises `InvalidRequest` with every fault."""

    result_urls: tuple[str, ...]
    """The images that Kie made, each once. Empty if there are none."""
    reason: str
    """The reason, which an event of the job stores."""
    actor: Actor | str | None = None
    """The operator. None stands for the login of the database session."""

    def __post_init__(self) -> None:
        faults = [
            Fault("result_urls", f"{url!r} must be one http:// or https:// URL")
            for url in self.result_urls
            if not _is_url(url)
        ]
        if len(self.result_urls) > MAX_RESULT_URLS:
            faults.append(Fault("result_urls", f"has more than {MAX_RESULT_URLS} URLs"))
        if len(set(self.result_urls)) < len(self.result_urls):
            faults.append(Fault("result_urls", "names an image twice: it would be charged twice"))
        for name, text in (("reason", self.reason), ("actor", actor_name(self.actor))):
            if text is not None and not is_printable_text(text, MAX_REASON_LENGTH):
                length = f"1 to {MAX_REASON_LENGTH} printable characters"
                faults.append(Fault(name, f"{text!r} must be {length}"))
        if faults:
            raise InvalidRequest(faults)


async def resolve_held(
    database: Database,
    job: Job,
    resolution: HeldResolution,
    *,
    basis: ChargeBasis,
    task_id: str | None = None,
    copies_within_seconds: float | None = None,
) -> Job:
    """End a held job by the resolution, and store the actor and the reason, in one transaction.

    The job is returned `succeeded` and charged, or `failed`/`result_unreadable` with its hold
    released. Raises `StateConflict`, with nothing stored, if the job is not held or if `task_id`
    is given and is not its task.
    """
    if not _is_held(job) or task_id not in {None, job.provider_task_id}:
        raise _not_held(job)
    with name_locked_row(describe_job_rows(job.id, job.account_id)):
        row = await database.fetch_row(
            "settle_held",
            job.id,
            job.attempt,
            list(resolution.result_urls),
            basis,
            resolution.reason,
            actor_to_json(resolution.actor),
            copies_within_seconds,
        )
    moved = await JobRepository(database).get(job.id)
    if row is None:
        raise _not_held(moved)
    if resolution.result_urls and row["price_row_missing"]:
        log.critical("price_row_missing", job_id=str(job.id), charged=str(row["credits_charged"]))
    return moved


def _is_held(job: Job) -> bool:
    return job.state is JobState.GENERATING and job.reason == Reason.RESULT_UNREADABLE


def _not_held(job: Job) -> StateConflict:
    reason = f", reason {job.reason}" if job.reason else ""
    task = f", task {job.provider_task_id}" if job.provider_task_id else ""
    sentence = (
        f"job {job.id} is {job.state}{reason}{task}: only a job that is generating with reason"
        f" {Reason.RESULT_UNREADABLE}, or a late task in doubt, can be settled so"
    )
    return StateConflict([Fault("id", sentence)])


def _is_url(text: str) -> bool:
    if not is_printable_text(text, _URL_LENGTH) or any(one.isspace() for one in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
