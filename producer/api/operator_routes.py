"""The routes by which operators look into jobs, retry them and resolve doubts about them."""

from __future__ import annotations

from collections.abc import Mapping

from producer.api.endpoint import OPERATOR_ROLES, WRITE_ROLES, Endpoint
from producer.api.handlers import bulk_handlers, operator_handlers
from producer.keys.roles import Role
from producer.list_pages import PAGE_BYTES
from producer.model_routes import model_not_found
from shared.catalog import list_families
from shared.errors import DarkroomError, JobNotFound

JOB_ID = {"id": {"type": "string", "format": "uuid"}}


def job_not_found(parts: Mapping[str, str]) -> DarkroomError:
    """Return the error for a path whose id names no job."""
    return JobNotFound(parts["id"][:80])


def _model_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return model_not_found(parts["model"])


OPERATOR_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/jobs/cancel",
        handler=bulk_handlers.cancel_jobs,
        name="cancelJobs",
        summary="Cancel up to 1,000 open jobs, each by itself, or say what that would do",
        tag="jobs",
        roles=WRITE_ROLES,
        body="ManyJobs",
        responses={200: "BulkResult"},
        problems=(409, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/retry",
        handler=bulk_handlers.retry_jobs,
        name="retryJobs",
        summary="Retry up to 1,000 ended jobs, each by itself, or say what that would hold",
        tag="jobs",
        roles=WRITE_ROLES,
        body="ManyRetries",
        responses={200: "BulkResult"},
        problems=(409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{id}/details",
        handler=operator_handlers.show_details,
        name="getJobDetails",
        summary="Show a job with its timeline, attempts, ledger entries, late tasks and webhooks",
        tag="jobs",
        roles=OPERATOR_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        responses={200: "JobDetails"},
        max_response_bytes=PAGE_BYTES,
        problems=(404, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/{id}/retry",
        handler=operator_handlers.retry_job,
        name="retryJob",
        summary="Run the request of an ended job again, once, as a new job of its account",
        description="The answer is 202 with the new job, or 200 with the job of an earlier retry.",
        tag="jobs",
        roles=WRITE_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        body="Retry",
        body_is_required=False,
        responses={200: "Job", 202: "Job"},
        response_headers=("Location",),
        problems=(402, 404, 409, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/{id}/resolve",
        handler=operator_handlers.resolve_job,
        name="resolveJob",
        summary="Say what became of an unknown submission, an unreadable success or a late task",
        tag="jobs",
        roles=OPERATOR_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        body="Resolution",
        responses={200: "Job"},
        problems=(404, 409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        handler=operator_handlers.list_models,
        name="listModels",
        summary="List the models, and by which family the jobs of each are sent to Kie",
        tag="models",
        roles=OPERATOR_ROLES | {Role.VIEWER},
        responses={200: "ModelList"},
    ),
    Endpoint(
        method="POST",
        path="/v1/models/{model}/route",
        handler=operator_handlers.route_model,
        name="routeModel",
        summary="Send the jobs of a model by another family, or say what that would mean",
        tag="models",
        roles=OPERATOR_ROLES,
        path_schemas={"model": {"type": "string", "enum": sorted(list_families())}},
        not_found=_model_not_found,
        body="RouteChoice",
        responses={200: "RouteResult"},
        problems=(404, 422),
    ),
)
