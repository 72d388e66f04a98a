"""The model of an uploaded image, which only the OpenAPI document uses.

The handlers build their JSON without this model. A test compares both.
"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from producer.files.checked_image import FILE_BYTES_MAX
from shared.domain.image_bytes import ImageType

_AT = "2026-01-31T18:04:05.123456Z"


class File(BaseModel):
    """An uploaded image."""

    id: str = Field(
        json_schema_extra={"format": "uuid"}, examples=["019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"]
    )
    account_id: str = Field(description="whose jobs it is for", examples=["acme"])
    url: str = Field(
        description="for `image_urls` and `mask_url`; who knows it can read the image",
        examples=["https://tempfile.redpandaai.co/kieai/183/darkroom/019b2f3e.png"],
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=1, le=FILE_BYTES_MAX)
    content_type: str = Field(
        json_schema_extra={"enum": [one.value for one in ImageType]}, examples=["image/png"]
    )
    width: int = Field(description="in pixels", ge=1)
    height: int = Field(description="in pixels", ge=1)
    created_at: AwareDatetime = Field(examples=[_AT])
    expires_at: AwareDatetime = Field(
        description="until when `url` is served, unless a queued job names it", examples=[_AT]
    )


FILE_MODELS: tuple[type[BaseModel], ...] = (File,)
