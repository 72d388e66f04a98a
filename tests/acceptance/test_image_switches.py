"""What the switches of the simulated Kie for images and uploads do to jobs that succeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from producer import Job, JobState, Producer, UploadFailed
from tests.support.deployment import Deployment, eventually, image_to_image, text_to_image
from tests.support.example_images import encoded_image
from tests.support.market_jobs import with_directives
from worker.bootstrap import WorkerResources

DEAD = {"image_lifetime_seconds": 0.001}
WELL = {
    "image_lifetime_seconds": 86_400.0,
    "image_retention_seconds": 1_209_600.0,
    "fresh_link_lifetime_seconds": 1_200.0,
    "dead_image_status": "404",
    "download_url_code": 0,
}


async def copy_of(deployment: Deployment, job: Job) -> dict[str, Any]:
    """Return the row of the job's only image once it has been tried."""
    found: list[dict[str, Any]] = []

    async def was_tried() -> bool:
        found[:] = await deployment.run_sql("SELECT * FROM job_images WHERE job_id = $1", job.id)
        return found[0]["last_error"] is not None

    await eventually(was_tried, "the copy was tried")
    return found[0]


async def stored(deployment: Deployment, worker: WorkerResources, job: Job) -> Job:
    """Return the job once its image is stored."""

    async def is_stored() -> bool:
        return (await deployment.producer.get(job.id)).images[0].is_stored

    # The next try would be in some seconds.
    await deployment.run_sql("UPDATE job_images SET next_try_at = now() WHERE state = 'waiting'")
    worker.deps.images_to_copy.set()
    await eventually(is_stored, "the image is stored")
    return await deployment.producer.get(job.id)


async def test_an_image_whose_links_fail_is_stored_when_one_works(
    deployment: Deployment, tmp_path: Path
) -> None:
    cases: dict[str, dict[str, Any]] = {
        "HTTP 403": {**DEAD, "dead_image_status": "403", "download_url_code": 500},
        "gave no other link": {**DEAD, "download_url_code": 500},
        "of another link of Kie": {**DEAD, "fresh_link_lifetime_seconds": 0},
        "HTTP 404": {"image_retention_seconds": 0.001},
    }
    async with deployment.worker(results_url=f"file://{tmp_path}/images") as worker:
        for words, faults in cases.items():
            deployment.simulator.set_faults(**{**WELL, **faults})
            # Its end is announced only with its image, or much later.
            job = await deployment.in_state(await deployment.enqueue(), "succeeded")
            row = await copy_of(deployment, job)
            assert words in str(row["last_error"])
            deployment.simulator.set_faults(**WELL)
            assert (await stored(deployment, worker, job)).credits_charged == job.credits_charged
    deployment.check_paid_once()
    await deployment.check_account(balance=10_000 - 6 * len(cases))
    await deployment.check_invariants_hold()


async def test_an_image_of_any_size_is_measured_and_stored_whole(
    deployment: Deployment, tmp_path: Path
) -> None:
    sizes = ((16, 0), (64, 3_000), (2_048, 1))
    async with deployment.worker(results_url=f"file://{tmp_path}/images"):
        jobs = [
            await deployment.enqueue(
                with_directives(text_to_image(), f"image_pixels={pixels}, image_kib={kib}")
            )
            for pixels, kib in sizes
        ]
        ended = [await deployment.ended(job) for job in jobs]
    for job, (pixels, kib) in zip(ended, sizes, strict=True):
        (image,) = job.images
        assert (image.width, image.height) == (pixels * 3 // 2, pixels)
        assert image.bytes is not None
        assert image.bytes >= kib * 1024


async def test_an_upload_that_kie_refuses_is_an_error_and_the_next_one_is_taken(
    deployment: Deployment,
) -> None:
    data = encoded_image("PNG")
    async with Producer.connect(deployment.settings) as producer, deployment.worker():
        for code in (401, 455, 500):
            deployment.simulator.set_faults(upload_code=code)
            with pytest.raises(UploadFailed, match=str(code)):
                await producer.upload(data, account_id="acme")
        deployment.simulator.set_faults(upload_code_rate=0.0)
        file = await producer.upload(data, account_id="acme")
        job = await deployment.enqueue(image_to_image(image_urls=[file.url]))
        assert (await deployment.ended(job)).state is JobState.SUCCEEDED
    assert len(await deployment.run_sql("SELECT FROM files")) == 1
