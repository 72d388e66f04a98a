"""A model family of Kie's Market: one submit and one poll for every model.

The models differ in `input` alone. A family is its request models, which build `input`, and Kie's
documentation of its models as data. Each task makes one image.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from shared.catalog.kie_response_codes import parse_envelope, read_poll, read_submit
from shared.catalog.kie_task_record import read_callback_url, read_task_record
from shared.catalog.model_family import (
    CarryRequest,
    ImageRequest,
    KieModel,
    KieRequest,
    KieResponse,
    validate_task,
)
from shared.catalog.request_fields import OneImage, one_image_sentence
from shared.domain.kie_outcomes import PollOutcome, SubmitOutcome

_NO_OPTION = "is refused: {label} has no {option}; leave it out"
_OPTIONS = {
    **dict.fromkeys(("mask_url", "mask", "maskUrl"), "mask"),
    "negative_prompt": "negative prompt",
    "output_format": "output format",
    "quality": "quality",
    "resolution": "resolution",
    "background": "background",
    "seed": "seed",
    "style": "style",
    "enhance_prompt": "refining of the prompt by Kie",
    "fallback_model": "fallback model",
    "upload_cn": "upload through China",
}
"""What other tools and other families have, with the word for it."""
_COUNTS = ("n", "nVariants", "num_images", "max_images")


def refuse_options(label: str, **sentences: str) -> Mapping[str, str]:
    """Return the sentences for fields that callers expect but the model of that name lacks.

    `sentences` replaces or adds some. A field that a request model has is not refused by this.
    """
    options = {name: _NO_OPTION.format(label=label, option=one) for name, one in _OPTIONS.items()}
    counts = dict.fromkeys(_COUNTS, f"is refused: {one_image_sentence()}")
    return MappingProxyType({**options, **counts, **sentences})


def uri_list_schema(maximum: int) -> Mapping[str, Any]:
    """Return Kie's schema of a field with 1 to `maximum` image URLs."""
    items = {"type": "string", "format": "uri"}
    return {"type": "array", "items": items, "minItems": 1, "maxItems": maximum}


class MarketRequest(ImageRequest):
    """The base class of requests to the Market."""

    quantity: OneImage = 1

    @property
    def price_quantity(self) -> int:
        """The number of requested images, which is 1."""
        return self.quantity

    @property
    @abstractmethod
    def kie_model(self) -> str:
        """Kie's name of the model that makes the image."""

    @abstractmethod
    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit. Fields that the caller left out are omitted."""


class MarketFamily:
    """See `shared.catalog.ModelFamily`."""

    def __init__(
        self,
        requests: Sequence[type[MarketRequest]],
        kie_models: Sequence[KieModel],
        carries: Mapping[str, CarryRequest] = MappingProxyType({}),
    ) -> None:
        """`requests` has one request model per task, all of the same `model`."""
        self.name = requests[0].model
        self.tasks: Mapping[str, type[ImageRequest]] = MappingProxyType(
            {one.task: one for one in requests}
        )
        self.kie_models = tuple(kie_models)
        variants = {variant for kie_model in kie_models for variant in kie_model.credits}
        self.price_keys = frozenset(
            (task, 1, variant) for task in self.tasks for variant in variants
        )
        self.carries: Mapping[str, CarryRequest] = MappingProxyType(dict(carries))

    def validate(self, task: object, fields: object) -> ImageRequest:
        return validate_task(self.tasks, task, fields)

    def build_submit(self, request: ImageRequest, *, callback_url: str | None) -> KieRequest:
        if not isinstance(request, MarketRequest) or request.model != self.name:
            raise TypeError(f"{self.name} cannot submit a {type(request).__name__}")
        body: dict[str, Any] = {"model": request.kie_model, "input": request.kie_input()}
        if callback_url is not None:
            body["callBackUrl"] = callback_url
        return KieRequest("POST", "/api/v1/jobs/createTask", body=body)

    def build_poll(self, task_id: str) -> KieRequest:
        return KieRequest("GET", "/api/v1/jobs/recordInfo", {"taskId": task_id})

    def build_download_link(self, task_id: str, url: str) -> KieRequest:
        del task_id
        return KieRequest("POST", "/api/v1/common/download-url", body={"url": url})

    def read_submit(self, response: KieResponse) -> SubmitOutcome:
        return read_submit(response)

    def read_poll(self, response: KieResponse) -> PollOutcome:
        return read_poll(response, read_task_record)

    def read_callback_url(self, response: KieResponse) -> str | None:
        return read_callback_url(parse_envelope(response).data)
