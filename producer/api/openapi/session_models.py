"""The models of logins to the console, for the OpenAPI document."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

_AT = "2026-01-31T09:15:42.123456Z"


class Session(BaseModel):
    """A login to the console."""

    id: str = Field(examples=["01a22267-11b9-738b-a799-f60f4fac38bc"])
    prefix: str = Field(description="the prefix of its key", examples=["dk_4f6h2k9m1p3r"])
    role: str = Field(description="the role of its key", examples=["operator"])
    key_name: str | None = Field(description="what its key is for", examples=["night shift"])
    created_at: AwareDatetime = Field(description="when the login was", examples=[_AT])
    last_seen_at: AwareDatetime = Field(
        description="when a page was last requested, true to a minute", examples=[_AT]
    )
    expires_at: AwareDatetime = Field(description="when it ends at the latest", examples=[_AT])
    address: str | None = Field(description="of the peer at the login", examples=["10.0.0.7"])
    user_agent: str | None = Field(description="how the browser names itself", examples=["Firefox"])
    ended_at: AwareDatetime | None = Field(description="when it was ended", examples=[None])
    ended_by: str | None = Field(description="who ended it", examples=[None])
    is_open: bool = Field(description="whether it still holds", examples=[True])


class Sessions(BaseModel):
    """Logins to the console, newest first."""

    sessions: list[Session]


SESSION_MODELS: tuple[type[BaseModel], ...] = (Session, Sessions)
