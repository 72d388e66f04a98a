"""An image that Kie cannot fetch ends its job with a sentence that says what to do."""

from __future__ import annotations

from producer import Producer
from shared.catalog.kie_response_codes import IMAGE_NOT_FETCHED_HINT
from tests.support.deployment import Deployment, image_to_image
from tests.support.example_images import encoded_image


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
    assert ended.message.endswith(IMAGE_NOT_FETCHED_HINT)
