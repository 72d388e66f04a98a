"""Which image Kie could not download is named as far as Kie names it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalog.request_images import explain_unfetched_image, images_of

A, B = "https://example.com/a.png", "https://example.com/a.png?size=2"
MASK = "http://10.example.com/mask.webp"
WORDS = "Kie answered 451: Failed to download the image"


@pytest.mark.parametrize(
    ("message", "fields", "named"),
    [
        (WORDS, {"image_urls": [A]}, "image_urls.0: check that the URL answers"),
        (WORDS, {"mask_url": MASK}, "mask_url: check that the URL answers"),
        (f"{WORDS} {B}", {"image_urls": [A, B]}, "image_urls.1: check"),
        (f"{WORDS} {A}: status 404.", {"image_urls": [B, A]}, "image_urls.1: check"),
        (f"cannot fetch '{MASK}'", {"image_urls": [A], "mask_url": MASK}, "mask_url: check"),
        (f"{A}.", {"image_urls": [A, B, A]}, "image_urls.0 and image_urls.2: check"),
        (
            WORDS,
            {"image_urls": [A, B], "mask_url": MASK},
            "one of image_urls.0, image_urls.1 and mask_url, and does not say which: check",
        ),
        (f"{WORDS} {A}x", {"image_urls": [A, B]}, "one of image_urls.0 and image_urls.1, and"),
        (f"{WORDS} {A}.zip", {"image_urls": (A, B)}, "one of image_urls.0 and image_urls.1, and"),
    ],
)
def test_the_image_is_named_as_far_as_kie_names_it(
    message: str, fields: dict[str, Any], named: str
) -> None:
    explained = explain_unfetched_image(message, {"prompt": "a cat", **fields})
    assert explained.startswith(f"{message}; Kie could not download {named}")
    assert "POST /v1/files" in explained


def test_no_image_is_named_where_there_is_none() -> None:
    assert explain_unfetched_image(WORDS, {"prompt": A, "image_urls": None}) == WORDS
    assert images_of({"image_urls": ["x", 5, "y"], "mask_url": 7}) == {
        "image_urls.0": "x",
        "image_urls.2": "y",
    }
