"""The fields of requests to `flux1-kontext` that no other model has."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalog.families.flux1_kontext import FAMILY
from shared.errors import InvalidRequest


def submitted(task: str = "text-to-image", **fields: Any) -> dict[str, Any]:
    request = FAMILY.validate(task, {"prompt": "a lighthouse", **fields})
    body = FAMILY.build_submit(request, callback_url=None).body
    assert body is not None
    return dict(body["input"])


@pytest.mark.parametrize(("given", "sent"), [(0, 0), (6, 6), (2.0, 2)])
def test_a_whole_number_is_a_tolerance(given: float, sent: int) -> None:
    assert submitted(safety_tolerance=given)["safety_tolerance"] == sent
    assert isinstance(submitted(safety_tolerance=given)["safety_tolerance"], int)


@pytest.mark.parametrize("given", [-1, 7, 2.5, "2", True, None, float("nan"), float("inf")])
def test_another_tolerance_is_refused_with_its_range(given: object) -> None:
    with pytest.raises(InvalidRequest, match=r"allowed: a whole number from 0 \(strict\) to 6"):
        submitted(safety_tolerance=given)


def test_an_image_keeps_its_ratio_unless_one_is_given() -> None:
    images = ["https://example.com/cat.png"]
    kept = submitted("image-to-image", image_urls=images)
    assert (kept["input_image"], kept.get("aspect_ratio")) == (images[0], None)
    cropped = submitted("image-to-image", image_urls=images, aspect_ratio="1:1")
    assert cropped["aspect_ratio"] == "1:1"


def test_two_images_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="has 2 URLs; give one public http"):
        submitted("image-to-image", image_urls=["https://example.com/cat.png"] * 2)
