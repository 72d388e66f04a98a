"""The models of lost writes and acknowledged alerts, for the OpenAPI document."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from shared.domain.alerts.alert import AcknowledgedAlert

_AT = "2026-01-31T09:15:42.123456Z"


class LostJob(BaseModel):
    """A job that Postgres has lost, or whose task Postgres has lost."""

    job_id: str = Field(examples=["0198f6a2-7c31-7d42-9b1e-3f5a6c7d8e90"])
    task_id: str | None = Field(
        description="its paid task at Kie; null: no worker knows one", examples=["task_12345"]
    )
    kie_account: str | None = Field(description="of the task", examples=["default"])
    is_known: bool = Field(description="whether Postgres has the job, but not the task")


class MissingEvent(BaseModel):
    """An event that was in Postgres, and is not any more."""

    event_id: int = Field(examples=[417])
    at: AwareDatetime = Field(description="when it happened", examples=[_AT])
    newest_event_id: int | None = Field(
        description="the newest event when this was noticed; null: there was none", examples=[410]
    )
    newest_at: AwareDatetime | None = Field(examples=[_AT])


class LostWrites(BaseModel):
    """What Postgres has lost, as far as workers have noticed it."""

    jobs: list[LostJob]
    missing_events: list[MissingEvent]


class Acknowledgement(BaseModel):
    """What an acknowledgement has deleted."""

    name: AcknowledgedAlert
    acknowledged: int = Field(
        description="pieces of evidence that were deleted; 0: there was nothing", examples=[3]
    )
    left: int = Field(
        description="pieces that arrived meanwhile, for which the alert goes on", examples=[0]
    )
    lost_writes: LostWrites | None = Field(
        description="of `writes_lost`: what was read; what changed since stays"
    )


EVIDENCE_MODELS: tuple[type[BaseModel], ...] = (LostWrites, Acknowledgement)
"""The models of the document. Pydantic adds the models of their fields."""
