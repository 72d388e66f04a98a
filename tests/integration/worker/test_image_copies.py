"""Copies of images: made before the end of the job is announced, and again after any fault."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from producer import Job
from shared.adapters.http.image_download import ImageDownloader
from shared.adapters.results_store import ResultsStore, open_results_store
from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted, Delivered
from shared.domain.lifecycle import JobState
from tests.fakes.image_host import ImageHost, running_image_host
from tests.integration.worker.worker_setup import START, WorkerSetup
from tests.support.deployment import eventually
from tests.support.example_jobs import polled
from tests.support.full_disk import file_size_limit
from worker.recovery.late_task_checks import LateTaskChecks
from worker.results.image_copies import ImageCopies
from worker.simulator.png_images import draw_picture

PICTURE = draw_picture("a lighthouse", "3:2")
TASK = "t" * 32


@pytest.fixture
async def host() -> AsyncIterator[ImageHost]:
    async with running_image_host() as host:
        yield host


class Copying:
    """A worker that copies images when a test says so."""

    def __init__(self, setup: WorkerSetup, folder: Path, downloader: ImageDownloader) -> None:
        self.folder = folder
        self.setup = setup.with_settings(results_url=f"file://{folder}", api_public_url=None)
        self.store = open_results_store(f"file://{folder}")
        self.downloader = downloader

    async def succeed(self, *urls: str, **options: Any) -> Job:
        """Return a job that has succeeded with these images."""
        job = await self.setup.enqueue(**options)
        self.setup.kie.submits.append(Accepted(TASK))
        await self.setup.submit(job)
        self.setup.kie.polls.append(Delivered(urls))
        await self.setup.poll(job)
        return await self.setup.now_is(job)

    async def copy(self, store: ResultsStore | None = None) -> int:
        copies = ImageCopies(self.setup.deps, store or self.store, self.downloader)
        return await copies.copy_due()

    async def make_due(self) -> None:
        await self.setup.sql("UPDATE job_images SET next_try_at = now() WHERE state = 'waiting'")

    async def rows(self) -> list[dict[str, Any]]:
        return await self.setup.sql("SELECT * FROM job_images ORDER BY job_id, position")

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def copying(setup: WorkerSetup, tmp_path: Path) -> AsyncIterator[Copying]:
    async with ImageDownloader(allow_loopback=True) as downloader:
        yield Copying(setup, tmp_path / "images", downloader)


async def test_an_image_is_stored_and_described_before_its_end_is_announced(
    copying: Copying, host: ImageHost
) -> None:
    link = host.serve("a.png", PICTURE)
    job = await copying.succeed(link)
    assert (job.state, job.result_urls, job.is_announced) == (JobState.SUCCEEDED, (link,), False)
    assert not job.images[0].is_stored
    assert await copying.copy() == 1
    job = await copying.setup.now_is(job)
    (image,) = job.images
    assert job.is_announced
    assert job.result_urls == (image.url,)
    assert image.url == f"http://127.0.0.1:8080/v1/jobs/{job.id}/images/1"
    assert (image.width, image.height, image.content_type) == (1536, 1024, "image/png")
    assert (image.bytes, image.sha256) == (len(PICTURE), hashlib.sha256(PICTURE).hexdigest())
    assert (image.kie_url, image.expires_at) == (link, None)
    (file,) = copying.files()
    assert file.read_bytes() == PICTURE
    assert (await copying.setup.events(job))[-2:] == ["completed", "images_stored"]


async def test_without_a_store_nothing_is_kept_and_nothing_waits(
    copying: Copying, host: ImageHost
) -> None:
    copying.setup = copying.setup.with_settings(results_url=None)
    job = await copying.succeed(host.serve("a.png", PICTURE))
    assert (job.is_announced, job.images) == (True, ())
    assert await copying.rows() == []
    assert await copying.copy() == 0


async def test_both_images_of_a_job_show_when_their_copies_end_together(
    copying: Copying, host: ImageHost
) -> None:
    links = [host.serve(f"{n}.png", draw_picture(f"{n}", "1:1")) for n in range(4)]
    job = await copying.succeed(*links)
    assert await copying.copy() == 4
    job = await copying.setup.now_is(job)
    assert [image.is_stored for image in job.images] == [True] * 4
    assert [image.kie_url for image in job.images] == links
    assert job.is_announced


# --- the link ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plain",
    [404, 403, b"<html>expired</html>", PICTURE[:20], b""],
    ids=["gone", "refused", "a page", "cut off", "empty"],
)
async def test_a_link_that_no_longer_answers_is_replaced_by_another_of_kie(
    copying: Copying, host: ImageHost, plain: bytes | int
) -> None:
    link = host.serve("a.png", plain)
    copying.setup.kie.links[link] = host.serve("fresh.png", PICTURE)
    job = await copying.succeed(link)
    await copying.copy()
    (image,) = (await copying.setup.now_is(job)).images
    assert image.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert image.kie_url == link


async def test_an_image_that_cannot_be_had_is_tried_again_until_a_day_has_passed(
    copying: Copying, host: ImageHost
) -> None:
    link = host.serve("a.png", 404)
    job = await copying.succeed(link)
    await copying.copy()
    (row,) = await copying.rows()
    assert (row["state"], row["tries"]) == ("waiting", 1)
    assert "HTTP 404" in row["last_error"]
    assert copying.files() == []
    await copying.make_due()
    await copying.setup.sql("UPDATE job_images SET retry_until = now()")
    await copying.copy()
    (row,) = await copying.rows()
    assert row["state"] == "failed"
    await copying.make_due()
    assert await copying.copy() == 0
    shown = await copying.setup.now_is(job)
    assert (shown.result_urls, shown.images[0].is_stored) == ((link,), False)


async def test_a_link_to_a_private_address_is_not_followed(
    copying: Copying, host: ImageHost
) -> None:
    async with ImageDownloader(allow_loopback=False) as copying.downloader:
        await copying.succeed(host.serve("a.png", PICTURE))
        await copying.copy()
    (row,) = await copying.rows()
    # Refused by its text, before the address is looked up, which is checked as well.
    assert row["last_error"].startswith("the link points at 127.0.0.1, which is not public")
    assert host.requests == []


# --- the store --------------------------------------------------------------------------------


async def test_a_store_that_is_down_loses_nothing_and_charges_nothing_again(
    copying: Copying, host: ImageHost
) -> None:
    link = host.serve("a.png", PICTURE)
    job = await copying.succeed(link)
    money = await copying.setup.money()
    day = copying.folder / f"{job.created_at:%Y}"
    day.write_text("a file stands where the folder should be")
    for tries in (1, 2):
        await copying.make_due()
        await copying.copy()
        (row,) = await copying.rows()
        assert (row["state"], row["tries"]) == ("waiting", tries)
        assert "Not a directory" in row["last_error"]
    day.unlink()
    await copying.make_due()
    await copying.copy()
    assert (await copying.setup.now_is(job)).images[0].is_stored
    assert await copying.setup.money() == money
    assert len(copying.setup.kie.submit_calls) == 1


async def test_a_full_disk_leaves_no_part_of_an_image(copying: Copying, host: ImageHost) -> None:
    large = draw_picture("large", "1:1") + bytes(3_000_000)
    job = await copying.succeed(host.serve("a.png", large))
    with file_size_limit(1_000_000):
        await copying.copy()
    (row,) = await copying.rows()
    assert "File too large" in row["last_error"]
    assert copying.files() == []
    await copying.make_due()
    await copying.copy()
    (image,) = (await copying.setup.now_is(job)).images
    assert image.bytes == len(large)


async def test_a_worker_that_dies_leaves_its_image_to_another_and_no_part_of_it(
    copying: Copying, host: ImageHost
) -> None:
    job = await copying.succeed(host.serve("a.png", PICTURE))
    (claimed,) = await copying.setup.deps.queries.fetch("claim_images", 180.0, 8)
    assert await copying.copy() == 0, "its claim still holds"
    await copying.make_due()
    assert await copying.copy() == 1
    late = await copying.setup.deps.queries.fetch_row(
        "record_image_stored",
        *(job.id, 1, claimed["tries"], "http://other", "other", "image/png", 1, 1, 1, "0" * 64),
    )
    assert late is None, "a try that another has followed records nothing"
    assert (await copying.rows())[0]["url"] != "http://other"


async def test_a_try_that_another_has_followed_puts_nothing_off(
    copying: Copying, host: ImageHost
) -> None:
    job = await copying.succeed(host.serve("a.png", PICTURE))
    queries = copying.setup.deps.queries
    (first,) = await queries.fetch("claim_images", 180.0, 8)
    await copying.make_due()
    (second,) = await queries.fetch("claim_images", 180.0, 8)
    for tries, is_recorded in ((first["tries"], False), (second["tries"], True)):
        row = await queries.fetch_row("record_image_failed", job.id, 1, tries, "no", 5.0)
        assert (row is not None) is is_recorded


async def test_a_cancelled_copy_leaves_nothing_in_the_store(
    copying: Copying, host: ImageHost
) -> None:
    await copying.succeed(host.serve("a.png", PICTURE))
    reached = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(600_000)
        reached.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(copying.store.put("2026/a.png", chunks(), "image/png"))
    await reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await eventually(lambda: _is_empty(copying), "nothing is left of it")


async def _is_empty(copying: Copying) -> bool:
    return copying.files() == []


# --- when the end is announced ----------------------------------------------------------------


async def message_delay_seconds(copying: Copying) -> float:
    (row,) = await copying.setup.sql(
        "SELECT extract(epoch FROM next_try_at - now())::float AS delay FROM webhook_messages"
    )
    return float(row["delay"])


async def test_a_webhook_waits_for_the_images(copying: Copying, host: ImageHost) -> None:
    links = [host.serve("1.png", PICTURE), host.serve("2.png", 404)]
    job = await copying.succeed(*links, webhook_url="https://shop.example/hook")
    assert 50 < await message_delay_seconds(copying) <= 60
    await copying.copy()
    assert await message_delay_seconds(copying) > 50, "one image is still missing"
    host.serve("2.png", PICTURE)
    await copying.make_due()
    await copying.copy()
    assert await message_delay_seconds(copying) <= 0
    assert (await copying.setup.now_is(job)).is_announced


async def test_an_end_does_not_wait_for_images_longer_than_its_deadline(
    copying: Copying, host: ImageHost
) -> None:
    links = [host.serve("1.png", PICTURE), host.serve("2.png", 404)]
    job = await copying.succeed(*links, webhook_url="https://shop.example/hook")
    await copying.copy()
    copies = ImageCopies(copying.setup.deps, copying.store, copying.downloader)
    assert await copies.announce_overdue() == 0
    await copying.setup.sql("UPDATE jobs SET images_due_at = now()")
    await copying.setup.sql("UPDATE job_images SET announce_at = now() WHERE state = 'waiting'")
    assert await copies.announce_overdue() == 1
    assert await copies.announce_overdue() == 0
    job = await copying.setup.now_is(job)
    assert job.is_announced
    assert job.result_urls == (job.images[0].url, links[1])
    assert [image.is_stored for image in job.images] == [True, False]
    assert await message_delay_seconds(copying) <= 0
    assert (await copying.setup.events(job))[-1] == "images_overdue"
    host.serve("2.png", PICTURE)
    await copying.make_due()
    await copying.copy()
    job = await copying.setup.now_is(job)
    assert all(image.is_stored for image in job.images)
    assert (await copying.setup.events(job))[-1] == "images_overdue", "it is announced once"


async def test_a_wait_is_answered_when_the_images_are_stored(
    copying: Copying, host: ImageHost
) -> None:
    job = await copying.succeed(host.serve("a.png", PICTURE))
    waiting = asyncio.create_task(copying.setup.producer.wait(job.id, timeout_seconds=20))
    await asyncio.sleep(0)
    await copying.copy()
    assert (await waiting).images[0].is_stored


async def test_the_stream_of_a_job_ends_when_its_images_are_stored(
    copying: Copying, host: ImageHost
) -> None:
    job = await copying.succeed(host.serve("a.png", PICTURE))
    events: list[bytes] = []

    async def follow() -> None:
        async with copying.setup.producer.events.job_stream(job.id) as frames:
            assert frames is not None
            async for frame in frames:
                events.extend(re.findall(rb"^event: (\w+)$", frame, re.MULTILINE))

    async def has_completed() -> bool:
        return b"completed" in events

    following = asyncio.create_task(follow())
    await eventually(has_completed, "the end of the job is in the stream")
    assert not following.done()
    await copying.copy()
    async with asyncio.timeout(20):
        await following
    assert events[-2:] == [b"completed", b"images_stored"]
    async with copying.setup.producer.events.job_stream(job.id) as again:
        assert again is not None
        assert b"images_stored" in b"".join([frame async for frame in again])


async def test_a_wait_that_times_out_returns_a_success_with_links_of_kie(
    copying: Copying, host: ImageHost
) -> None:
    link = host.serve("a.png", 404)
    job = await copying.succeed(link)
    found = await copying.setup.producer.wait(job.id, timeout_seconds=0.05)
    assert (found.state, found.result_urls) == (JobState.SUCCEEDED, (link,))


# --- images that come late --------------------------------------------------------------------


async def test_images_that_come_after_the_end_of_their_job_are_stored_too(
    copying: Copying, host: ImageHost
) -> None:
    setup = copying.setup
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted(TASK))
    await setup.submit(job)
    await setup.sql("UPDATE jobs SET deadline_at = now() - interval '1 s'")
    overdue = job_events.DeadlineExceeded("not done in time")
    await setup.deps.store.exceed_deadline(polled(await setup.now_is(job)), overdue)
    await setup.sql("UPDATE late_tasks SET next_check_at = now()")
    link = host.serve("late.png", PICTURE)
    setup.kie.polls.append(Delivered((link,)))
    await LateTaskChecks(setup.deps).check_due()
    assert await copying.copy() == 1
    job = await setup.now_is(job)
    assert job.state is JobState.FAILED
    assert job.late_result_urls == (job.images[0].url,)
    assert job.images[0].is_stored
    assert await setup.money() == (START, 0)
