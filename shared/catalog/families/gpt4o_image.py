"""The family `gpt-4o-image`: Kie's 4o image API, text to image and image to image.

Kie has no options for output format, quality or style. It publishes no limit for the prompt. The
limit here is the one of its newer GPT image models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.catalog.kie_response_codes import parse_envelope, read_poll, read_submit
from shared.catalog.kie_task_record import read_callback_url, read_task_record
from shared.catalog.model_family import (
    CarryRequest,
    ImageRequest,
    KieModel,
    KieRequest,
    KieResponse,
    ModelFamily,
    validate_task,
)
from shared.catalog.request_fields import (
    NO_IMAGES,
    PUBLIC_URL_SCHEMA,
    Flag,
    OptionalPrompt,
    Prompt,
    PublicUrl,
    check_choice,
    check_images,
    find_image_count_fault,
    images_phrase,
    list_values,
)
from shared.domain.kie_outcomes import PollOutcome, SubmitOutcome
from shared.errors import Fault
from shared.field_faults import format_value
from shared.text_and_url_checks import URL_LENGTH_MAX, check_public_url, optional

IMAGES_MAX = 5
AspectRatio = Literal["1:1", "3:2", "2:3"]
Quantity = Literal[1, 2, 4]
FallbackModel = Literal["GPT_IMAGE_1", "FLUX_MAX"]
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatio)
QUANTITIES: tuple[int, ...] = get_args(Quantity)
FALLBACK_MODELS: tuple[str, ...] = get_args(FallbackModel)

_ASPECT_RATIO = f"one of {', '.join(ASPECT_RATIOS)}"
_QUANTITY = f"how many images: {list_values(QUANTITIES, 'or')}"
_MASK = "a public URL of a mask (black is changed, white is kept), with exactly one image"
_FALLBACK = list_values(FALLBACK_MODELS, "or")
_check_fallback = check_choice(FALLBACK_MODELS, ", or leave it out")


def _check_quantity(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value not in QUANTITIES:
        raise ValueError(
            f"is {format_value(value)}; allowed: the numbers {list_values(QUANTITIES, 'and')}"
        )
    return value


# The check as JSON Schema, for the OpenAPI document.
_MASK_NEEDS_ONE_IMAGE: dict[str, Any] = {
    "if": {"properties": {"mask_url": {"type": "string"}}, "required": ["mask_url"]},
    "then": {"properties": {"image_urls": {"maxItems": 1}}},
}

_NO_SUCH_OPTION = "is refused: Kie's 4o image API has no {} option; leave it out"
_UNSUPPORTED_FIELDS = {
    "output_format": _NO_SUCH_OPTION.format("output format"),
    "quality": _NO_SUCH_OPTION.format("quality"),
    "style": _NO_SUCH_OPTION.format("style") + " and describe the style in the prompt",
}


class _Gpt4oRequest(ImageRequest):
    """Fields of both tasks."""

    model: ClassVar[str] = "gpt-4o-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = _UNSUPPORTED_FIELDS
    field_aliases: ClassVar[Mapping[str, str]] = {
        "size": "aspect_ratio",
        "aspectRatio": "aspect_ratio",
        "nVariants": "quantity",
        "n": "quantity",
        "filesUrl": "image_urls",
        "image_url": "image_urls",
        "maskUrl": "mask_url",
        "isEnhance": "enhance_prompt",
        "uploadCn": "upload_cn",
        "fallbackModel": "fallback_model",
        "enableFallback": "fallback_model",
    }

    aspect_ratio: Annotated[AspectRatio, BeforeValidator(check_choice(ASPECT_RATIOS))] = Field(
        description=_ASPECT_RATIO
    )
    quantity: Annotated[Quantity, BeforeValidator(_check_quantity)] = Field(
        default=1, description=_QUANTITY
    )
    enhance_prompt: Flag = Field(default=False, description="whether Kie refines the prompt")
    fallback_model: Annotated[
        FallbackModel | None, optional(check_choice(FALLBACK_MODELS, ", or leave it out"))
    ] = Field(default=None, description=f"the model to fall back to: {_FALLBACK}")
    upload_cn: Flag = Field(default=False, description="whether to upload through China")

    @property
    def price_quantity(self) -> int:
        """The number of requested images."""
        return self.quantity

    def kie_fields(self) -> dict[str, Any]:
        """Return Kie's fields for the options of both tasks. Default values are omitted.

        Kie's current documentation has only `size`. Its defaults equal ours.
        """
        options: dict[str, Any] = {"size": self.aspect_ratio}
        if self.quantity != 1:
            options["nVariants"] = self.quantity
        if self.enhance_prompt:
            options["isEnhance"] = True
        if self.upload_cn:
            options["uploadCn"] = True
        if self.fallback_model is not None:
            options |= {"enableFallback": True, "fallbackModel": self.fallback_model}
        return options


class TextToImage(_Gpt4oRequest):
    """Images from a prompt. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at dusk", "aspect_ratio": "3:2", "quantity": 2},
            ]
        }
    )
    task: ClassVar[str] = "text-to-image"
    unsupported_fields: ClassVar[Mapping[str, str]] = {
        **_UNSUPPORTED_FIELDS,
        **dict.fromkeys(("image_urls", "mask_url"), NO_IMAGES),
    }

    prompt: Prompt

    def kie_fields(self) -> dict[str, Any]:
        """Return Kie's fields for this request."""
        return {"prompt": self.prompt, **super().kie_fields()}


