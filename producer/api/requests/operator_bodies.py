"""The bodies by which jobs are retried, and jobs in doubt are resolved."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

from producer.actor import MAX_REASON_LENGTH
from producer.jobs.held_resolution import MAX_RESULT_URLS
from producer.jobs.unknown_resolution import TASK_ID_LENGTH, is_printable_text
from shared.field_faults import format_value
from shared.request_fields import has_lone_surrogate

_Verdict = Literal["submitted", "lost", "delivered", "undelivered"]


def _printable(longest: int) -> BeforeValidator:
    def check(value: object) -> object:
        is_text = isinstance(value, str) and not has_lone_surrogate(value)
        if value is None or (is_text and is_printable_text(str(value), longest)):
            return value
        raise ValueError(f"{format_value(value)} must be 1 to {longest} printable characters")

    return BeforeValidator(check)


def _text_schema(longest: int, pattern: str) -> dict[str, Any]:
    return {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern},
            {"type": "null"},
        ]
    }


class Retry(BaseModel):
    """How a job is retried."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"again": False}]})

    again: StrictBool = Field(
        default=False,
        description="whether a job that succeeded is meant; its retry is charged as well",
    )


class Resolution(BaseModel):
    """What became of an unknown submission, of a success that cannot be read, or of a late task."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"verdict": "lost", "reason": "Kie's log has no task of that minute"}]
        },
    )

    verdict: _Verdict = Field(
        description="submitted: Kie made the task `task_id` of an unknown submission. lost: it made"
        " none. delivered: a held success, or a late task, has the images `result_urls`."
        " undelivered: it has none"
    )
    task_id: Annotated[StrictStr | None, _printable(TASK_ID_LENGTH)] = Field(
        default=None,
        description="with submitted: the task; with the last two: which late task is meant, if"
        " several are in doubt",
        json_schema_extra=_text_schema(TASK_ID_LENGTH, r"^[!-~]+$"),
    )
    result_urls: list[StrictStr] = Field(
        default_factory=list,
        max_length=MAX_RESULT_URLS,
        description="with delivered: each image, once",
    )
    reason: Annotated[StrictStr | None, _printable(MAX_REASON_LENGTH)] = Field(
        default=None,
        description="why; required with all but submitted",
        json_schema_extra=_text_schema(MAX_REASON_LENGTH, r"^[ -~]*[!-~][ -~]*$"),
    )
