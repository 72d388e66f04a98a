"""The bodies of requests that cancel or retry many jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from producer.bulk.job_selection import MAX_BULK_JOBS, JobSelection
from producer.job_ids import read_uuid
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_value

_UUID_SCHEMA: dict[str, Any] = {"type": "string", "format": "uuid"}


def _check_id(value: object) -> UUID:
    found = read_uuid(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{format_value(value)} must be the id of a job")
    return found


def _check_limit(value: object) -> object:
    # JSON writes a whole number with a fraction of zero as well.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, int) and not isinstance(whole, bool) and 1 <= whole <= MAX_BULK_JOBS:
        return whole
    raise ValueError(f"{format_value(value)} must be a whole number from 1 to {MAX_BULK_JOBS}")


def _check_filter(value: object) -> JobFilter:
    if not isinstance(value, Mapping):
        raise ValueError(f"{format_value(value)} must be an object of filters")
    try:
        return JobFilter.from_texts(value)
    except InvalidRequest as refused:
        faults = [Fault(f"where.{one.field}", one.message) for one in refused.faults]
        raise InvalidRequest(faults) from None


def _job_filters_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {
            name: {**rule.schema, "description": rule.description}
            for name, rule in FILTER_RULES.items()
        },
    }


def _optional_as(schema: Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Return what replaces the schema of a field that may be missing, but not null."""

    def replace(generated: dict[str, Any]) -> None:
        generated.pop("default", None)
        generated.update(schema)

    return replace


_JobId = Annotated[Any, BeforeValidator(_check_id), Field(json_schema_extra=_UUID_SCHEMA)]


class ManyJobs(BaseModel):
    """Which jobs are meant: their ids, or filters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"where": {"state": "failed", "account_id": "acme"}, "dry_run": True}],
            "oneOf": [{"required": ["ids"]}, {"required": ["where"]}],
        },
    )

    ids: list[_JobId] = Field(
        default_factory=list,
        description="the jobs",
        min_length=1,
        max_length=MAX_BULK_JOBS,
    )
    where: Annotated[Any, BeforeValidator(_check_filter)] = Field(
        default=None,
        description="the jobs that match every filter, the newest first",
        json_schema_extra=_optional_as(_job_filters_schema()),
    )
    dry_run: StrictBool = Field(
        default=False, description="whether nothing is done, and the answer says what would be"
    )
    limit: Annotated[int, BeforeValidator(_check_limit)] = Field(
        default=MAX_BULK_JOBS,
        description="how many of those that match at most",
        json_schema_extra={"minimum": 1, "maximum": MAX_BULK_JOBS},
    )
    cursor: Annotated[Any, BeforeValidator(_check_id)] = Field(
        default=None,
        description="`next_cursor` of the answer before",
        json_schema_extra=_optional_as(_UUID_SCHEMA),
    )


class ManyRetries(ManyJobs):
    """Which jobs are retried: their ids, or filters. Filters without a state: failed jobs."""

    again: StrictBool = Field(
        default=False,
        description="whether jobs that succeeded are meant; their retries are charged as well",
    )


def _check_true(value: object) -> bool:
    if value is not True:
        raise ValueError(f"{format_value(value)} must be true, or missing")
    return True


class ManyImages(BaseModel):
    """Whose failed copies are meant: of some jobs, of those that match filters, or of all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"where": {"account_id": "acme"}}, {"all": True}],
            "oneOf": [{"required": ["ids"]}, {"required": ["where"]}, {"required": ["all"]}],
        },
    )

    ids: list[_JobId] = Field(
        default_factory=list, description="the jobs", min_length=1, max_length=MAX_BULK_JOBS
    )
    where: Annotated[Any, BeforeValidator(_check_filter)] = Field(
        default=None,
        description="the jobs that match every filter",
        json_schema_extra=_optional_as(_job_filters_schema()),
    )
    all: Annotated[Any, BeforeValidator(_check_true)] = Field(
        default=None,
        description="every job",
        json_schema_extra=_optional_as({"type": "boolean", "enum": [True]}),
    )


def build_image_selection(body: ManyImages) -> JobSelection | None:
    """Return the jobs of a body; None means every job."""
    if [bool(body.ids), body.where is not None, body.all is not None].count(True) != 1:
        raise InvalidRequest([Fault("ids", "give ids, where or all")])
    return None if body.all else JobSelection(ids=body.ids, where=body.where)


def build_selection(body: ManyJobs, account_id: str | None) -> JobSelection:
    """Return the selection of a body, only of this account if one is given."""
    if (body.where is None) == (not body.ids):
        raise InvalidRequest([Fault("ids", "give either ids or where")])
    return JobSelection(
        ids=body.ids,
        where=body.where,
        account_id=account_id,
        limit=body.limit,
        below=body.cursor,
    )
