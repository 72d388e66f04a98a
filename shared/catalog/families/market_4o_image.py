"""The family `4o-image-api`: Kie's 4o image model by the Market.

It is the model of `gpt-4o-image` by another endpoint, with fewer options: one image per task, and
no mask, refined prompt, fallback model or upload through China.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.catalog.families import gpt4o_image
from shared.catalog.market_family import (
    MarketFamily,
    MarketRequest,
    refuse_options,
    uri_list_schema,
)
from shared.catalog.model_family import ImageRequest, KieModel, ModelFamily
from shared.catalog.request_fields import (
    NO_IMAGES,
    OptionalPrompt,
    Prompt,
    PublicUrl,
    check_choice,
    check_images,
    find_image_count_fault,
    images_phrase,
    one_image_sentence,
)
from shared.errors import Fault, InvalidRequest

IMAGES_MAX = 5
AspectRatio = Literal["1:1", "3:2", "2:3"]
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)

_UNSUPPORTED_FIELDS = refuse_options("the model 4o-image-api")


class _Request(MarketRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "4o-image-api"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "files_url": "image_urls",
        "file_url": "image_urls",
        "image_url": "image_urls",
    }

    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        description=f"one of {', '.join(ASPECT_RATIOS)}"
    )

    @property
    def kie_model(self) -> str:
        """Kie's name of the model, which is the family's."""
        return self.model


class TextToImage(_Request):
    """An image from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "a lighthouse at dusk", "aspect_ratio": "3:2"}]}
    )
    task: ClassVar[str] = "text-to-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = {
        **_UNSUPPORTED_FIELDS,
        "image_urls": NO_IMAGES,
    }

    prompt: Prompt

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        return {"prompt": self.prompt, "size": self.aspect_ratio}


class ImageToImage(_Request):
    """An image from other images. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "put a hat on the cat",
                    "image_urls": ["https://example.com/cat.png"],
                    "aspect_ratio": "1:1",
                },
                {"image_urls": ["https://example.com/cat.png"], "aspect_ratio": "2:3"},
            ]
        }
    )
    task: ClassVar[str] = "image-to-image"

    image_urls: Annotated[Sequence[PublicUrl], BeforeValidator(check_images(IMAGES_MAX))] = Field(
        description=images_phrase(IMAGES_MAX), min_length=1, max_length=IMAGES_MAX
    )
    prompt: OptionalPrompt = None

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse more images than Kie accepts."""
        return find_image_count_fault(fields, IMAGES_MAX)

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        given = {"files_url": list(self.image_urls), "size": self.aspect_ratio}
        return given if self.prompt is None else {"prompt": self.prompt, **given}


_UNCARRIED = {
    "mask_url": "mask",
    "enhance_prompt": "refining of the prompt",
    "fallback_model": "fallback model",
    "upload_cn": "upload through China",
}


def carry_gpt_4o_image(request: ImageRequest) -> ImageRequest:
    """Return the request that makes the images of a `gpt-4o-image` request by the Market.

    Raises `InvalidRequest` with every field that the Market lacks.
    """
    fields = request.model_dump(mode="json", exclude_none=True)
    now = f"{request.model} is sent by {FAMILY.name} now"
    faults = []
    if fields["quantity"] != 1:
        quantity = fields["quantity"]
        sentence = one_image_sentence(quantity)
        faults.append(Fault("quantity", f"is {quantity}, but {now}, where {sentence}"))
    for name, option in _UNCARRIED.items():
        if fields.pop(name, False):
            faults.append(Fault(name, f"is set, but {now}, which has no {option}; leave it out"))
    if faults:
        raise InvalidRequest(faults)
    return FAMILY.validate(request.task, fields)


# Kie also documents `file_url`, which is deprecated.
_KIE_MODEL = KieModel(
    name="4o-image-api",
    title="4O Image API",
    provider="OpenAI",
    task_types=("Text to Image", "Image to Image"),
    input_schema={
        "type": "object",
        "required": ["size"],
        "properties": {
            "prompt": {"type": "string"},
            "files_url": uri_list_schema(5),
            "file_url": {"type": "string", "format": "uri", "deprecated": True},
            "size": {"type": "string", "enum": ["1:1", "3:2", "2:3"]},
        },
    },
    price_text=(
        "4O Image API on KIE: just 6 credits per image (~$0.03) — flat, all-inclusive pricing with"
        " no hidden parameters.High-tier top-ups (+10% bonus) bring effective pricing down to"
        " ~$0.027 per image."
    ),
    credits={"": Decimal(6)},
)

FAMILY: ModelFamily = MarketFamily(
    (TextToImage, ImageToImage),
    (_KIE_MODEL,),
    carries={gpt4o_image.FAMILY.name: carry_gpt_4o_image},
)