class ImageToImage(_Gpt4oRequest):
    """Images from other images. Raises `InvalidRequest` with all faults at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"image_urls": ["https://example.com/cat.png"], "aspect_ratio": "1:1"},
                {
                    "prompt": "put a hat on the cat",
                    "image_urls": ["https://example.com/cat.png"],
                    "mask_url": "https://example.com/mask.png",
                    "aspect_ratio": "2:3",
                    "quantity": 4,
                    "enhance_prompt": True,
                    "fallback_model": "FLUX_MAX",
                    "upload_cn": True,
                },
            ],
            **_MASK_NEEDS_ONE_IMAGE,
        }
    )
    task: ClassVar[str] = "image-to-image"

    image_urls: Annotated[Sequence[PublicUrl], BeforeValidator(check_images(IMAGES_MAX))] = Field(
        description=images_phrase(IMAGES_MAX), min_length=1, max_length=IMAGES_MAX
    )
    prompt: OptionalPrompt = None
    mask_url: Annotated[str | None, optional(check_public_url)] = Field(
        default=None,
        description=_MASK,
        max_length=URL_LENGTH_MAX,
        json_schema_extra=PUBLIC_URL_SCHEMA,
    )

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse more images than Kie accepts, and a mask that Kie would silently ignore."""
        given = fields.get("image_urls")
        count = len(given) if isinstance(given, list | tuple) else 0
        faults = find_image_count_fault(fields, IMAGES_MAX)
        if fields.get("mask_url") is not None and count > 1:
            message = f"works with exactly one image, but image_urls has {count}"
            faults.append(Fault("mask_url", message))
        return faults

    def kie_fields(self) -> dict[str, Any]:
        """Return Kie's fields for this request."""
        options = {"filesUrl": list(self.image_urls), **super().kie_fields()}
        given = {"prompt": self.prompt, "maskUrl": self.mask_url}
        return options | {name: value for name, value in given.items() if value is not None}


class _Gpt4oImage:
    """See `shared.catalog.ModelFamily`."""

    name = _Gpt4oRequest.model
    tasks: Mapping[str, type[ImageRequest]] = MappingProxyType(
        {TextToImage.task: TextToImage, ImageToImage.task: ImageToImage}
    )
    price_keys = frozenset((task, quantity, "") for task in tasks for quantity in QUANTITIES)
    kie_models: tuple[KieModel, ...] = ()
    carries: Mapping[str, CarryRequest] = MappingProxyType({})

    def validate(self, task: object, fields: object) -> ImageRequest:
        return validate_task(self.tasks, task, fields)

    def build_submit(self, request: ImageRequest, *, callback_url: str | None) -> KieRequest:
        if not isinstance(request, _Gpt4oRequest):
            raise TypeError(f"{self.name} cannot submit a {type(request).__name__}")
        body = request.kie_fields()
        if callback_url is not None:
            body["callBackUrl"] = callback_url
        return KieRequest("POST", "/api/v1/gpt4o-image/generate", body=body)

    def build_poll(self, task_id: str) -> KieRequest:
        return KieRequest("GET", "/api/v1/gpt4o-image/record-info", {"taskId": task_id})

    def build_download_link(self, task_id: str, url: str) -> KieRequest:
        body = {"taskId": task_id, "url": url}
        return KieRequest("POST", "/api/v1/gpt4o-image/download-url", body=body)

    def read_submit(self, response: KieResponse) -> SubmitOutcome:
        return read_submit(response)

    def read_poll(self, response: KieResponse) -> PollOutcome:
        return read_poll(response, read_task_record)

    def read_callback_url(self, response: KieResponse) -> str | None:
        return read_callback_url(parse_envelope(response).data)


FAMILY: ModelFamily = _Gpt4oImage()
