"""Ten minutes without a usable store: nothing is lost, generated or charged twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from producer import Job
from shared.adapters.http.image_download import ImageDownloader
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.adapters.results_store import ResultsStore, open_results_store
from shared.domain.alerts.alert_rules import find_alerts
from shared.domain.kie_outcomes import Accepted, Delivered
from shared.domain.lifecycle import JobState
from tests.fakes.image_host import running_image_host
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from tests.support.full_disk import file_size_limit
from tests.support.s3_server import BUCKET, S3Fault, S3Server, running_s3_server
from tests.support.stored_images import LET_PASS
from worker.results.image_copies import ImageCopies
from worker.simulator.png_images import draw_picture

MINUTES = 10
STEP_SECONDS = 10.0
IMAGE = draw_picture("a lighthouse", "1:1")
LARGE = IMAGE + bytes(2_000_000)
FULL_BYTES = 1_000_000
"""From this on a disk is full."""
HOOK = "https://shop.example/hook"


@dataclass(frozen=True, slots=True)
class Outage:
    """A store that refuses, and what it says."""

    store: ResultsStore
    said: str
    end: Callable[[], ResultsStore]
    """Ends the outage, and returns the store as it is then."""
    list_writes: Callable[[], list[str]]
    """The key of each object that has appeared."""
    image: bytes = IMAGE
    """What the links of the images answer."""


@asynccontextmanager
async def _folder_taken_away(folder: Path, _: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    store = open_results_store(f"file://{folder}")
    folder.rmdir()
    folder.write_text("a file stands where the folder should be")

    def end() -> ResultsStore:
        folder.unlink()
        folder.mkdir()
        return store

    yield Outage(store, "Not a directory", end, lambda: _files(folder))


@asynccontextmanager
async def _full_disk(folder: Path, _: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    store = open_results_store(f"file://{folder}")
    with file_size_limit(FULL_BYTES) as lift:

        def end() -> ResultsStore:
            assert _files(folder) == [], "a copy that fails leaves no part of it"
            lift()
            return store

        yield Outage(store, "File too large", end, lambda: _files(folder), LARGE)


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _bucket(
    said: str, *, fault: S3Fault | None = None, **environ: str
) -> Callable[[Path, pytest.MonkeyPatch], AbstractAsyncContextManager[Outage]]:
    """Return an outage of a bucket: by a fault of its server, or by variables of its client."""

    @asynccontextmanager
    async def outage(_: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        async with running_s3_server() as s3:
            for name, value in {**s3.environment, "AWS_TIMEOUT": "60ms", **environ}.items():
                monkeypatch.setenv(name, value)
            s3.fault = fault
            store = open_results_store(f"s3://{BUCKET}/images")
            yield Outage(store, said, lambda: _end_of(s3, monkeypatch), lambda: s3.writes)

    return outage


def _end_of(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> ResultsStore:
    assert s3.uploads == {}, "a copy that fails leaves no part of it"
    s3.fault = None
    for name, value in {**s3.environment, "AWS_TIMEOUT": "30s"}.items():
        monkeypatch.setenv(name, value)
    return open_results_store(f"s3://{BUCKET}/images")


OUTAGES = {
    "a folder that is gone": _folder_taken_away,
    "a full disk": _full_disk,
    "a bucket that answers 503": _bucket("503 Service Unavailable", fault=S3Fault.SLOW_DOWN),
    "a bucket that does not answer": _bucket("error sending request", fault=S3Fault.SILENCE),
    "wrong credentials": _bucket("SignatureDoesNotMatch", AWS_SECRET_ACCESS_KEY="wrong"),
}


class Play:
    """Jobs whose images wait for a store, and a clock that moves in steps."""

    def __init__(self, setup: WorkerSetup, downloader: ImageDownloader) -> None:
        self.setup = setup
        self.downloader = downloader
        self.seconds = 0.0

    async def succeed(self, number: int, urls: tuple[str, ...]) -> Job:
        """Return a job that has succeeded with these images."""
        job = await self.setup.enqueue(webhook_url=HOOK)
        self.setup.kie.submits.append(Accepted(f"{number:032d}"))
        await self.setup.submit(job)
        self.setup.kie.polls.append(Delivered(urls))
        await self.setup.poll(job)
        return await self.setup.now_is(job)

    async def pass_until(self, seconds: float, copies: ImageCopies) -> None:
        """Let time pass up to then, with what a worker does about images every ten seconds."""
        while self.seconds < seconds:
            await self.setup.sql(LET_PASS, STEP_SECONDS)
            self.seconds += STEP_SECONDS
            await copies.announce_overdue()
            await copies.copy_due()

    async def alerts(self) -> list[str]:
        """Return the alerts about images."""
        state = await read_system_state(self.setup.database)
        return [one.detail for one in find_alerts(state, None) if one.name == "images_not_stored"]

    async def messages_due(self) -> int:
        """Return how many webhooks may be sent now."""
        rows = await self.setup.sql("SELECT FROM webhook_messages WHERE next_try_at <= now()")
        return len(rows)


@pytest.mark.parametrize("name", OUTAGES)
async def test_ten_minutes_without_a_store_cost_nothing(
    setup: WorkerSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with (
        running_image_host() as host,
        ImageDownloader(allow_loopback=True) as downloader,
        OUTAGES[name](tmp_path / "images", monkeypatch) as outage,
    ):
        play = Play(setup.with_settings(results_url="file:///away"), downloader)
        links = [host.serve(f"{number}.png", outage.image) for number in (1, 2, 3)]
        jobs = [await play.succeed(1, (links[0], links[1])), await play.succeed(2, (links[2],))]
        away = ImageCopies(play.setup.deps, outage.store, downloader)
        await play.pass_until(50, away)
        assert await play.messages_due() == 0
        assert await play.alerts() == []
        await play.pass_until(70, away)
        assert await play.messages_due() == len(jobs), "after the deadline they go out"
        for job, urls in zip(jobs, (links[:2], links[2:]), strict=True):
            shown = await setup.now_is(job)
            assert (shown.is_announced, list(shown.result_urls)) == (True, urls)
            assert [image.is_stored for image in shown.images] == [False] * len(urls)
        await play.pass_until(150, away)
        (alert,) = await play.alerts()
        assert alert.startswith("3 images have waited long for a copy; the last error:")
        assert outage.said in alert
        await play.pass_until(MINUTES * 60, away)
        assert len(await play.alerts()) == 1
        back = ImageCopies(play.setup.deps, outage.end(), downloader)
        await play.pass_until(MINUTES * 60 + 70, back)
        await _check_end(play, jobs, outage)


async def _check_end(play: Play, jobs: list[Job], outage: Outage) -> None:
    setup, writes = play.setup, outage.list_writes()
    assert await play.alerts() == []
    assert len(writes) == 3
    assert Counter(writes).most_common(1)[0][1] == 1, "each image is stored once"
    for job in jobs:
        shown = await setup.now_is(job)
        assert shown.state is JobState.SUCCEEDED
        assert all(image.is_stored and image.bytes == len(outage.image) for image in shown.images)
        assert all(url.startswith("http://127.0.0.1:8080/v1/jobs/") for url in shown.result_urls)
        names = await setup.events(job)
        assert [names.count(one) for one in ("images_overdue", "images_stored")] == [1, 0]
    assert len(setup.kie.submit_calls) == len(jobs)
    assert await setup.money() == (START - PRICE * len(jobs), 0)
    charges: Any = await setup.sql("SELECT job_id FROM ledger_entries WHERE kind = 'capture'")
    assert Counter(row["job_id"] for row in charges) == {job.id: 1 for job in jobs}
    messages = await setup.sql("SELECT job_id FROM webhook_messages")
    assert Counter(row["job_id"] for row in messages) == {job.id: 1 for job in jobs}
