"""An image that Kie cannot fetch ends its job with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from producer import Producer
from shared.catalog.request_images import IMAGE_NOT_FETCHED_ADVICE
from tests.support.deployment import Deployment, image_to_image
from tests.support.example_images import encoded_image

ONE = "https://example.com/a.png"


async def test_a_file_that_kie_has_deleted_fails_its_job_and_says_what_to_do(
    deployment: Deployment,
) -> None:
    async with Producer.connect(deployment.settings) as producer, deployment.worker():
        file = await producer.upload(encoded_image("PNG"), account_id="acme")
        fine = await deployment.enqueue(image_to_image(image_urls=[file.url]))
        assert (await deployment.ended(fine)).state == "succeeded"
        deployment.simulator.set_faults(file_lifetime_seconds=0.001)
        dead = await deployment.enqueue(image_to_image(image_urls=[file.url]))
        ended = await deployment.ended(dead)
    assert (ended.state, ended.reason, ended.credits_charged) == ("failed", "provider_failed", None)
    assert ended.message is not None
    assert "Kie could not download image_urls.0: check" in ended.message
    assert ended.message.endswith(IMAGE_NOT_FETCHED_ADVICE)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image_urls": [ONE]}, "could not download image_urls.0: check that the URL"),
        (
            {"image_urls": [ONE], "mask_url": "https://example.com/mask.png"},
            "one of image_urls.0 and mask_url, and does not say which: check that each URL",
        ),
    ],
)
async def test_a_task_whose_image_kie_could_not_fetch_names_the_image_as_far_as_kie_does(
    deployment: Deployment, fields: dict[str, Any], sentence: str
) -> None:
    prompt = "a cat [[sim: outcome=image_fetch_failed, duration=0.1]]"
    async with deployment.worker():
        job = await deployment.ended(
            await deployment.enqueue(image_to_image(prompt=prompt, **fields))
        )
    assert (job.state, job.reason) == ("failed", "provider_failed")
    assert job.message is not None
    assert sentence in job.message
    await deployment.check_account(balance=10_000)
