"""`darkroom jobs download`: images as files, from the store or from Kie."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image


async def test_images_are_saved_once_and_never_over_another_file(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    results: dict[str, Any] = {"results_url": f"file://{tmp_path}/store"}
    async with deployment.worker(**results):
        job = await deployment.ended(await deployment.enqueue(text_to_image(quantity=2)))
    folder = tmp_path / "album"
    # This process has no store, so the bytes are Kie's. They are checked against the copies.
    first = await darkroom.run("jobs", "download", str(job.id), "--to", str(folder), "--json")
    assert first.code == 0, first.err
    assert [one["outcome"] for one in first.objects] == ["saved", "saved"]
    files = [folder / f"{job.id}-{number}.png" for number in (1, 2)]
    for file, image in zip(files, job.images, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == image.sha256
    assert sorted(folder.iterdir()) == files
    files[0].write_bytes(b"mine")
    files[1].unlink()
    again = await darkroom.run(
        *("jobs", "download", "--where", "account_id=acme", "--to", str(folder), "--json")
    )
    assert again.code == 1
    assert [one["outcome"] for one in again.objects] == ["different", "saved"]
    assert files[0].read_bytes() == b"mine"


async def test_images_that_kie_has_deleted_come_from_the_store(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/store"
    async with deployment.worker(results_url=url):
        kept = await deployment.ended(await deployment.enqueue())
    async with deployment.worker():
        lost = await deployment.ended(await deployment.enqueue())
    deployment.simulator.set_faults(image_error_rate=1.0)
    words = ("jobs", "download", str(kept.id), str(lost.id), "--to", str(tmp_path / "album"))
    said = await darkroom.elsewhere(RESULTS_URL=url).run(*words)
    assert said.code == 1
    assert said.lines == [str(tmp_path / "album" / f"{kept.id}-1.png")]
    assert f"image 1 of job {lost.id} was not saved: the link answered HTTP 503" in said.err
    assert "1 image saved" in said.err
