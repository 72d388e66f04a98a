"""The table of all routes of the API."""

from __future__ import annotations

from collections.abc import Mapping

from producer.actor import MAX_REASON_LENGTH
from producer.api.endpoint import (
    ADMIN_ONLY,
    ALL_ROLES,
    BATCH_BODY_BYTES,
    DATA_URL_BODY_BYTES,
    ENQUEUE_ROLES,
    JOB_BODY_BYTES,
    LIMIT,
    OPERATOR_ROLES,
    ROW_CURSOR,
    WRITE_ROLES,
    Endpoint,
    Parameter,
)
from producer.api.file_routes import FILE_ENDPOINTS
from producer.api.handlers import audit_handlers, event_handlers, job_handlers
from producer.api.image_routes import IMAGE_ENDPOINTS
from producer.api.money_routes import ACCOUNT_ID, MONEY_ENDPOINTS
from producer.api.monitoring_routes import MONITORING_ENDPOINTS
from producer.api.operator_routes import JOB_ID, OPERATOR_ENDPOINTS, job_not_found
from producer.api.pause_routes import PAUSE_ENDPOINTS
from producer.api.requests.request_parts import KEY_PATTERN
from producer.api.responses.http_errors import SessionNotFound
from producer.api.webhook_routes import WEBHOOK_ENDPOINTS
from producer.audit_entries import Act
from producer.jobs.job_filter import FILTER_RULES
from producer.keys.roles import Role
from producer.list_pages import PAGE_BYTES
from producer.live.positions import LAST_EVENT_ID
from producer.orders.field_limits import KEY_LENGTH
from shared.errors import DarkroomError
from shared.job_json import JOB_FIELDS


def _idempotency_key(longest: int) -> Parameter:
    return Parameter(
        "Idempotency-Key",
        {
            "type": "string",
            "minLength": 1,
            "maxLength": longest,
            "pattern": KEY_PATTERN,
        },
        "the same key of the same account gets the same answer again; in a batch, job i has key/i",
        location="header",
    )


_FIELDS = Parameter(
    "fields",
    {
        "type": "string",
        "pattern": f"^({'|'.join(JOB_FIELDS)})(,({'|'.join(JOB_FIELDS)}))*$",
        "examples": ["id,state"],
    },
    "only these fields of a job, separated by commas",
)


_CHECK_IMAGES = Parameter(
    job_handlers.CHECK_IMAGES,
    {"type": "string", "enum": ["true", "false"]},
    "request the start of each image before anything is held",
)


_JOB_FILTERS = tuple(
    Parameter(name, rule.schema, rule.description) for name, rule in FILTER_RULES.items()
)


def _resume(pattern: str, example: str) -> Parameter:
    return Parameter(
        LAST_EVENT_ID,
        {"type": "string", "pattern": pattern, "examples": [example]},
        "go on after this event, as EventSource sends it",
        location="header",
    )


