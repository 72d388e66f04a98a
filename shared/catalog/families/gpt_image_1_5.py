"""The family `gpt-image-1.5`: OpenAI's GPT Image 1.5 by Kie's Market, in two qualities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.catalog.market_family import (
    MarketFamily,
    MarketRequest,
    refuse_options,
    uri_list_schema,
)
from shared.catalog.model_family import KieModel, ModelFamily
from shared.catalog.request_fields import (
    NO_IMAGES,
    Prompt,
    PublicUrl,
    check_choice,
    check_images,
    find_image_count_fault,
    images_phrase,
)
from shared.errors import Fault

IMAGES_MAX = 16
AspectRatio = Literal["1:1", "2:3", "3:2"]
Quality = Literal["medium", "high"]
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)
QUALITIES: tuple[str, ...] = get_args(Quality)
_UNSUPPORTED_FIELDS = refuse_options("the model gpt-image-1.5")


class _Request(MarketRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "gpt-image-1.5"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "aspectRatio": "aspect_ratio",
        "input_urls": "image_urls",
        "image_url": "image_urls",
    }

    prompt: Prompt
    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        description=f"one of {', '.join(ASPECT_RATIOS)}"
    )
    quality: Annotated[Quality, BeforeValidator(check_choice(QUALITIES))] = Field(
        description=f"one of {', '.join(QUALITIES)}; it decides the price"
    )

    @property
    def price_variant(self) -> str:
        """The quality."""
        return self.quality

    @property
    def kie_model(self) -> str:
        """Kie's name of the model, one for each task."""
        return f"gpt-image/1.5-{self.task}"

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit. Kie requires all three fields."""
        return self.model_dump(mode="json", include={"prompt", "aspect_ratio", "quality"})


class TextToImage(_Request):
    """An image from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at dusk", "aspect_ratio": "3:2", "quality": "medium"}
            ]
        }
    )
    task: ClassVar[str] = "text-to-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = {
        **_UNSUPPORTED_FIELDS,
        "image_urls": NO_IMAGES,
    }


class ImageToImage(_Request):
    """An image from other images. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "put a hat on the cat",
                    "image_urls": ["https://example.com/cat.png"],
                    "aspect_ratio": "1:1",
                    "quality": "high",
                }
            ]
        }
    )
    task: ClassVar[str] = "image-to-image"

    image_urls: Annotated[Sequence[PublicUrl], BeforeValidator(check_images(IMAGES_MAX))] = Field(
        description=images_phrase(IMAGES_MAX), min_length=1, max_length=IMAGES_MAX
    )

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse more images than Kie accepts."""
        return find_image_count_fault(fields, IMAGES_MAX)

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        return {**super().kie_input(), "input_urls": list(self.image_urls)}


def _kie_model(task: str, task_type: str, price_text: str, **more: Any) -> KieModel:
    """Return a model as Kie documents it."""
    return KieModel(
        name=f"gpt-image/1.5-{task}",
        title=f"GPT Image 1.5 - {task_type}",
        provider="OpenAI",
        task_types=(task_type,),
        input_schema={
            "type": "object",
            "required": ["prompt", *more, "aspect_ratio", "quality"],
            "properties": {
                "prompt": {"type": "string"},
                **more,
                "aspect_ratio": {"type": "string", "enum": ["1:1", "2:3", "3:2"]},
                "quality": {"type": "string", "enum": ["medium", "high"]},
            },
        },
        price_text=price_text,
        credits={"medium": Decimal(4), "high": Decimal(22)},
        variant_field="quality",
    )


_TOP_UPS = (
    "\nHigh-tier top-ups (+10% bonus) bring effective pricing down to ~$0.018 per image (medium"
    " quality) and ~$0.10 per image (high quality)."
)
FAMILY: ModelFamily = MarketFamily(
    (TextToImage, ImageToImage),
    (
        _kie_model(
            "text-to-image",
            "Text to Image",
            "text-to-image or image-to-image: medium quality 4 credits ($0.02) per image, high"
            " quality 22 credits ($0.11) per image — ~35\u201345% cheaper than fal pricing."
            + _TOP_UPS,
        ),
        _kie_model(
            "image-to-image",
            "Image to Image",
            "medium quality 4 credits ($0.02) per image, high quality 22 credits ($0.11) per image"
            " — ~35\u201345% below fal pricing." + _TOP_UPS,
            input_urls=uri_list_schema(16),
        ),
    ),
)
