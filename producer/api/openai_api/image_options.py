"""Reads the fields of OpenAI's image requests, and translates them for a family.

A value that stands for OpenAI's own default is accepted for every family, because programs and
examples send it. Another value is used if the family has such a field, and refused otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic.fields import FieldInfo

from producer.api.openai_api.image_sizes import (
    AUTO,
    find_nearest_ratio,
    find_ratio,
    find_resolution,
    parse_size,
    size_fault,
)
from producer.api.openai_api.model_names import NamedModel, find_model
from shared.catalog import ImageRequest
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_field_name, format_value

ResponseFormat = Literal["url", "b64_json"]
IMAGES_MAX = 10
"""OpenAI's limit for `n`."""
USER_LENGTH = 512
_FAMILY_FIELDS = ("quality", "background", "output_format")
"""Fields that a family may have under the same name."""
_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "quality": ("auto", "standard"),
    "background": ("auto",),
    "output_format": ("png",),
    "style": ("vivid",),
    "moderation": ("auto",),
    "input_fidelity": ("low",),
    "output_compression": (100,),
    "stream": (False,),
    "partial_images": (0,),
}
"""The values of each field that mean the same as leaving it out."""
_SENTENCES: Mapping[str, str] = {
    "style": "is refused: {} has no style option; describe the style in the prompt",
    "moderation": "is refused: Kie moderates by its own rules; leave it out",
    "stream": "is refused: images come whole; leave it out, or follow GET /v1/jobs/<id>/events",
    "partial_images": "is refused: images come whole; leave it out",
}
_OTHER_FIELDS = ("complexity", "frame_count", "frame_duration_ms", "svg", "markup")
"""Fields of OpenAI's newest models."""
_OWN_FIELDS = ("model", "prompt", "n", "size", "response_format", "user", "safety_identifier")
OPTION_FIELDS = (*_OWN_FIELDS, *_DEFAULTS, *_OTHER_FIELDS)
_OPENAI_NAMES = {
    "aspect_ratio": "size",
    "resolution": "size",
    "quantity": "n",
    "image_urls": "image",
    "mask_url": "mask",
    "metadata": "user",
}
"""Our fields, each with the field of OpenAI from which it comes."""


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What a request for images asks for, translated for the family of its model."""

    model: NamedModel
    request: ImageRequest
    """The request of each job."""
    jobs: int
    """How many jobs the request is. Each is of `request`."""
    response_format: ResponseFormat
    user: str | None
    """Who the end user is, in the words of the caller."""


def read_options(
    given: Mapping[str, Any],
    task: str,
    images: Mapping[str, Any],
    *,
    first_image: tuple[int, int] | None = None,
) -> ImageOptions:
    """Return the options of a request. A field that is null counts as left out.

    `images` are fields of the family's request that are not options: `image_urls`, `mask_url`.
    `first_image` is the size of the first image, whose shape `size: auto` takes. Raises
    `ModelNotFound`, and `InvalidRequest` with every fault under the names of OpenAI.
    """
    options = {name: value for name, value in given.items() if value is not None}
    model = find_model(_read_model(options.get("model")))
    request_type = model.family.tasks.get(task)
    if request_type is None:
        raise InvalidRequest([Fault("model", f"{model.family.name} cannot do {task}")])
    translation = _Translation(model, request_type, options)
    fields = {**model.fields, **translation.fields(first_image), **images}
    if "prompt" in options:
        fields["prompt"] = options["prompt"]
    jobs = translation.split_quantity(fields)
    response_format = translation.read_response_format()
    user = translation.read_user()
    faults = translation.faults
    try:
        request = model.family.validate(task, fields)
    except InvalidRequest as refused:
        renamed = rename_faults(refused.faults)
        known = {fault.field for fault in faults}
        raise InvalidRequest([*faults, *(one for one in renamed if one.field not in known)]) from (
            refused
        )
    if faults:
        raise InvalidRequest(faults)
    return ImageOptions(model, request, jobs, response_format, user)


def _read_model(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest([Fault("model", f"{format_value(value)} must be the name of a model")])


def rename_faults(faults: Sequence[Fault]) -> list[Fault]:
    """Return the faults of an order under the names of OpenAI."""
    renamed = []
    for fault in faults:
        first, dot, rest = fault.field.partition(".")
        renamed.append(Fault(f"{_OPENAI_NAMES.get(first, first)}{dot}{rest}", fault.message))
    return renamed


def choices_of(info: FieldInfo | None) -> tuple[Any, ...]:
    """Return the values of a field that is one of several, or an empty tuple."""
    return tuple(_literals(info.annotation)) if info is not None else ()


def _literals(annotation: object) -> Iterator[Any]:
    for one in get_args(annotation):
        if isinstance(one, str | int):
            yield one
        else:
            yield from _literals(one)


class _Translation:
    """Translates the options of one request, and collects their faults."""

    def __init__(
        self, model: NamedModel, request_type: type[ImageRequest], options: Mapping[str, Any]
    ) -> None:
        self._model, self._type, self._options = model, request_type, options
        self._family = model.family.name
        self.faults = [
            Fault(format_field_name(name), f"is not a field here; allowed: {_join(OPTION_FIELDS)}")
            for name in options
            if name not in OPTION_FIELDS
        ]

    def fields(self, first_image: tuple[int, int] | None) -> dict[str, Any]:
        """Return the fields of the family for the size and for the other options."""
        for name in (*_DEFAULTS, *_OTHER_FIELDS):
            if name in self._options and name not in self._family_fields():
                self._refuse_unless_default(name, self._options[name])
        return {**self._size_fields(first_image), **self._same_named_fields()}

    def _family_fields(self) -> Sequence[str]:
        return [name for name in _FAMILY_FIELDS if name in self._type.model_fields]

    def _refuse_unless_default(self, name: str, value: object) -> None:
        defaults = _DEFAULTS.get(name, ())
        # 1 equals True, and 0 equals False.
        if any(type(one) is type(value) and one == value for one in defaults):
            return
        sentence = self._type.unsupported_fields.get(name) or _SENTENCES.get(
            name, "is refused: {} has no such option; leave it out"
        )
        accepted = f" (accepted: {_join(map(format_value, defaults))})" if defaults else ""
        self.faults.append(Fault(name, sentence.format(self._family) + accepted))

    def _same_named_fields(self) -> dict[str, Any]:
        """Return the options that the family has under the same name."""
        fields: dict[str, Any] = {}
        for name in self._family_fields():
            info, value = self._type.model_fields[name], self._options.get(name)
            choices = choices_of(info)
            if value == "hd" and "high" in choices:
                value = "high"
            is_default = value is None or (value in _DEFAULTS[name] and value not in choices)
            if not is_default:
                fields[name] = value
            elif info.is_required():
                fields[name] = choices[0]
        return fields

    def _size_fields(self, first_image: tuple[int, int] | None) -> dict[str, Any]:
        size = self._options.get("size", AUTO)
        info = self._type.model_fields.get("aspect_ratio")
        ratios = choices_of(info)
        if size == AUTO:
            return self._automatic_size(info, ratios, first_image)
        pixels = parse_size(size)
        ratio = find_ratio(*pixels, ratios) if pixels else None
        if pixels is None or ratio is None:
            self.faults.append(size_fault(size, self._family, ratios))
            return {"aspect_ratio": ratios[0]} if ratios else {}
        resolutions = choices_of(self._type.model_fields.get("resolution"))
        if not resolutions:
            return {"aspect_ratio": ratio}
        resolution = find_resolution(*pixels, resolutions)
        if resolution is None:
            self.faults.append(
                Fault("size", f"is {size}; the largest resolution is {resolutions[-1]}")
            )
        return {"aspect_ratio": ratio, "resolution": resolution or resolutions[-1]}

    def _automatic_size(
        self, info: FieldInfo | None, ratios: Sequence[str], first_image: tuple[int, int] | None
    ) -> dict[str, Any]:
        """Return the ratio for `auto`: the model's choice, else that of the image, else square."""
        if info is None:
            return {}
        if AUTO in ratios:
            return {"aspect_ratio": AUTO}
        nearest = find_nearest_ratio(*first_image, ratios) if first_image else None
        square = "1:1" if "1:1" in ratios else ratios[0]
        return {"aspect_ratio": nearest or square}

    def split_quantity(self, fields: dict[str, Any]) -> int:
        """Add the quantity of each job to the fields, and return the number of jobs."""
        n = self._options.get("n", 1)
        quantities = choices_of(self._type.model_fields.get("quantity"))
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= IMAGES_MAX:
            self.faults.append(Fault("n", f"is {format_value(n)}; allowed: 1 to {IMAGES_MAX}"))
            return 1
        if n in quantities:
            fields["quantity"] = n
            return 1
        if max(quantities, default=1) == 1:
            return n
        self.faults.append(
            Fault("n", f"is {n}; {self._family} makes {_join(map(str, quantities))} images at once")
        )
        return 1

    def read_response_format(self) -> ResponseFormat:
        """Return the format of the answer. The default is OpenAI's for the name of the model."""
        value = self._options.get("response_format")
        if value is None:
            return "url" if self._model.answers_with_url else "b64_json"
        if value not in get_args(ResponseFormat):
            self.faults.append(
                Fault("response_format", f"is {format_value(value)}; allowed: url, b64_json")
            )
        return "url" if value == "url" else "b64_json"

    def read_user(self) -> str | None:
        """Return the end user: `safety_identifier`, or else `user`, as OpenAI does."""
        for name in ("safety_identifier", "user"):
            value = self._options.get(name)
            is_text = isinstance(value, str) and len(value) <= USER_LENGTH and "\0" not in value
            if value is not None and not is_text:
                sentence = f"must be text of at most {USER_LENGTH} characters, without NUL"
                self.faults.append(Fault(name, sentence))
        given = self._options.get("safety_identifier") or self._options.get("user")
        return given if isinstance(given, str) and given else None


def _join(names: Any) -> str:
    return ", ".join(names)