def _session_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return SessionNotFound(parts["id"])


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/jobs",
        handler=job_handlers.create_job,
        name="createJob",
        summary="Place a job and hold its quoted price",
        tag="jobs",
        roles=ENQUEUE_ROLES,
        parameters=(
            _idempotency_key(KEY_LENGTH),
            _CHECK_IMAGES,
        ),
        body="JobOrder",
        body_limit=DATA_URL_BODY_BYTES,
        chunked_body_limit=JOB_BODY_BYTES,
        responses={202: "Job"},
        response_headers=("Location", job_handlers.REPLAYED_HEADER),
        problems=(402, 409, 422, 501),
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/batch",
        handler=job_handlers.create_jobs,
        name="createJobs",
        summary="Place up to 1,000 jobs, all or none",
        tag="jobs",
        roles=ENQUEUE_ROLES,
        parameters=(_idempotency_key(job_handlers.BATCH_KEY_LENGTH), _CHECK_IMAGES),
        body="JobBatch",
        body_limit=BATCH_BODY_BYTES,
        responses={202: "Jobs"},
        response_headers=(job_handlers.REPLAYED_HEADER,),
        problems=(402, 409, 422, 501),
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs",
        handler=job_handlers.list_jobs,
        name="listJobs",
        summary="List jobs, newest first",
        tag="jobs",
        roles=ALL_ROLES,
        parameters=(
            *_JOB_FILTERS,
            LIMIT,
            Parameter("cursor", JOB_ID["id"], "`next_cursor` of the page before"),
            _FIELDS,
        ),
        responses={200: "JobPage"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/counts",
        handler=job_handlers.count_jobs,
        name="countJobs",
        summary="Count jobs by state and reason",
        tag="jobs",
        roles=ALL_ROLES,
        parameters=_JOB_FILTERS,
        responses={200: "JobCounts"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{id}",
        handler=job_handlers.show_job,
        name="getJob",
        summary="Show a job, or wait for its end",
        tag="jobs",
        roles=ALL_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        parameters=(
            Parameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": job_handlers.WAIT_SECONDS_MAX},
                "answer once the job has ended, or after so many seconds, 50 at most",
            ),
            _FIELDS,
        ),
        responses={200: "ShownJob"},
        problems=(404, 422),
        supports_wait=True,
        timeout_seconds=job_handlers.WAIT_ENDS_SECONDS + 30,
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{id}/events",
        handler=event_handlers.job_events,
        name="streamJob",
        summary="Follow a job as Server-Sent Events, from the start or Last-Event-ID",
        tag="events",
        roles=ALL_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        parameters=(_resume("^[0-9]{0,19}$", "12"),),
        responses={200: "Event", 204: None},
        problems=(404, 422),
        response_type="text/event-stream",
        is_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/{id}/cancel",
        handler=job_handlers.cancel_job,
        name="cancelJob",
        summary="Cancel a queued job (200), or stop waiting for one that is at Kie (202)",
        tag="jobs",
        roles=WRITE_ROLES,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        responses={200: "Job", 202: "Job"},
        problems=(404, 409),
    ),
    *FILE_ENDPOINTS,
    *IMAGE_ENDPOINTS,
    *OPERATOR_ENDPOINTS,
    *MONEY_ENDPOINTS,
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}/events",
        handler=event_handlers.account_events,
        name="streamAccount",
        summary="Follow all of an account's jobs as Server-Sent Events, from now or Last-Event-ID",
        tag="events",
        roles=ALL_ROLES,
        path_schemas=ACCOUNT_ID,
        parameters=(_resume(r"^([0-9]{1,20}\.[0-9]{1,19})?$", "760.12"),),
        responses={200: "Event"},
        problems=(404, 422),
        response_type="text/event-stream",
        is_stream=True,
    ),
    *MONITORING_ENDPOINTS,
    *PAUSE_ENDPOINTS,
    *WEBHOOK_ENDPOINTS,
    Endpoint(
        method="GET",
        path="/v1/sessions",
        handler=audit_handlers.list_sessions,
        name="listSessions",
        summary="List the newest 200 logins to the console that hold",
        description="An admin sees those of every key, others those of the key of the request.",
        tag="audit",
        roles=OPERATOR_ROLES | {Role.VIEWER},
        parameters=(
            Parameter(
                "ended",
                {"type": "string", "enum": ["true", "false"]},
                "whether to list those that ended in the last 30 days as well",
            ),
        ),
        responses={200: "Sessions"},
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/sessions/{id}/end",
        handler=audit_handlers.end_session,
        name="endSession",
        summary="End a login to the console at once; its key stays valid",
        tag="audit",
        roles=OPERATOR_ROLES | {Role.VIEWER},
        path_schemas=JOB_ID,
        not_found=_session_not_found,
        responses={200: "Session"},
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/audit",
        handler=audit_handlers.list_entries,
        name="listAudit",
        summary="List who did what to prices, credits, jobs, keys and webhooks, newest first",
        tag="audit",
        roles=ADMIN_ONLY,
        parameters=(
            Parameter(
                "act", {"type": "string", "enum": [act.value for act in Act]}, "only such acts"
            ),
            Parameter(
                "actor",
                {"type": "string", "minLength": 1, "maxLength": MAX_REASON_LENGTH},
                "only of this actor, login of the database, or prefix of a key",
            ),
            LIMIT,
            ROW_CURSOR,
        ),
        responses={200: "AuditPage"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
)
"""The order is that of the document."""
