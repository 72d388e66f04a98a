"""The fields of a request to `4o-image-api`, and what it carries of `gpt-4o-image`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.catalog import get_family
from shared.catalog.families.market_4o_image import FAMILY, ImageToImage, TextToImage
from shared.errors import InvalidRequest

CAT = "https://example.com/cat.png"
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "text-to-image": {"prompt": "a lighthouse", "aspect_ratio": "3:2"},
    "image-to-image": {"image_urls": [CAT], "aspect_ratio": "1:1"},
}
each_task = pytest.mark.parametrize("task", FIELDS)


def faults(task: str, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refusal:
        FAMILY.validate(task, {**FIELDS[task], **fields})
    return {fault.field: fault.message for fault in refusal.value.faults}


def uncarried(task: str, **fields: Any) -> dict[str, str]:
    request = get_family("gpt-4o-image").validate(task, {**FIELDS[task], **fields})
    with pytest.raises(InvalidRequest) as refusal:
        FAMILY.carries["gpt-4o-image"](request)
    return {fault.field: fault.message for fault in refusal.value.faults}


def test_the_body_has_kies_names_inside_input_and_the_callback_beside_it() -> None:
    request = ImageToImage(prompt="add a hat", image_urls=[CAT], aspect_ratio="2:3")
    built = FAMILY.build_submit(request, callback_url="https://here.example/c/token")
    assert (built.method, built.path, built.query) == ("POST", "/api/v1/jobs/createTask", {})
    assert built.body == {
        "model": "4o-image-api",
        "input": {"prompt": "add a hat", "files_url": [CAT], "size": "2:3"},
        "callBackUrl": "https://here.example/c/token",
    }


def test_what_a_request_leaves_out_is_left_out_of_the_body() -> None:
    text = FAMILY.build_submit(TextToImage(prompt="x", aspect_ratio="1:1"), callback_url=None)
    assert text.body == {"model": "4o-image-api", "input": {"prompt": "x", "size": "1:1"}}
    image = FAMILY.build_submit(
        ImageToImage(image_urls=[CAT], aspect_ratio="1:1"), callback_url=None
    )
    assert image.body is not None
    assert set(image.body["input"]) == {"files_url", "size"}


def test_the_question_about_a_task_is_a_get_with_its_id() -> None:
    built = FAMILY.build_poll("ab12")
    assert (built.method, built.path) == ("GET", "/api/v1/jobs/recordInfo")
    assert (built.query, built.body) == ({"taskId": "ab12"}, None)


@each_task
@pytest.mark.parametrize("quantity", [2, 4, 7])
def test_a_quantity_above_one_is_told_to_be_several_jobs(task: str, quantity: int) -> None:
    assert faults(task, quantity=quantity) == {
        "quantity": f"is {quantity}; one task makes one image: place {quantity} jobs of"
        " quantity 1, with POST /v1/jobs/batch or `enqueue_many`"
    }


@each_task
@pytest.mark.parametrize("quantity", [0, -1, True, "1", 1.0, None, 5_000])
def test_a_quantity_that_is_no_number_of_images_is_refused(task: str, quantity: object) -> None:
    assert faults(task, quantity=quantity)["quantity"].endswith("; allowed: the number 1")


@each_task
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("mask_url", "mask"),
        ("enhance_prompt", "refining of the prompt"),
        ("fallback_model", "fallback model"),
        ("upload_cn", "upload through China"),
        ("seed", "seed"),
        ("quality", "quality"),
    ],
)
def test_options_of_other_models_get_their_own_sentence(task: str, name: str, word: str) -> None:
    message = faults(task, **{name: None})[name]
    assert message.startswith(f"is refused: the model 4o-image-api has no {word}")


@pytest.mark.parametrize("name", ["n", "nVariants", "num_images"])
def test_other_names_of_the_quantity_are_told_the_same(name: str) -> None:
    assert "place one job per image" in faults("text-to-image", **{name: 2})[name]


def test_six_images_are_refused() -> None:
    message = faults("image-to-image", image_urls=[CAT] * 6)["image_urls"]
    assert message.startswith("has 6 URLs; give 1 to 5")


@each_task
def test_a_plain_request_is_carried_with_every_field(task: str) -> None:
    fields = {**FIELDS[task], "prompt": "a lighthouse", "aspect_ratio": "2:3"}
    request = get_family("gpt-4o-image").validate(task, fields)
    assert FAMILY.carries["gpt-4o-image"](request) == FAMILY.validate(task, fields)


def test_every_field_that_is_not_carried_is_named_at_once() -> None:
    found = uncarried(
        "image-to-image",
        quantity=4,
        mask_url=CAT,
        enhance_prompt=True,
        fallback_model="FLUX_MAX",
        upload_cn=True,
    )
    assert found.keys() == {
        *("quantity", "mask_url", "enhance_prompt", "fallback_model", "upload_cn"),
    }
    assert "place 4 jobs of quantity 1" in found["quantity"]
    now = "gpt-4o-image is sent by 4o-image-api now"
    assert found["mask_url"] == f"is set, but {now}, which has no mask; leave it out"


@pytest.mark.parametrize("quantity", [2, 4])
def test_a_quantity_above_one_is_not_carried(quantity: int) -> None:
    assert uncarried("text-to-image", quantity=quantity).keys() == {"quantity"}
