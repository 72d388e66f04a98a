"""The fields of requests to the Market's GPT image models, and the refusals of all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.catalog import get_family
from shared.errors import InvalidRequest

CAT = "https://example.com/cat.png"
LEAST: Mapping[str, Mapping[str, Any]] = {
    "gpt-image-2": {"prompt": "a lighthouse"},
    "gpt-image-2-5": {"prompt": "a lighthouse"},
    "gpt-image-1.5": {"prompt": "a lighthouse", "aspect_ratio": "3:2", "quality": "medium"},
}
each_model = pytest.mark.parametrize("model", LEAST)


def faults(model: str, task: str = "text-to-image", **fields: Any) -> dict[str, str]:
    images = {"image_urls": [CAT]} if task == "image-to-image" else {}
    with pytest.raises(InvalidRequest) as refusal:
        get_family(model).validate(task, {**LEAST[model], **images, **fields})
    return {fault.field: fault.message for fault in refusal.value.faults}


def submitted(model: str, task: str = "text-to-image", **fields: Any) -> dict[str, Any]:
    images = {"image_urls": [CAT]} if task == "image-to-image" else {}
    family = get_family(model)
    request = family.validate(task, {**LEAST[model], **images, **fields})
    body = family.build_submit(request, callback_url=None).body
    assert body is not None
    return dict(body)


@each_model
def test_resolution_or_quality_is_always_sent_because_kie_bills_its_default(model: str) -> None:
    decides = "quality" if model == "gpt-image-1.5" else "resolution"
    assert decides in submitted(model)["input"]
    assert "aspect_ratio" in submitted(model)["input"]


@each_model
def test_input_images_are_sent_by_kies_name(model: str) -> None:
    assert submitted(model, "image-to-image")["input"]["input_urls"] == [CAT]


@pytest.mark.parametrize(
    ("model", "fields", "kie_model"),
    [
        ("gpt-image-2", {}, "gpt-image-2-text-to-image"),
        ("gpt-image-1.5", {}, "gpt-image/1.5-text-to-image"),
        ("gpt-image-2-5", {}, "gpt-image-2-5-flare-text-to-image"),
        ("gpt-image-2-5", {"edition": "sunburst"}, "gpt-image-2-5-sunburst-text-to-image"),
    ],
)
def test_a_request_goes_to_the_model_of_kie(
    model: str, fields: dict[str, Any], kie_model: str
) -> None:
    assert submitted(model, **fields)["model"] == kie_model


@pytest.mark.parametrize(
    ("model", "fields", "variant"),
    [
        ("gpt-image-2", {}, "1K"),
        ("gpt-image-2", {"resolution": "4K", "aspect_ratio": "16:9"}, "4K"),
        ("gpt-image-2-5", {"resolution": "2K"}, "2K"),
        ("gpt-image-1.5", {"quality": "high"}, "high"),
    ],
)
def test_the_variant_is_what_moves_the_price(
    model: str, fields: dict[str, Any], variant: str
) -> None:
    request = get_family(model).validate("text-to-image", {**LEAST[model], **fields})
    assert (request.price_quantity, request.price_variant) == (1, variant)


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (
            "gpt-image-2",
            {"resolution": "4K", "aspect_ratio": "1:1"},
            "is '1:1', which Kie does not",
        ),
        ("gpt-image-2", {"resolution": "2K", "aspect_ratio": "9:21"}, "is '9:21', which Kie does"),
        ("gpt-image-2", {"resolution": "2K", "aspect_ratio": "auto"}, "is 'auto', which Kie does"),
        ("gpt-image-2", {"resolution": "2K"}, "is 'auto', because it was left out, which Kie"),
        ("gpt-image-2-5", {"resolution": "2K", "aspect_ratio": "8:9"}, "is '8:9', which Kie does"),
    ],
)
def test_a_ratio_that_kie_does_not_make_at_the_resolution_is_refused_with_those_it_makes(
    model: str, fields: dict[str, Any], message: str
) -> None:
    [(field, said)] = faults(model, **fields).items()
    assert field == "aspect_ratio"
    assert said.startswith(message)
    allowed = said.partition("; allowed: ")[2].split(", ")
    assert "16:9" in allowed
    assert fields.get("aspect_ratio", "auto") not in allowed


@pytest.mark.parametrize("resolution", ["2K", "4K"])
def test_a_background_above_1k_is_refused_where_kie_makes_none(resolution: str) -> None:
    fields: dict[str, Any] = {"aspect_ratio": "16:9", "background": "transparent"}
    fields["resolution"] = resolution
    said = faults("gpt-image-2", **fields)
    assert said == {
        "background": f"is 'transparent', which Kie does not make in {resolution};"
        " leave it out, or use 1K"
    }
    assert submitted("gpt-image-2-5", **fields)["input"]["background"] == "transparent"


@pytest.mark.parametrize(
    ("model", "name", "value", "allowed"),
    [
        ("gpt-image-2", "resolution", "8K", "1K, 2K, 4K"),
        ("gpt-image-2-5", "resolution", "1k", "1K, 2K, 4K"),
        ("gpt-image-2", "background", "white", "transparent, opaque, auto, or leave it out"),
        ("gpt-image-2-5", "edition", "max", "flare, sunburst"),
        ("gpt-image-1.5", "quality", "low", "medium, high"),
        ("gpt-image-1.5", "aspect_ratio", "auto", "1:1, 2:3, 3:2"),
    ],
)
def test_another_value_is_refused_naming_the_allowed(
    model: str, name: str, value: Any, allowed: str
) -> None:
    assert faults(model, **{name: value}) == {name: f"is {value!r}; allowed: {allowed}"}


@each_model
@pytest.mark.parametrize("name", ["seed", "style", "mask_url", "output_format", "negative_prompt"])
def test_options_that_the_model_lacks_get_their_own_sentence(model: str, name: str) -> None:
    words = name.replace("_url", "").replace("_", " ")
    expected = f"is refused: the model {model} has no {words}; leave it out"
    given: dict[str, Any] = {name: 1}
    assert faults(model, **given) == {name: expected}


@each_model
def test_two_images_are_told_to_be_two_jobs(model: str) -> None:
    assert "place 2 jobs of quantity 1" in faults(model, quantity=2)["quantity"]
    assert "place one job per image" in faults(model, n=2)["n"]


@each_model
def test_seventeen_images_are_refused(model: str) -> None:
    said = faults(model, "image-to-image", image_urls=[CAT] * 17)
    assert said == {"image_urls": "has 17 URLs; give 1 to 16 public http:// or https:// image URLs"}


def test_quality_is_not_guessed_because_it_decides_the_price() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        get_family("gpt-image-1.5").validate(
            "text-to-image", {"prompt": "x", "aspect_ratio": "1:1"}
        )
    [fault] = refusal.value.faults
    assert (fault.field, fault.message) == (
        "quality",
        "is required: one of medium, high; it decides the price",
    )
