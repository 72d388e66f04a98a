"""Models of the responses about many jobs, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.domain.lifecycle import JobState

_UUID: dict[str, Any] = {"format": "uuid"}


class BulkDone(BaseModel):
    """A job that was cancelled or retried, or whose cancel was requested: then `state` is open."""

    id: str = Field(description="the job that was selected", json_schema_extra=_UUID)
    job_id: str = Field(
        description="the job that retries it; of a cancel, the same", json_schema_extra=_UUID
    )
    account_id: str
    state: str = Field(
        description="of the job `job_id`", json_schema_extra={"enum": list(JobState)}
    )
    is_new: bool = Field(description="whether this call did it; false: it was done before")


class BulkRefused(BaseModel):
    """A job that was not cancelled or retried."""

    id: str = Field(json_schema_extra=_UUID)
    code: str = Field(description="the word that the `type` of an error ends with")
    detail: str = Field(description="why, for people")


class BulkAccount(BaseModel):
    """What the call means for the credits of one account."""

    account_id: str
    jobs: int
    credits: float = Field(description="what retries hold, or what cancels release at once")
    available: float | None = Field(description="what the account has; null after the act")
    lacking: float = Field(description="what it lacks for retrying all of these jobs")
    jobs_without_price: int = Field(description="jobs that have no price, and are refused")


class BulkResult(BaseModel):
    """What a call did to many jobs, or would do."""

    action: Literal["cancel", "retry"]
    dry_run: bool
    matched: int = Field(description="the jobs that the action was possible for")
    remaining: int = Field(description="those beyond `limit`, for the next call")
    requested: int = Field(
        description="those of the cancels whose jobs are at Kie: they end by its outcome"
    )
    next_cursor: str | None = Field(
        description="`cursor` of the next call; null if nothing remains", json_schema_extra=_UUID
    )
    credits: float = Field(description="the sum over the accounts")
    accounts: list[BulkAccount] = Field(
        description="in a dry run of all that matched, up to 100,000 jobs; else of what was done"
    )
    done: list[BulkDone]
    refused: list[BulkRefused]


class RetriedImages(BaseModel):
    """Failed copies of images that are tried again."""

    images: int
    jobs: int = Field(description="the jobs of these images")
    expired: int = Field(
        description="images of the selection that were never copied and that Kie has deleted"
    )


BULK_MODELS: tuple[type[BaseModel], ...] = (BulkResult, RetriedImages)
