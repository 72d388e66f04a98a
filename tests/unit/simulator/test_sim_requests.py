"""Create calls are checked as Kie documents them."""

from __future__ import annotations

import orjson
import pytest

from worker.simulator.create_request import (
    InvalidRequestError,
    NotJsonError,
    parse_create_request,
)

FULL = {
    "prompt": "a lighthouse",
    "filesUrl": ["https://example.com/a.png"],
    "size": "2:3",
    "nVariants": 4,
    "maskUrl": "https://example.com/m.png",
    "callBackUrl": "https://example.com/callbacks/kie/secret?job=1",
    "isEnhance": True,
    "uploadCn": False,
    "enableFallback": True,
    "fallbackModel": "FLUX_MAX",
}


def test_a_full_request_is_accepted_and_echoed_with_its_keys_in_another_order() -> None:
    request = parse_create_request(orjson.dumps(FULL))
    assert request.n_variants == 4
    assert request.callback_token == "secret"
    echoed = orjson.loads(request.param_json)
    assert echoed == FULL
    assert list(echoed) != list(FULL)
    assert request.unknown_fields == ()


def test_one_variant_is_the_default() -> None:
    assert parse_create_request(b'{"prompt":"x","size":"1:1"}').n_variants == 1


@pytest.mark.parametrize("files", [{"filesUrl": ["https://a/b.png"]}, {"fileUrl": "https://a/b"}])
def test_the_files_alone_are_sufficient_evidence(files: dict[str, object]) -> None:
    assert parse_create_request(orjson.dumps({"size": "1:1", **files})).prompt == ""


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"', b"\xff", b'{"prompt":"\\ud800"}'])
def test_a_body_that_is_no_json_object_is_distinguished(raw: bytes) -> None:
    with pytest.raises(NotJsonError):
        parse_create_request(raw)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": "1024x1024"}, "size must be one of 1:1, 3:2, 2:3"),
        ({"size": None}, "size must be one of"),
        ({"size": ["1:1"]}, "size must be one of"),
        ({"aspectRatio": "1:1"}, "aspectRatio is not a field of this model"),
        ({"prompt": 7}, "prompt must be a string"),
        ({"prompt": "", "filesUrl": []}, "cannot both be empty"),
        ({"filesUrl": "https://a"}, "filesUrl must be a list"),
        ({"filesUrl": [1]}, "filesUrl must be a list"),
        ({"filesUrl": ["https://a"] * 6}, "at most 5"),
        ({"nVariants": 3}, "nVariants must be one of 1, 2, 4"),
        ({"nVariants": True}, "nVariants must be one of 1, 2, 4"),
        ({"nVariants": "2"}, "nVariants must be one of 1, 2, 4"),
        ({"isEnhance": "yes"}, "isEnhance must be true or false"),
        ({"maskUrl": 1}, "maskUrl must be a string"),
        ({"fallbackModel": "DALL_E"}, "fallbackModel must be one of"),
        ({"callBackUrl": "ftp://a"}, "callBackUrl must be an http or https URL"),
        ({"callBackUrl": "http://[::1"}, "callBackUrl is not a URL"),
    ],
)
def test_each_wrong_field_is_named(change: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        parse_create_request(orjson.dumps({**FULL, **change}))


def test_aspect_ratio_instead_of_size_is_named_as_the_mistake() -> None:
    with pytest.raises(InvalidRequestError, match="size is required; aspectRatio is not"):
        parse_create_request(b'{"prompt":"x","aspectRatio":"1:1"}')


@pytest.mark.parametrize("absent", sorted(FULL.keys() - {"prompt", "size"}))
def test_null_in_an_optional_field_is_its_absence(absent: str) -> None:
    request = parse_create_request(orjson.dumps({**FULL, absent: None}))
    assert request.n_variants == (1 if absent == "nVariants" else 4)


@pytest.mark.parametrize(
    ("change", "recorded"),
    [
        ({"filesUrl": [""]}, "This field is required"),
        ({"filesUrl": ["https://a", " "]}, "This field is required"),
        ({"prompt": None, "filesUrl": None}, "This field is required"),
        ({"size": "7:7"}, "size is not within the range of allowed options"),
        ({"nVariants": 3}, "nVariants is not within the range of allowed options"),
    ],
)
def test_a_fault_has_the_words_that_kie_was_recorded_to_send(
    change: dict[str, object], recorded: str
) -> None:
    with pytest.raises(InvalidRequestError) as fault:
        parse_create_request(orjson.dumps({**FULL, **change}))
    assert fault.value.recorded == recorded


@pytest.mark.parametrize("n_variants", [1, 2, 4, 3, "many"])
def test_a_number_of_images_can_be_a_field_that_kie_does_not_know(n_variants: object) -> None:
    raw = orjson.dumps({**FULL, "nVariants": n_variants, "isEnhance": "perhaps"})
    request = parse_create_request(raw, one_image=True)
    assert (request.n_variants, request.credits) == (1, 6)
    assert request.input_urls == ("https://example.com/a.png",)
    assert request.unknown_fields == (
        *("enableFallback", "fallbackModel", "isEnhance", "maskUrl", "nVariants", "uploadCn"),
    )


def test_unknown_fields_are_let_through_and_listed() -> None:
    request = parse_create_request(b'{"prompt":"x","size":"1:1","style":"y","quality":"z"}')
    assert request.unknown_fields == ("quality", "style")
