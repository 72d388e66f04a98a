"""The models of how long data is kept, for the OpenAPI document."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from shared.retention import RetentionKind

_AT = "2026-01-31T09:15:42.123456Z"


class PrunableData(BaseModel):
    """Data of one kind that is older than its days, which a prune deletes."""

    kind: RetentionKind = Field(examples=["events"])
    days: int = Field(
        description="how long it is kept after the end of its job: its RETENTION setting",
        examples=[90],
    )
    ended_before: AwareDatetime = Field(description="of jobs that ended before", examples=[_AT])
    jobs: int = Field(examples=[120])
    rows: int = Field(
        description="rows that are deleted; of prompts and jobs, rows emptied", examples=[840]
    )
    held_back: int = Field(
        description="jobs of that age that are still needed, such as for a webhook", examples=[1]
    )
    oldest_at: AwareDatetime | None = Field(
        description="when the first of these jobs ended", examples=[_AT]
    )


class Retention(BaseModel):
    """What a prune would delete. A kind that is missing is kept for ever."""

    kinds: list[PrunableData]


class PrunedData(BaseModel):
    """What a prune deleted, and what is left to delete."""

    pruned: dict[str, int] = Field(
        description="rows by kind; `erasures`: jobs of erasures that were requested before",
        examples=[{"events": 840}],
    )
    kinds: list[PrunableData] = Field(
        description="what is left: with rows, request again, or leave it to the workers"
    )


RETENTION_MODELS: tuple[type[BaseModel], ...] = (Retention, PrunedData)
