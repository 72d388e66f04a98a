"""Answers of image requests whose jobs have not delivered, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from producer.api.openai_api.model_names import NamedModel
from producer.api.openai_api.openai_errors import SHOULD_RETRY, OpenaiError
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason

JOB_ID = "x-darkroom-job-id"
"""The header that names the jobs of a request, separated by commas."""
_GO_ON = "go on with GET /v1/jobs/{}?wait=50, or send the request again with its Idempotency-Key"


class JobError(OpenaiError):
    """The answer to a request that was placed, and whose jobs have not delivered.

    Nothing is wrong with this process, so its status is not logged as a failure.
    """


def name_jobs(jobs: Sequence[Job]) -> str:
    """Return the ids of the jobs, separated by commas."""
    return ",".join(str(job.id) for job in jobs)


def unfinished_answer(jobs: Sequence[Job], seconds: float, *, is_stopping: bool) -> JobError:
    """Return the answer for jobs that have not ended in time, or before the process stops.

    The retry of an SDK goes on waiting for the same jobs.
    """
    open_jobs = [job for job in jobs if not job.is_terminal]
    why = "this server stops" if is_stopping else f"the images are not ready after {seconds:g} s"
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_stopping else HTTPStatus.GATEWAY_TIMEOUT
    return _job_error(
        jobs,
        status,
        f"{why}, and job {name_jobs(open_jobs)} continues: {_GO_ON.format(open_jobs[0].id)}",
        kind="server_error",
        code="job_not_finished",
        should_retry=True,
    )


def cancelled_answer(jobs: Sequence[Job]) -> JobError:
    """Return the answer for jobs of which one is at Kie and was asked to be cancelled.

    No SDK retries it: nobody waits for these images any more.
    """
    ids = name_jobs([job for job in jobs if job.is_cancel_requested])
    return _job_error(
        jobs,
        HTTPStatus.CONFLICT,
        f"the cancel of job {ids} was requested, and it ends by Kie's outcome: see"
        f" GET /v1/jobs/{ids.split(',', 1)[0]}",
        kind="invalid_request_error",
        code="cancel_requested",
        should_retry=False,
    )


def failed_answer(jobs: Sequence[Job], model: NamedModel) -> JobError:
    """Return the answer for jobs of which none has delivered. Nothing was charged.

    No SDK retries it: it would buy the same images once more.
    """
    job = jobs[0]
    said = f"{job.message or job.reason or job.state} (job {job.id}; nothing was charged)"
    kind, code = "server_error", job.reason or "provider_failed"
    status = HTTPStatus.BAD_GATEWAY
    if job.state is JobState.CANCELLED:
        status, kind = HTTPStatus.CONFLICT, "invalid_request_error"
    elif job.reason == Reason.CONTENT_POLICY:
        status = HTTPStatus.BAD_REQUEST
        kind, code = (
            ("invalid_request_error", "content_policy_violation")
            if model.is_dall_e
            else ("image_generation_user_error", "moderation_blocked")
        )
    elif job.reason == Reason.REJECTED:
        status, kind = HTTPStatus.BAD_REQUEST, "invalid_request_error"
    return _job_error(jobs, status, said, kind=kind, code=code, should_retry=False)


def unreadable_answer(jobs: Sequence[Job], why: str) -> JobError:
    """Return the answer for images that exist, are charged, and cannot be fetched now.

    The retry of an SDK fetches the same images again.
    """
    said = f"the images of job {name_jobs(jobs)} are ready, but {why}; their addresses are in"
    return _job_error(
        jobs,
        HTTPStatus.BAD_GATEWAY,
        f"{said} GET /v1/jobs/{jobs[0].id}",
        kind="server_error",
        code="image_not_fetched",
        should_retry=True,
    )


def _job_error(
    jobs: Sequence[Job],
    status: HTTPStatus,
    message: str,
    *,
    kind: str,
    code: str,
    should_retry: bool,
) -> JobError:
    headers = {JOB_ID: name_jobs(jobs), SHOULD_RETRY: str(should_retry).lower()}
    return JobError(status, message, kind=kind, code=code, headers=headers)
