"""The family `flux1-kontext`: FLUX.1 Kontext by Black Forest Labs, by Kie's Market.

Kie prices two tiers, Pro and Max, and has no field that chooses one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.catalog.market_family import MarketFamily, MarketRequest, refuse_options
from shared.catalog.model_family import KieModel, ModelFamily
from shared.catalog.request_fields import (
    NO_IMAGES,
    Flag,
    Prompt,
    PublicUrl,
    check_choice,
    check_images,
    find_image_count_fault,
    images_phrase,
)
from shared.errors import Fault
from shared.field_faults import format_value
from shared.text_and_url_checks import NON_BLANK_TEXT_SCHEMA, has_lone_surrogate, optional

IMAGES_MAX = 1
TOLERANCE_MAX = 6
AspectRatio = Literal["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"]
OutputFormat = Literal["jpeg", "png"]
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)
_TOLERANCE = f"a whole number from 0 (strict) to {TOLERANCE_MAX}"
WATERMARK_LENGTH_MAX = 200
_WATERMARK = f"text of 1 to {WATERMARK_LENGTH_MAX} characters that Kie writes on the image"
_UNSUPPORTED_FIELDS = refuse_options("the model flux1-kontext")


def _check_tolerance(value: object) -> object:
    # In JSON, 2.0 is a whole number as well.
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= TOLERANCE_MAX:
        raise ValueError(f"is {format_value(value)}; allowed: {_TOLERANCE}")
    return number


def _check_watermark(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {format_value(value)}; allowed: {_WATERMARK}")
    if len(value) > WATERMARK_LENGTH_MAX:
        raise ValueError(f"is {len(value):,} characters long; allowed: {_WATERMARK}")
    if "\0" in value or has_lone_surrogate(value):
        raise ValueError("contains a character that cannot be stored; remove it")
    return value


_check_kept_ratio = check_choice(ASPECT_RATIOS, ", or leave it out")


class _Request(MarketRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "flux1-kontext"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "aspectRatio": "aspect_ratio",
        "input_image": "image_urls",
        "inputImage": "image_urls",
        "image_url": "image_urls",
        "outputFormat": "output_format",
        "prompt_upsampling": "enhance_prompt",
        "promptUpsampling": "enhance_prompt",
        "enable_translation": "translate_prompt",
        "enableTranslation": "translate_prompt",
        "safetyTolerance": "safety_tolerance",
    }

    prompt: Prompt
    output_format: Annotated[OutputFormat, BeforeValidator(check_choice(OUTPUT_FORMATS))] = Field(
        default="jpeg", description=f"one of {', '.join(OUTPUT_FORMATS)}"
    )
    enhance_prompt: Flag = Field(default=False, description="whether Kie refines the prompt")
    translate_prompt: Flag = Field(
        default=True, description="whether Kie translates the prompt into English, which is needed"
    )
    safety_tolerance: Annotated[int, BeforeValidator(_check_tolerance)] = Field(
        default=2, ge=0, le=TOLERANCE_MAX, description=_TOLERANCE
    )
    watermark: Annotated[str | None, optional(_check_watermark)] = Field(
        default=None,
        description=_WATERMARK,
        max_length=WATERMARK_LENGTH_MAX,
        json_schema_extra=NON_BLANK_TEXT_SCHEMA,
    )
    upload_cn: Flag = Field(default=False, description="whether to upload through China")

    @property
    def kie_model(self) -> str:
        """Kie's name of the model, which is the family's."""
        return self.model

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        given = {
            "prompt": self.prompt,
            "output_format": self.output_format,
            "prompt_upsampling": self.enhance_prompt,
            "enable_translation": self.translate_prompt,
            "safety_tolerance": self.safety_tolerance,
            "upload_cn": self.upload_cn,
        }
        return given if self.watermark is None else {**given, "watermark": self.watermark}


class TextToImage(_Request):
    """An image from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at dusk", "aspect_ratio": "21:9", "output_format": "png"}
            ]
        }
    )
    task: ClassVar[str] = "text-to-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = {
        **_UNSUPPORTED_FIELDS,
        "image_urls": NO_IMAGES,
    }

    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        default="16:9", description=f"one of {', '.join(ASPECT_RATIOS)}"
    )

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        return {**super().kie_input(), "aspect_ratio": self.aspect_ratio}


class ImageToImage(_Request):
    """An image from one other image. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "put a hat on the cat",
                    "image_urls": ["https://example.com/cat.png"],
                    "safety_tolerance": 1,
                    "watermark": "harbour",
                }
            ]
        }
    )
    task: ClassVar[str] = "image-to-image"

    image_urls: Annotated[Sequence[PublicUrl], BeforeValidator(check_images(IMAGES_MAX))] = Field(
        description=images_phrase(IMAGES_MAX), min_length=1, max_length=IMAGES_MAX
    )
    aspect_ratio: Annotated[AspectRatio | None, optional(_check_kept_ratio)] = Field(
        default=None, description=f"one of {', '.join(ASPECT_RATIOS)}; left out: that of the image"
    )

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse more than one image."""
        return find_image_count_fault(fields, IMAGES_MAX)

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit. Without a ratio, Kie keeps that of the image."""
        given = {**super().kie_input(), "input_image": self.image_urls[0]}
        ratio = self.aspect_ratio
        return given if ratio is None else {**given, "aspect_ratio": ratio}


_KIE_MODEL = KieModel(
    name="flux1-kontext",
    title="Flux Kontext API",
    provider="Black Forest Labs",
    task_types=("Text to Image", "Image to Image"),
    input_schema={
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string"},
            "enable_translation": {"type": "boolean"},
            "upload_cn": {"type": "boolean"},
            "input_image": {"type": "string", "format": "uri"},
            "aspect_ratio": {
                "type": "string",
                "enum": ["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"],
                "default": "16:9",
            },
            "output_format": {"type": "string", "enum": ["jpeg", "png"], "default": "jpeg"},
            "prompt_upsampling": {"type": "boolean", "default": False},
            "safety_tolerance": {"type": "integer", "minimum": 0, "maximum": 6, "default": 2},
            "watermark": {"type": "string"},
        },
    },
    price_text=(
        "Black Forest Labs FLUX.1 Kontext on Kie.ai offers text-to-image generation with two tiers"
        " — Pro mode at 5 credits per image (≈ $0.025) and Max mode at 10 credits per image (≈"
        " $0.05). \nHigh-tier top-ups (+10% bonus) bring effective pricing down to ~$0.0225 per"
        " image in Pro mode and ~$0.045 per image in Max mode."
    ),
    # No field chooses the tier, so the higher price holds until Kie's own charge shows which it is.
    credits={"": Decimal(10)},
)

FAMILY: ModelFamily = MarketFamily((TextToImage, ImageToImage), (_KIE_MODEL,))
