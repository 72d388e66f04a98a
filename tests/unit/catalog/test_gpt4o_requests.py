"""The fields of a request to `gpt-4o-image`, and the sentences that refuse all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.catalog import get_family
from shared.catalog.families.gpt4o_image import FAMILY, ImageToImage, TextToImage
from shared.catalog.request_fields import PROMPT_LENGTH_MAX
from shared.errors import InvalidRequest

CAT = "https://example.com/cat.png"
TEXT: Mapping[str, Any] = {"prompt": "a lighthouse", "aspect_ratio": "3:2"}
IMAGE: Mapping[str, Any] = {"image_urls": [CAT], "aspect_ratio": "1:1"}


def faults(task: str, fields: Mapping[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refusal:
        FAMILY.validate(task, fields)
    return {fault.field: fault.message for fault in refusal.value.faults}


def text_faults(**fields: Any) -> dict[str, str]:
    return faults("text-to-image", {**TEXT, **fields})


def image_faults(**fields: Any) -> dict[str, str]:
    return faults("image-to-image", {**IMAGE, **fields})


def test_the_least_text_to_image_request_gets_the_defaults() -> None:
    request = TextToImage(prompt="a lighthouse", aspect_ratio="3:2")
    assert request.model_dump(mode="json") == {
        "prompt": "a lighthouse",
        "aspect_ratio": "3:2",
        "quantity": 1,
        "enhance_prompt": False,
        "fallback_model": None,
        "upload_cn": False,
    }
    assert request.price_quantity == 1
    assert (request.model, request.task) == ("gpt-4o-image", "text-to-image")


def test_the_least_image_to_image_request_needs_no_prompt() -> None:
    request = ImageToImage(image_urls=[CAT], aspect_ratio="1:1")
    assert request.image_urls == (CAT,)
    assert (request.prompt, request.mask_url) == (None, None)
    assert request.task == "image-to-image"


def test_the_catalog_knows_the_family_by_name() -> None:
    assert get_family("gpt-4o-image") is FAMILY
    with pytest.raises(InvalidRequest, match=r"allowed: .*'gpt-4o-image'"):
        get_family("gpt-9")


@pytest.mark.parametrize("aspect_ratio", ["1:1", "3:2", "2:3"])
def test_each_of_kies_aspect_ratios_is_taken(aspect_ratio: str) -> None:
    request = FAMILY.validate("text-to-image", {**TEXT, "aspect_ratio": aspect_ratio})
    body = FAMILY.build_submit(request, callback_url=None).body
    assert body is not None
    assert body["size"] == aspect_ratio


@pytest.mark.parametrize("aspect_ratio", ["16:9", "1:1 ", "", "1024x1024", None, 1, ["1:1"], True])
def test_any_other_aspect_ratio_is_refused_naming_the_three(aspect_ratio: object) -> None:
    assert text_faults(aspect_ratio=aspect_ratio)["aspect_ratio"].endswith("allowed: 1:1, 3:2, 2:3")


@pytest.mark.parametrize("quantity", [1, 2, 4])
def test_each_quantity_is_taken_and_priced_as_such(quantity: int) -> None:
    request = FAMILY.validate("image-to-image", {**IMAGE, "quantity": quantity})
    assert request.price_quantity == quantity
    body = FAMILY.build_submit(request, callback_url=None).body
    assert body is not None
    assert body.get("nVariants", 1) == quantity
    assert ("nVariants" in body) is (quantity != 1)


@pytest.mark.parametrize("quantity", [0, 3, 5, -1, True, False, "2", 2.0, None, [1], {}])
def test_any_other_quantity_is_refused_naming_the_three(quantity: object) -> None:
    assert text_faults(quantity=quantity)["quantity"].endswith("allowed: the numbers 1, 2 and 4")


def test_a_quantity_too_long_to_print_is_refused() -> None:
    assert text_faults(quantity=10**5000)["quantity"].startswith("is a very long number")


@pytest.mark.parametrize("name", ["output_format", "quality", "style"])
@pytest.mark.parametrize("task", ["text-to-image", "image-to-image"])
def test_options_that_kies_4o_api_lacks_get_their_own_sentence(task: str, name: str) -> None:
    fields = TEXT if task == "text-to-image" else IMAGE
    message = faults(task, {**fields, name: None})[name]
    assert f"Kie's 4o image API has no {name.replace('_', ' ')} option" in message


@pytest.mark.parametrize("name", ["image_urls", "mask_url"])
def test_images_on_text_to_image_are_sent_to_the_other_task(name: str) -> None:
    assert "use the task image-to-image" in text_faults(**{name: [CAT]})[name]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("size", "aspect_ratio"),
        ("nVariants", "quantity"),
        ("promt", "prompt"),
        ("uploadCn", "upload_cn"),
    ],
)
def test_an_unknown_field_is_refused_with_a_guess_and_the_allowed_ones(
    given: str, meant: str
) -> None:
    message = text_faults(**{given: 1})[given]
    assert f"did you mean {meant!r}?" in message
    assert "allowed: " in message
    assert "prompt" in message


def test_an_unknown_field_that_resembles_nothing_gets_no_guess() -> None:
    message = text_faults(zzz=1)["zzz"]
    assert message.startswith("is not a field of text-to-image; allowed: ")


@pytest.mark.parametrize("prompt", ["", " \n\t", None, 5, ["a"], "a\0b", "\ud800", "x" * 20_001])
def test_a_prompt_that_is_no_text_is_refused_on_text_to_image(prompt: object) -> None:
    assert set(text_faults(prompt=prompt)) == {"prompt"}


@pytest.mark.parametrize("prompt", ["", " ", 5, "a\0b", "\udfff", "x" * 20_001])
def test_a_prompt_that_is_no_text_is_refused_on_image_to_image(prompt: object) -> None:
    assert set(image_faults(prompt=prompt)) == {"prompt"}


@pytest.mark.parametrize("prompt", ["x", "x" * PROMPT_LENGTH_MAX, "海辺の灯台 🗼", "two\nlines"])
def test_any_text_up_to_the_limit_is_a_prompt(prompt: str) -> None:
    request = FAMILY.validate("text-to-image", {**TEXT, "prompt": prompt})
    body = FAMILY.build_submit(request, callback_url=None).body
    assert body is not None
    assert body["prompt"] == prompt


@pytest.mark.parametrize("name", ["enhance_prompt", "upload_cn"])
@pytest.mark.parametrize("value", ["true", 1, None, "yes"])
def test_a_switch_is_true_or_false_and_nothing_else(name: str, value: object) -> None:
    assert text_faults(**{name: value})[name].endswith("allowed: true and false")


@pytest.mark.parametrize("value", ["flux_max", "GPT-4", "", 1, True])
def test_another_fallback_model_is_refused_naming_the_two(value: object) -> None:
    assert "allowed: GPT_IMAGE_1, FLUX_MAX" in text_faults(fallback_model=value)["fallback_model"]


@pytest.mark.parametrize("given", [[], (), None, CAT, {"0": CAT}, 5])
def test_image_urls_that_are_no_list_of_urls_are_refused(given: object) -> None:
    assert set(image_faults(image_urls=given)) == {"image_urls"}


def test_five_images_are_taken_and_six_are_refused() -> None:
    request = ImageToImage(image_urls=[CAT] * 5, aspect_ratio="1:1")
    assert len(request.image_urls) == 5
    assert image_faults(image_urls=[CAT] * 6)["image_urls"].startswith("has 6 URLs; give 1 to 5")


def test_a_bad_url_is_named_by_its_place_in_the_list() -> None:
    found = image_faults(image_urls=[CAT, "http://10.0.0.1/a.png", CAT, 7])
    assert set(found) == {"image_urls.1", "image_urls.3"}
    assert "10.0.0.1, which is not public" in found["image_urls.1"]


def test_a_mask_goes_with_exactly_one_image() -> None:
    mask = "https://example.com/mask.png"
    assert ImageToImage(**IMAGE, mask_url=mask).mask_url == mask
    found = image_faults(mask_url=mask, image_urls=[CAT, CAT])
    assert found == {"mask_url": "works with exactly one image, but image_urls has 2"}
    assert "http" in image_faults(mask_url="ftp://example.com/mask.png")["mask_url"]


def test_all_faults_come_at_once() -> None:
    found = image_faults(
        prompt=" ",
        image_urls=[CAT, "http://localhost/", CAT, CAT, CAT, CAT],
        mask_url=CAT,
        aspect_ratio="16:9",
        quantity=3,
        enhance_prompt=1,
        fallback_model="X",
        upload_cn=0,
        style="vivid",
        seed=1,
    )
    assert set(found) == {
        *("prompt", "image_urls", "image_urls.1", "mask_url", "aspect_ratio", "quantity"),
        *("enhance_prompt", "fallback_model", "upload_cn", "style", "seed"),
    }


def test_missing_fields_are_named_with_what_they_take() -> None:
    found = faults("image-to-image", {})
    assert found == {
        "aspect_ratio": "is required: one of 1:1, 3:2, 2:3",
        "image_urls": "is required: 1 to 5 public http:// or https:// image URLs",
    }
    assert set(faults("text-to-image", {})) == {"aspect_ratio", "prompt"}


def test_no_message_speaks_of_the_validation_library() -> None:
    found = image_faults(prompt=1, image_urls=5, quantity="x", nope=1, aspect_ratio=[])
    for message in found.values():
        assert "Value error" not in message
        assert "Input should" not in message
        assert "Extra inputs" not in message


@pytest.mark.parametrize("model", [TextToImage, ImageToImage])
def test_direct_construction_and_validation_give_the_same_error(
    model: type[TextToImage | ImageToImage],
) -> None:
    fields: dict[str, Any] = {"prompt": "", "quantity": 3, "style": 1, "image_urls": ["x"]}
    with pytest.raises(InvalidRequest) as direct:
        model(**fields)
    with pytest.raises(InvalidRequest) as by_family:
        FAMILY.validate(model.task, fields)
    with pytest.raises(InvalidRequest) as by_pydantic:
        model.model_validate(fields)
    assert direct.value.faults == by_family.value.faults == by_pydantic.value.faults


@pytest.mark.parametrize("task", ["", "text_to_image", "TEXT-TO-IMAGE", None, ["text-to-image"]])
def test_an_unknown_task_is_refused_naming_both(task: Any) -> None:
    message = faults(task, {})["task"]
    assert message.endswith("allowed: 'image-to-image', 'text-to-image'")


@pytest.mark.parametrize("fields", [None, [], "prompt", 5])
def test_fields_that_are_no_object_are_refused(fields: Any) -> None:
    assert "must be an object" in faults("text-to-image", fields)["request"]


def test_field_names_that_are_no_text_or_clash_with_python_are_refused() -> None:
    assert set(faults("text-to-image", {1: 2, None: 3})) == {"1", "null"}  # type: ignore[dict-item]
    assert {"self", "cls", "fields"} <= set(text_faults(self=1, cls=2, fields=3))


def test_a_long_or_unprintable_field_name_is_shortened() -> None:
    found = text_faults(**{"a\x1b" * 500: 1})
    assert set(found) == {"a?" * 40}


def test_a_request_cannot_be_changed() -> None:
    request = TextToImage(prompt="x", aspect_ratio="1:1")
    with pytest.raises(ValueError, match="frozen"):
        request.quantity = 4  # type: ignore[misc]


def test_a_stored_request_reads_back_as_an_equal_one() -> None:
    request = ImageToImage(
        prompt="put a hat on\nthe cat 🐈",
        image_urls=(CAT,),
        mask_url=CAT,
        aspect_ratio="2:3",
        quantity=4,
        enhance_prompt=True,
        fallback_model="FLUX_MAX",
        upload_cn=True,
    )
    stored = json.loads(json.dumps(request.model_dump(mode="json")))
    assert FAMILY.validate("image-to-image", stored) == request


def test_the_body_of_a_full_request_has_kies_names() -> None:
    request = ImageToImage(
        prompt="put a hat on the cat",
        image_urls=[CAT],
        mask_url="https://example.com/mask.png",
        aspect_ratio="2:3",
        quantity=2,
        enhance_prompt=True,
        fallback_model="GPT_IMAGE_1",
        upload_cn=True,
    )
    built = FAMILY.build_submit(request, callback_url="https://here.example/c/token")
    assert (built.method, built.path, built.query) == ("POST", "/api/v1/gpt4o-image/generate", {})
    assert built.body == {
        "prompt": "put a hat on the cat",
        "filesUrl": [CAT],
        "maskUrl": "https://example.com/mask.png",
        "size": "2:3",
        "nVariants": 2,
        "isEnhance": True,
        "uploadCn": True,
        "enableFallback": True,
        "fallbackModel": "GPT_IMAGE_1",
        "callBackUrl": "https://here.example/c/token",
    }


def test_what_a_request_leaves_out_is_left_out_of_the_body() -> None:
    text = FAMILY.build_submit(TextToImage(prompt="x", aspect_ratio="1:1"), callback_url=None)
    assert text.body == {"prompt": "x", "size": "1:1"}
    image = FAMILY.build_submit(ImageToImage(**IMAGE), callback_url=None)
    assert image.body is not None
    assert set(image.body) == {"filesUrl", "size"}


def test_the_question_about_a_task_is_a_get_with_its_id() -> None:
    built = FAMILY.build_poll("ab12")
    assert (built.method, built.path) == ("GET", "/api/v1/gpt4o-image/record-info")
    assert (built.query, built.body) == ({"taskId": "ab12"}, None)
