"""Uploaded images of jobs that wait: renewed in time, named by their present URLs, or told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producer import Job
from producer.files.image_uploads import ImageUploads
from producer.files.uploaded_file import UploadedFile
from shared.adapters.kie.file_uploads import FileUploads
from shared.domain.kie_outcomes import Accepted
from shared.domain.lifecycle import JobState
from tests.fakes.fake_uploads import FakeUploads, receiving_uploads
from tests.integration.worker.worker_setup import START, WorkerSetup
from tests.support.deployment import image_to_image
from tests.support.example_images import encoded_image
from worker.files.file_renewal import FileRenewal
from worker.files.served_images import YOUNG_SECONDS

LATER = datetime.now(UTC) + timedelta(days=3)
OTHER = "https://example.com/dog.png"


@pytest.fixture
async def kie() -> AsyncIterator[FakeUploads]:
    async with receiving_uploads() as fake:
        yield fake


@pytest.fixture
async def renewing(setup: WorkerSetup, kie: FakeUploads) -> AsyncIterator[WorkerSetup]:
    async with FileUploads(kie.access) as uploads:
        yield setup.with_deps(file_uploads=uploads)


async def upload(setup: WorkerSetup, kie: FakeUploads, width: int = 37) -> UploadedFile:
    uploads = ImageUploads(setup.database, kie.choose_access)
    file = await uploads.upload(encoded_image("PNG", width), account_id="acme")
    await uploads.close()
    return file


async def enqueue(setup: WorkerSetup, *urls: str, **options: Any) -> Job:
    request = image_to_image(image_urls=list(urls))
    return await setup.producer.enqueue(request, account_id="acme", **options)


async def end_within(setup: WorkerSetup, hours: float) -> None:
    await setup.sql("UPDATE files SET expires_at = now() + make_interval(secs => $1)", hours * 3600)


async def wait_longer(setup: WorkerSetup) -> None:
    setup.deps.clock.advance(YOUNG_SECONDS)  # type: ignore[attr-defined]
    await setup.sql(
        "UPDATE jobs SET due_at = now(), created_at = created_at - make_interval(secs => $1)",
        YOUNG_SECONDS + 1,
    )


def images_sent(setup: WorkerSetup) -> list[str]:
    [call] = setup.kie.submit_calls
    return list(call.request.model_dump()["image_urls"])


async def test_a_file_of_a_queued_job_is_renewed_and_the_job_is_submitted_with_its_new_url(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    file = await upload(renewing, kie)
    job = await enqueue(renewing, OTHER, file.url, run_at=LATER)
    await end_within(renewing, 7)
    for _ in range(2):
        await FileRenewal(renewing.deps).run()
    assert kie.requests == ["base64-upload", "url-upload"]
    [row] = await renewing.sql("SELECT url, former_urls, expires_at FROM files")
    assert row["former_urls"] == [file.url]
    assert kie.stored[row["url"]] == kie.stored[file.url]
    assert row["expires_at"] > datetime.now(UTC) + timedelta(hours=23)
    await wait_longer(renewing)
    renewing.kie.submits.append(Accepted("t1"))
    await renewing.submit(job)
    assert images_sent(renewing) == [OTHER, row["url"]]
    assert (await renewing.now_is(job)).request["image_urls"] == [OTHER, file.url]


async def test_a_mask_is_renewed_as_well(renewing: WorkerSetup, kie: FakeUploads) -> None:
    file = await upload(renewing, kie)
    request = image_to_image(mask_url=file.url)
    job = await renewing.producer.enqueue(request, account_id="acme", run_at=LATER)
    await end_within(renewing, 1)
    await FileRenewal(renewing.deps).run()
    await wait_longer(renewing)
    renewing.kie.submits.append(Accepted("t1"))
    await renewing.submit(job)
    [row] = await renewing.sql("SELECT url FROM files")
    assert renewing.kie.submit_calls[0].request.model_dump()["mask_url"] == row["url"] != file.url


async def test_only_files_that_end_soon_and_that_a_queued_job_names_are_renewed(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    unused, ended, lasting = [await upload(renewing, kie, width) for width in (1, 2, 3)]
    await enqueue(renewing, lasting.url, run_at=LATER)
    job = await enqueue(renewing, ended.url, run_at=LATER)
    await renewing.producer.cancel(job.id)
    await end_within(renewing, 7)
    await renewing.sql(
        "UPDATE files SET expires_at = now() + interval '9 hours' WHERE id = $1", lasting.id
    )
    await FileRenewal(renewing.deps).run()
    rows = await renewing.sql("SELECT url FROM files")
    assert {row["url"] for row in rows} == {unused.url, ended.url, lasting.url}


async def test_what_kie_does_not_renew_is_tried_again(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    file = await upload(renewing, kie)
    await enqueue(renewing, file.url, run_at=LATER)
    await end_within(renewing, 7)
    kie.answers = [(200, {"success": False, "code": 500, "msg": "Server exception"})]
    await FileRenewal(renewing.deps).run()
    assert await renewing.sql("SELECT FROM files WHERE url = $1", file.url)
    await FileRenewal(renewing.deps).run()
    assert not await renewing.sql("SELECT FROM files WHERE url = $1", file.url)


@pytest.mark.parametrize("field", ["image_urls.1", "mask_url"])
async def test_a_job_whose_file_is_deleted_is_told_so_and_nothing_is_sent(
    renewing: WorkerSetup, kie: FakeUploads, field: str
) -> None:
    file = await upload(renewing, kie)
    request = (
        image_to_image(mask_url=file.url)
        if field == "mask_url"
        else image_to_image(image_urls=[OTHER, file.url])
    )
    job = await renewing.producer.enqueue(request, account_id="acme")
    await end_within(renewing, 0)
    await wait_longer(renewing)
    await renewing.submit(job)
    ended = await renewing.now_is(job)
    assert (ended.state, ended.reason) == (JobState.FAILED, "rejected")
    assert ended.message is not None
    assert ended.message.startswith(f"{field} is an uploaded file that Kie has deleted")
    assert renewing.kie.submit_calls == []
    assert await renewing.money() == (START, 0)


async def test_a_retry_names_the_present_url_however_young_it_is(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    file = await upload(renewing, kie)
    job = await enqueue(renewing, file.url)
    await renewing.producer.cancel(job.id)
    await end_within(renewing, 0)
    again = await upload(renewing, kie)
    assert (again.id, again.url == file.url) == (file.id, False)
    retry = await renewing.producer.retry(job.id)
    renewing.kie.submits.append(Accepted("t1"))
    await renewing.submit(retry)
    assert images_sent(renewing) == [again.url]


async def test_the_file_of_another_account_is_not_named(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    file = await upload(renewing, kie)
    await renewing.producer.billing.create_account("other")
    await renewing.sql("UPDATE files SET account_id = 'other', expires_at = now()")
    job = await enqueue(renewing, file.url)
    await wait_longer(renewing)
    renewing.kie.submits.append(Accepted("t1"))
    await renewing.submit(job)
    assert images_sent(renewing) == [file.url]


async def test_rows_are_deleted_30_days_after_the_end_of_their_file(
    renewing: WorkerSetup, kie: FakeUploads
) -> None:
    await upload(renewing, kie)
    await end_within(renewing, -29 * 24)
    await FileRenewal(renewing.deps).run()
    assert await renewing.sql("SELECT FROM files")
    await end_within(renewing, -31 * 24)
    await FileRenewal(renewing.deps).run()
    assert not await renewing.sql("SELECT FROM files")
