"""The family `gpt-image-2`: OpenAI's GPT Image 2 by Kie's Market, in 1K, 2K or 4K."""

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
    "auto", "1:1", "3:2", "2:3", "4:3", "3:4", "5:4", "4:5",
    "16:9", "9:16", "2:1", "1:2", "3:1", "1:3", "21:9", "9:21",
]
# fmt: on
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)
_NOT_AT_2K = {"auto", "5:4", "4:5", "3:1", "1:3", "9:21"}
_NOT_AT_4K = {"auto", "1:1", "3:1", "1:3", "9:21"}
_RATIOS_AT = {
    "1K": ASPECT_RATIOS,
    "2K": tuple(one for one in ASPECT_RATIOS if one not in _NOT_AT_2K),
    "4K": tuple(one for one in ASPECT_RATIOS if one not in _NOT_AT_4K),
}
_BACKGROUND_AT = ("1K",)
_RULES = resolution_rules(_RATIOS_AT, _BACKGROUND_AT)
_UNSUPPORTED_FIELDS = refuse_options("the model gpt-image-2")


class _Request(GptImageRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "gpt-image-2"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "aspectRatio": "aspect_ratio",
        "input_urls": "image_urls",
        "image_url": "image_urls",
    }
    ratios_at = _RATIOS_AT
    background_at = _BACKGROUND_AT

    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        default="auto", description=f"one of {', '.join(ASPECT_RATIOS)}; auto in 1K alone"
    )

    @property
    def kie_model(self) -> str:
        """Kie's name of the model, one for each task."""
        return f"gpt-image-2-{self.task}"


class TextToImage(_Request):
    """An image from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at dusk"},
                {"prompt": "a lighthouse at dusk", "aspect_ratio": "16:9", "resolution": "4K"},
                {"prompt": "a paper boat", "aspect_ratio": "1:1", "background": "transparent"},
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
                    "aspect_ratio": "3:2",
                    "resolution": "2K",
                }
            ],
            **_RULES,
        }
    )
    task: ClassVar[str] = "image-to-image"


def _kie_model(task: str, title: str, **more: Any) -> KieModel:
    """Return a model as Kie documents it. The rules between fields are text in Kie's pages."""
    return KieModel(
        name=f"gpt-image-2-{task}",
        title=title,
        provider="OpenAI",
        task_types=(title.rpartition(" - ")[2],),
        input_schema={
            "type": "object",
            "required": ["prompt", *more],
            "properties": {
                "prompt": {"type": "string", "minLength": 1, "maxLength": 20_000},
                **more,
                "aspect_ratio": {"type": "string", "enum": [*ASPECT_RATIOS]},
                "resolution": {"type": "string", "enum": ["1K", "2K", "4K"]},
                "background": {"type": "string", "enum": ["transparent", "opaque", "auto"]},
            },
            "allOf": [
                # "Images with the aspect ratio auto or without one will only be 1K; otherwise, the
                # task will fail to create", "cannot be 4K", "not supported", "only with 1K".
                _rule(["2K", "4K"], {"required": ["aspect_ratio"], "not": _ratio("auto")}),
                _rule(["4K"], {"not": _ratio("1:1")}),
                _rule(["2K"], {"not": _ratio("5:4", "4:5", "3:1", "1:3", "9:21")}),
                _rule(["4K"], {"not": _ratio("3:1", "1:3", "9:21")}),
                _rule(["2K", "4K"], {"not": {"required": ["background"]}}),
            ],
        },
        price_text=(
            "GPT-2 Image — now just 6 credits ($0.03) for 1 K, 10 credits ($0.05) for 2 K, and 16"
            " credits ($0.08) for 4 K.\nHigh-tier top-ups (+10% bonus) bring effective pricing down"
            " to ~10% off the above rates."
        ),
        credits={"1K": Decimal(6), "2K": Decimal(10), "4K": Decimal(16)},
        variant_field="resolution",
    )


def _rule(resolutions: list[str], rule: dict[str, Any]) -> dict[str, Any]:
    condition = {"properties": {"resolution": {"enum": resolutions}}, "required": ["resolution"]}
    return {"if": condition, "then": rule}


def _ratio(*ratios: str) -> dict[str, Any]:
    return {"properties": {"aspect_ratio": {"enum": [*ratios]}}, "required": ["aspect_ratio"]}


FAMILY: ModelFamily = MarketFamily(
    (TextToImage, ImageToImage),
    (
        _kie_model("text-to-image", "GPT Image-2 - Text to Image"),
        _kie_model(
            "image-to-image", "GPT Image-2 - Image to Image", input_urls=uri_list_schema(16)
        ),
    ),
)
