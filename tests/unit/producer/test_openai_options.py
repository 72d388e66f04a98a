"""OpenAI's fields become fields of our families, and nothing that is asked for is ignored."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from openai.types.image_edit_params import ImageEditParamsBase
from openai.types.image_generate_params import ImageGenerateParamsBase
from openai.types.image_model import ImageModel

from producer.api.openai_api.image_options import OPTION_FIELDS, ImageOptions, read_options
from producer.api.openai_api.model_names import ModelNotFound, list_models
from shared.catalog import list_families
from shared.errors import InvalidRequest

NOT_OFFERED = {"gpt-image-2.6-sunburst", "gpt-image-2.6-flare"}
"""Models of OpenAI that Kie does not have."""


def read(model: str | None = None, **fields: Any) -> ImageOptions:
    named = {} if model is None else {"model": model}
    return read_options({"prompt": "a cat", **named, **fields}, "text-to-image", {})


def refused(model: str | None = None, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refusal:
        read(model, **fields)
    return {fault.field: fault.message for fault in refusal.value.faults}


def test_every_model_that_the_sdk_knows_is_offered_or_refused_by_decision() -> None:
    assert set(get_args(ImageModel)) - NOT_OFFERED <= list_models().keys()
    for name in NOT_OFFERED:
        with pytest.raises(ModelNotFound, match="'gpt-image-1'"):
            read(name)


def test_every_field_that_the_sdk_sends_is_known() -> None:
    sent = {*ImageGenerateParamsBase.__annotations__, *ImageEditParamsBase.__annotations__}
    assert sent - {"image", "mask"} <= set(OPTION_FIELDS)


@pytest.mark.parametrize("family", sorted(list_families()))
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": None, "size": None, "quality": None, "stream": None},
        {"quality": "auto", "background": "auto", "output_format": "png", "moderation": "auto"},
        {"quality": "standard", "style": "vivid", "size": "1024x1024", "n": 1},
        {"stream": False, "partial_images": 0, "output_compression": 100, "size": "auto"},
    ],
)
def test_what_means_the_default_is_accepted_for_every_family(
    family: str, fields: dict[str, Any]
) -> None:
    options = read(family, **fields)
    assert (options.request.model, options.jobs) == (family, 1)


@pytest.mark.parametrize(
    ("model", "fields", "expected", "jobs"),
    [
        (None, {"size": "256x256", "n": 4}, {"aspect_ratio": "1:1", "quantity": 4}, 1),
        ("dall-e-3", {"size": "1536x1024"}, {"aspect_ratio": "3:2", "quantity": 1}, 1),
        ("gpt-image-1", {"size": "1024x1536", "n": 2}, {"aspect_ratio": "2:3", "quantity": 2}, 1),
        ("4o-image-api", {"n": 10}, {"aspect_ratio": "1:1"}, 10),
        ("gpt-image-2", {}, {"aspect_ratio": "auto", "resolution": "1K"}, 1),
        ("gpt-image-2", {"size": "1792x1024"}, {"aspect_ratio": "16:9", "resolution": "1K"}, 1),
        ("gpt-image-2", {"size": "2048x2048"}, {"aspect_ratio": "1:1", "resolution": "2K"}, 1),
        ("gpt-image-2", {"size": "3840x2160"}, {"aspect_ratio": "16:9", "resolution": "4K"}, 1),
        ("gpt-image-2", {"background": "transparent", "n": 3}, {"background": "transparent"}, 3),
        ("gpt-image-2.5-flare", {}, {"edition": "flare"}, 1),
        ("chatgpt-image-latest", {"size": "1024x1536"}, {"edition": "sunburst"}, 1),
        ("gpt-image-1.5", {"quality": "high"}, {"quality": "high", "aspect_ratio": "1:1"}, 1),
        ("gpt-image-1.5", {"quality": "hd"}, {"quality": "high"}, 1),
        ("gpt-image-1.5", {"quality": "auto"}, {"quality": "medium"}, 1),
    ],
)
def test_fields_are_translated_by_what_the_family_has(
    model: str | None, fields: dict[str, Any], expected: dict[str, Any], jobs: int
) -> None:
    options = read(model, **fields)
    assert options.request.model_dump().items() >= expected.items()
    assert options.jobs == jobs


@pytest.mark.parametrize(
    ("model", "field", "value", "sentence"),
    [
        ("gpt-image-1", "n", 3, "gpt-4o-image makes 1, 2, 4 images"),
        ("gpt-image-1", "n", 11, "allowed: 1 to 10"),
        ("gpt-image-1", "n", True, "allowed: 1 to 10"),
        ("gpt-image-1", "n", "2", "allowed: 1 to 10"),
        ("gpt-image-1", "size", "1792x1024", "1024x1024, 1536x1024, 1024x1536, and auto"),
        ("gpt-image-1", "size", [1024, 1024], "a list of 2"),
        ("gpt-image-1", "size", "٣x٣", "allowed are sizes"),
        ("gpt-image-2", "size", "2880x2880", "4K"),
        ("gpt-image-2", "size", "9000x9000", "largest resolution"),
        ("gpt-image-1", "quality", "high", "Kie's 4o image API has no quality option"),
        ("gpt-image-1.5", "quality", "low", "allowed: medium, high"),
        ("gpt-image-1.5", "background", "opaque", "accepted: 'auto'"),
        ("gpt-image-1", "output_format", "webp", "accepted: 'png'"),
        ("gpt-image-2", "background", "green", "allowed"),
        ("gpt-image-1", "style", "natural", "describe the style in the prompt"),
        ("gpt-image-1", "moderation", "low", "accepted: 'auto'"),
        ("gpt-image-1", "stream", True, "accepted: false"),
        ("gpt-image-1", "stream", 0, "accepted: false"),
        ("gpt-image-1", "partial_images", 2, "accepted: 0"),
        ("gpt-image-1", "output_compression", 50, "accepted: 100"),
        ("gpt-image-1", "complexity", "low", "leave it out"),
        ("gpt-image-1", "svg", {"model": "x"}, "leave it out"),
        ("gpt-image-1", "seed", 1, "is not a field here"),
        ("gpt-image-1", "response_format", "png", "allowed: url, b64_json"),
        ("gpt-image-1", "user", ["u"], "text"),
        ("gpt-image-1", "user", "u\0", "NUL"),
        ("gpt-image-1", "prompt", 7, "must be text"),
    ],
)
def test_what_cannot_be_done_is_refused_under_the_name_of_the_caller(
    model: str, field: str, value: Any, sentence: str
) -> None:
    faults = refused(model, **{field: value})
    assert faults.keys() == {field}, faults
    assert sentence in faults[field], faults


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest, match="name of a model"):
        read_options({"model": 7}, "text-to-image", {})
    assert refused("gpt-image-1", n=3, size="1x1", quality="high", prompt=" ").keys() == {
        *("n", "size", "quality", "prompt"),
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "dall-e-2"}, "url"),
        ({"model": "dall-e-3", "response_format": "b64_json"}, "b64_json"),
        ({"model": "gpt-image-2"}, "b64_json"),
        ({"model": "gpt-image-1", "response_format": "url"}, "url"),
        ({}, "b64_json"),
    ],
)
def test_the_format_of_the_answer_is_that_of_openai_for_the_model_that_was_named(
    fields: dict[str, Any], expected: str
) -> None:
    assert read(**fields).response_format == expected


def test_the_safety_identifier_takes_precedence_over_the_user() -> None:
    assert read(user="u", safety_identifier="s").user == "s"
    assert read(user="u", safety_identifier="").user == "u"
