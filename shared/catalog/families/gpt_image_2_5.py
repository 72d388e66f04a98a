"""The family `gpt-image-2-5`: OpenAI's GPT Image 2.5 by Kie's Market, in 1K, 2K or 4K.

Kie has two editions of it: flare, which is the fast one, and sunburst. They cost the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.catalog.gpt_image_request import GptImageEdit, GptImageRequest, resolution_rules
from shared.catalog.market_family import MarketFamily, refuse_options, uri_list_schema
from shared.catalog.model_family import KieModel, ModelFamily
from shared.catalog.request_fields import NO_IMAGES, check_choice

# fmt: off
AspectRatio = Literal[
    "auto", "1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9",
    "27:16", "16:27", "9:8", "8:9",
]
# fmt: on
Edition = Literal["flare", "sunburst"]
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)
EDITIONS: tuple[str, ...] = get_args(Edition)
_AT_1K_ALONE = ("27:16", "16:27", "9:8", "8:9")
_ABOVE_1K = tuple(one for one in ASPECT_RATIOS if one not in _AT_1K_ALONE)
_RATIOS_AT = {"1K": ASPECT_RATIOS, "2K": _ABOVE_1K, "4K": _ABOVE_1K}
_RULES = resolution_rules(_RATIOS_AT)
_UNSUPPORTED_FIELDS = refuse_options("the model gpt-image-2-5")


class _Request(GptImageRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "gpt-image-2-5"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "aspectRatio": "aspect_ratio",
        "input_urls": "image_urls",
        "image_url": "image_urls",
        "tier": "edition",
    }
    ratios_at = _RATIOS_AT

    edition: Annotated[Edition, BeforeValidator(check_choice(EDITIONS))] = Field(
        default="flare", description=f"one of {', '.join(EDITIONS)}"
    )
    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        default="auto",
        description=f"one of {', '.join(ASPECT_RATIOS)}; the last four in 1K alone",
    )

    @property
    def kie_model(self) -> str:
        """Kie's name of the model, one for each edition and task."""
        return f"gpt-image-2-5-{self.edition}-{self.task}"


class TextToImage(_Request):
    """An image from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at dusk", "edition": "sunburst", "resolution": "4K"},
                {"prompt": "a lighthouse at dusk", "aspect_ratio": "27:16"},
            ],
            **_RULES,
        }
    )
    task: ClassVar[str] = "text-to-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = {
        **_UNSUPPORTED_FIELDS,
        "image_urls": NO_IMAGES,
    }


class ImageToImage(GptImageEdit, _Request):
    """An image from other images. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "put a hat on the cat",
                    "image_urls": ["https://example.com/cat.png"],
                    "aspect_ratio": "16:9",
                    "resolution": "2K",
                    "background": "opaque",
                }
            ],
            **_RULES,
        }
    )
    task: ClassVar[str] = "image-to-image"


def _kie_model(edition: str, task: str, **more: Any) -> KieModel:
    """Return a model as Kie documents it. The rule of the four ratios is text in Kie's pages."""
    task_type = task.replace("-", " ").title().replace(" To ", " to ")
    return KieModel(
        name=f"gpt-image-2-5-{edition}-{task}",
        title=f"GPT Image 2.5 {edition.title()} - {task_type}",
        provider="OpenAI",
        task_types=(task_type,),
        input_schema={
            "type": "object",
            "required": ["prompt", *more],
            "properties": {
                "prompt": {"type": "string", "minLength": 1, "maxLength": 20_000},
                **more,
                "aspect_ratio": {"type": "string", "enum": [*ASPECT_RATIOS]},
                "resolution": {"type": "string", "enum": ["1K", "2K", "4K"], "default": "1K"},
                "background": {"type": "string", "enum": ["transparent", "opaque", "auto"]},
            },
            "if": {
                "properties": {"aspect_ratio": {"enum": ["27:16", "16:27", "9:8", "8:9"]}},
                "required": ["aspect_ratio"],
            },
            "then": {"properties": {"resolution": {"const": "1K"}}},
        },
        price_text=(
            "GPT Image 2.5 — now just 6 credits ($0.03) for 1 K, 10 credits ($0.05) for 2 K, and 16"
            " credits ($0.08) for 4 K.\nHigh-tier top-ups (+10% bonus) bring effective pricing down"
            " to ~10% off the above rates."
        ),
        credits={"1K": Decimal(6), "2K": Decimal(10), "4K": Decimal(16)},
        variant_field="resolution",
    )


FAMILY: ModelFamily = MarketFamily(
    (TextToImage, ImageToImage),
    tuple(
        model
        for edition in EDITIONS
        for model in (
            _kie_model(edition, "text-to-image"),
            _kie_model(edition, "image-to-image", input_urls=uri_list_schema(16)),
        )
    ),
)
