"""Images that stay: whatever becomes of Kie's links, who sees the job has its images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from producer.results.image_pruning import ImagePruning
from producer.results.stored_images import CopyOptions, StoredImages
from shared.domain.lifecycle import JobState
from shared.errors import SettingsRefused
from shared.job_json import timestamp_to_json
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually


async def key_of(deployment: Deployment, role: Role, account_id: str | None = None) -> str:
    _, text = await KeyStore(deployment.database).create(role, account_id)
    return text


async def read_image(
    api: ApiClient, path: str, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Return the status, the headers and the body of an image."""
    async with api.session.get(
        path, headers={**api._headers, **headers}, allow_redirects=False
    ) as response:
        return response.status, response.headers, await response.read()


def path_of(url: str) -> str:
    return "/v1/" + url.partition("/v1/")[2]


async def test_a_job_whose_links_have_died_still_has_its_images(
    deployment: Deployment, tmp_path: Path
) -> None:
    # The plain links do not even answer the first try.
    results: dict[str, Any] = {"results_url": f"file://{tmp_path}/images"}
    deployment.simulator.set_faults(image_lifetime_seconds=0.001)
    async with deployment.worker(**results):
        jobs = [await deployment.enqueue() for _ in range(3)]
        jobs = [await deployment.ended(job) for job in jobs]

        async def are_stored() -> bool:
            found = [await deployment.producer.get(job.id) for job in jobs]
            return all(image.is_stored for job in found for image in job.images)

        await eventually(are_stored, "every image is stored")
    async with deployment.api(**results) as api:
        for job in jobs:
            found = await deployment.producer.get(job.id)
            assert found.state is JobState.SUCCEEDED
            assert len(found.images) == found.quantity
            for image in found.images:
                status, headers, body = await read_image(api, path_of(image.url))
                assert (status, headers["Content-Type"]) == (200, "image/png")
                assert hashlib.sha256(body).hexdigest() == image.sha256
    summary: Any = deployment.simulator.record.summary()
    assert summary["requests"]["by_route"]["download_url"] == {"200": len(jobs)}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


@pytest.mark.promise("With `?size=thumbnail`")
async def test_an_image_is_sent_to_whom_its_job_is_shown(
    deployment: Deployment, tmp_path: Path
) -> None:
    results: dict[str, Any] = {"results_url": f"file://{tmp_path}/images"}
    await deployment.open_account("other", 0)
    keys = {
        "admin": await key_of(deployment, Role.ADMIN),
        "owner": await key_of(deployment, Role.SERVICE, "acme"),
        "stranger": await key_of(deployment, Role.SERVICE, "other"),
        "viewer": await key_of(deployment, Role.VIEWER),
    }
    async with deployment.worker(**results), deployment.api(**results) as api:
        job = await deployment.ended(await deployment.enqueue())
        (image,) = job.images
        path = path_of(image.url)
        found = {name: (await read_image(api.with_key(key), path))[0] for name, key in keys.items()}
        assert found == {"admin": 200, "owner": 200, "stranger": 404, "viewer": 403}
        assert (await read_image(api, path))[0] == 401
        owner = api.with_key(keys["owner"])
        status, headers, body = await read_image(owner, path)
        assert int(headers["Content-Length"]) == len(body) == image.bytes
        assert headers["ETag"] == f'"{image.sha256}"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in headers["Content-Security-Policy"]
        assert headers["Content-Disposition"] == f'inline; filename="{job.id}-1.png"'
        status, _, body = await read_image(owner, path, **{"If-None-Match": headers["ETag"]})
        assert (status, body) == (304, b"")
        for _ in range(2):
            status, headers, body = await read_image(owner, f"{path}?size=thumbnail")
            assert (status, headers["Content-Type"]) == (200, "image/webp")
            with Image.open(BytesIO(body)) as small:
                assert (small.format, max(small.size)) == ("WEBP", 256)
        assert len(list(tmp_path.rglob("*.thumbnail.webp"))) == 1
        assert (await read_image(owner, f"{path}?size=huge"))[0] == 422
        for number in ("0", "2", "x", "-1", "\u0661", "9" * 40):
            assert (await read_image(owner, f"/v1/jobs/{job.id}/images/{number}"))[0] == 404
        shown = (await owner.get(f"/v1/jobs/{job.id}")).expect(200)
        assert shown["images"][0]["sha256"] == image.sha256
        assert shown["result_urls"] == [image.url]
        masked = (await api.with_key(keys["viewer"]).get(f"/v1/jobs/{job.id}")).expect(200)
        assert (masked["images"], masked["result_urls"]) == ([], [])


@pytest.mark.promise("An image that an operator has pruned")
async def test_a_request_for_a_pruned_image_is_told_when_it_was_deleted(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    async with deployment.worker(results_url=folder.as_uri()):
        job = await deployment.ended(await deployment.enqueue())
    copies = StoredImages(deployment.database, CopyOptions(folder.as_uri(), 60.0))
    pruned = await ImagePruning(deployment.database, copies).prune(datetime.now(UTC))
    assert (pruned.images, list(folder.rglob("*.png"))) == (1, [])
    async with deployment.api(results_url=folder.as_uri()) as api:
        path = path_of(job.images[0].url)
        for one in (path, f"{path}?size=thumbnail"):
            refused = (await api.get(one)).expect(404)
            assert f"image 1 of job {job.id} was deleted on 2" in refused["detail"]
        shown = (await api.get(f"/v1/jobs/{job.id}")).expect(200)
    assert shown["images"][0]["expires_at"] is not None
    assert (shown["state"], shown["credits_charged"]) == ("succeeded", job.credits_charged)


@pytest.mark.promise("An image that is not stored has null for its `sha256`")
async def test_an_image_that_is_not_stored_is_where_kie_has_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    results: dict[str, Any] = {"results_url": f"file://{folder}"}
    async with deployment.worker(**results, results_deadline_seconds=0.1):
        folder.rmdir()
        folder.write_text("a file stands where the folder should be")
        job = await deployment.ended(await deployment.enqueue())
    folder.unlink()
    async with deployment.api(**results) as api:
        status, headers, _ = await read_image(api, f"/v1/jobs/{job.id}/images/1")
        assert (status, headers["Location"]) == (302, job.images[0].kie_url)
        shown = (await api.get(f"/v1/jobs/{job.id}")).expect(200)["images"][0]
        assert (shown["sha256"], shown["url"]) == (None, shown["kie_url"])
        assert shown["expires_at"] > (timestamp_to_json(job.finished_at) or "")


@pytest.mark.promise("results_store_down")
async def test_an_image_of_a_store_that_is_down_can_be_read_later(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder, away = tmp_path / "images", tmp_path / "away"
    results: dict[str, Any] = {"results_url": f"file://{folder}"}
    async with deployment.worker(**results), deployment.api(**results) as api:
        job = await deployment.ended(await deployment.enqueue())
        path = f"/v1/jobs/{job.id}/images/1"
        folder.rename(away)
        folder.write_text("a file stands where the folder should be")
        refused = await api.get(path)
        assert (refused.status, refused.body["type"]) == (
            *(503, "urn:darkroom:problem:results_store_down"),
        )
        folder.unlink()
        away.rename(folder)
        assert (await read_image(api, path))[0] == 200


async def test_a_store_that_cannot_be_used_ends_the_worker_and_the_api_at_their_start(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "storage.example")
    for process in (deployment.worker, deployment.api):
        with pytest.raises(SettingsRefused, match=r"s3://b cannot be used: AWS_ENDPOINT_URL"):
            async with process(results_url="s3://b"):
                pass
