"""The bodies by which operators retry and resolve jobs, route models and acknowledge alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.admin_bodies import Reason, parse_admin_body
from producer.jobs.held_resolution import MAX_RESULT_URLS
from producer.jobs.unknown_resolution import TASK_ID_LENGTH, is_printable_text
from shared.catalog import list_families
from shared.domain.alerts.alert import AcknowledgedAlert
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_value
from shared.text_and_url_checks import has_lone_surrogate


def _printable(longest: int, *, has_blanks: bool = True) -> BeforeValidator:
    wanted = f"1 to {longest} printable characters{'' if has_blanks else ' without blanks'}"

    def check(value: object) -> object:
        is_text = isinstance(value, str) and not has_lone_surrogate(value)
        text = str(value) if is_text else ""
        if is_printable_text(text, longest) and (has_blanks or not any(map(str.isspace, text))):
            return value
        raise ValueError(f"{format_value(value)} must be {wanted}")

    return BeforeValidator(check)


def _text_schema(longest: int, pattern: str) -> dict[str, Any]:
    return {"minLength": 1, "maxLength": longest, "pattern": pattern}


class Retry(BaseModel):
    """How a job is retried."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"again": False}]})

    again: StrictBool = Field(
        default=False,
        description="confirms the retry of a job that succeeded; it is charged as well",
    )


class RouteChoice(BaseModel):
    """By which family the jobs of a model are sent."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"via": "4o-image-api", "reason": "the old one is gone"}]},
    )

    via: StrictStr = Field(
        description="the family; the model itself takes a route back",
        json_schema_extra={"enum": [*sorted(list_families())]},
    )
    reason: Annotated[Reason | None, Field(description="why; it is recorded")] = None
    dry_run: StrictBool = Field(
        default=False, description="whether nothing is done, and the answer says what would be"
    )


class AlertAcknowledgement(BaseModel):
    """Which alert has been dealt with."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "redis_was_wiped"}]}
    )

    name: AcknowledgedAlert = Field(description="the alert")


_TaskId = Annotated[
    StrictStr,
    _printable(TASK_ID_LENGTH, has_blanks=False),
    Field(json_schema_extra=_text_schema(TASK_ID_LENGTH, r"^[!-~]+$")),
]
_Reason = Annotated[
    StrictStr,
    _printable(MAX_REASON_LENGTH),
    Field(
        description="why; it is recorded",
        json_schema_extra=_text_schema(MAX_REASON_LENGTH, r"^[ -~]*[!-~][ -~]*$"),
    ),
]
_WhichLateTask = Annotated[
    _TaskId | None, Field(description="the late task, if several are in doubt")
]
_ResultUrl = Annotated[StrictStr, Field(json_schema_extra={"format": "public-url"})]
_STRICT = ConfigDict(extra="forbid")


class TaskFound(BaseModel):
    """Kie made this task of an unknown submission. It is polled, and charged if it succeeds."""

    model_config = _STRICT

    verdict: Literal["submitted"]
    task_id: _TaskId = Field(description="the task at Kie")
    reason: _Reason | None = None


class TaskLost(BaseModel):
    """Kie made no task of an unknown submission. The job fails, and its hold is released."""

    model_config = _STRICT

    verdict: Literal["lost"]
    reason: _Reason


class ImagesFound(BaseModel):
    """The images of a success that cannot be read, which is charged, or of a late task."""

    model_config = _STRICT

    verdict: Literal["delivered"]
    result_urls: list[_ResultUrl] = Field(
        description="each image, once",
        min_length=1,
        max_length=MAX_RESULT_URLS,
        json_schema_extra={"uniqueItems": True},
    )
    reason: _Reason
    task_id: _WhichLateTask = None


class ImagesLost(BaseModel):
    """A success that cannot be read has no images: the job fails. Or a late task has none."""

    model_config = _STRICT

    verdict: Literal["undelivered"]
    reason: _Reason
    task_id: _WhichLateTask = None


Resolution = TaskFound | TaskLost | ImagesFound | ImagesLost
RESOLUTIONS: dict[str, type[Resolution]] = {
    "submitted": TaskFound,
    "lost": TaskLost,
    "delivered": ImagesFound,
    "undelivered": ImagesLost,
}
"""The body of each verdict."""


def parse_resolution(body: Mapping[str, Any]) -> Resolution:
    """Return the body of its verdict, or raise `InvalidRequest` with every fault."""
    verdict = body.get("verdict")
    kind = RESOLUTIONS.get(verdict) if isinstance(verdict, str) else None
    if kind is None:
        allowed = ", ".join(RESOLUTIONS)
        sentence = f"{format_value(verdict)} must be one of {allowed}"
        raise InvalidRequest([Fault("verdict", sentence)])
    return parse_admin_body(kind, body)
