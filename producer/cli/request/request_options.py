"""The options of `darkroom enqueue` that describe the image, generated from the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import orjson
import typer

from producer.orders.field_limits import DEFAULT_MODEL

FIELD_OPTIONS = {
    "prompt": "--prompt",
    "aspect_ratio": "--aspect-ratio",
    "quantity": "--quantity",
    "image_urls": "--image",
    "mask_url": "--mask",
    "enhance_prompt": "--enhance-prompt",
    "fallback_model": "--fallback-model",
}
"""The fields that have an option of their own."""
_ASPECT_RATIO = "1:1"


def values_of_default(field: str) -> str:
    """Return the values of a field of the default model, as the metavar of its option."""
    from shared.catalog import get_family

    model = next(iter(get_family(DEFAULT_MODEL).tasks.values()))
    annotation = model.model_fields[field].annotation
    choices = [one for one in (annotation, *get_args(annotation)) if get_origin(one) is Literal]
    return "|".join(str(value) for value in get_args(choices[0]))


def list_models() -> str:
    """Return the names of all models, for a help text."""
    from shared.catalog import list_families

    return ", ".join(sorted(list_families()))


def list_other_fields() -> str:
    """Return the fields without an option of their own, for a help text."""
    from shared.catalog import list_families

    models = [model for one in list_families().values() for model in one.tasks.values()]
    return ", ".join(
        sorted({name for model in models for name in model.model_fields} - {*FIELD_OPTIONS})
    )


def check_fields(given: Sequence[str] | None) -> list[str]:
    """Return the values of `--field` unchanged, or raise a usage error."""
    named = set()
    for text in given or ():
        name, equals, _ = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
        if name in FIELD_OPTIONS:
            raise typer.BadParameter(f"{name} has an option of its own: {FIELD_OPTIONS[name]}")
        if name in named:
            raise typer.BadParameter(f"{name} is given twice")
        named.add(name)
    return [*(given or ())]


def request_fields(
    model: str, options: Mapping[str, Any], given: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Return the task and the fields of the request. Options that are None were not given.

    Images or a mask make it image-to-image. Where the model requires an aspect ratio, it is 1:1
    unless given. A value of `--field` is JSON, or else text.
    """
    from shared.catalog import get_family

    fields = {name: value for name, value in options.items() if value is not None}
    task = "image-to-image" if {"image_urls", "mask_url"} & fields.keys() else "text-to-image"
    request = get_family(model).tasks.get(task)
    ratio = request.model_fields.get("aspect_ratio") if request is not None else None
    if ratio is not None and ratio.is_required():
        fields.setdefault("aspect_ratio", _ASPECT_RATIO)
    for text in given:
        name, _, value = text.partition("=")
        fields[name] = _parse_value(value)
    return task, fields


def _parse_value(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
