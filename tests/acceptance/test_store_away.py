"""A deployment whose store is away: callers get Kie's links in time, and copies follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from producer import Producer
from shared.adapters.servers import Servers
from tests.fakes.fake_webhook_receiver import receiving
from tests.support.deployment import Deployment, eventually
from tests.support.s3_server import BUCKET, S3Fault, running_s3_server
from tests.support.stored_images import LET_PASS

OUTAGE_SECONDS = 600.0
JOBS = 3


@dataclass(frozen=True, slots=True)
class AwayStore:
    """A store that is away until `end` is called."""

    url: str
    end: Callable[[], None]
    list_writes: Callable[[], list[str]]


@asynccontextmanager
async def _bucket(fault: S3Fault, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwayStore]:
    async with running_s3_server() as s3:
        for name, value in {**s3.environment, "AWS_TIMEOUT": "200ms"}.items():
            monkeypatch.setenv(name, value)
        s3.fault = fault

        def end() -> None:
            s3.fault = None

        yield AwayStore(f"s3://{BUCKET}/images", end, lambda: s3.writes)


@asynccontextmanager
async def _folder(folder: Path) -> AsyncIterator[AwayStore]:
    folder.mkdir()
    (folder / "2026").write_text("a file stands where a folder should be")

    def end() -> None:
        (folder / "2026").unlink()

    yield AwayStore(f"file://{folder}", end, lambda: [str(path) for path in folder.rglob("*.png")])


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.mark.parametrize("kind", [S3Fault.SILENCE, "folder"])
async def test_ten_minutes_without_a_store_lose_nothing(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    opening = (
        _folder(tmp_path / "away") if kind == "folder" else _bucket(S3Fault(kind), monkeypatch)
    )
    async with opening as away, receiving() as receiver:
        settings: dict[str, Any] = {
            "results_url": away.url,
            "results_deadline_seconds": 0.5,
            "webhooks_allow_loopback": True,
        }
        hook = f"{receiver.url}/hook"
        async with deployment.worker(**settings), deployment.api(**settings) as api:
            jobs = [await deployment.enqueue(webhook_url=hook) for _ in range(JOBS)]
            ended = [await deployment.ended(job) for job in jobs]
            await receiver.has(JOBS)
            links = {job.id: [image.kie_url for image in job.images] for job in ended}
            for one in receiver.requests:
                data = one.object["data"]
                assert data["result_urls"] == links[one.job_id]
                assert [image["sha256"] for image in data["images"]] == [None]
                assert data["images"][0]["expires_at"] is not None
            assert [list(job.result_urls) for job in ended] == list(links.values())
            await deployment.run_sql(LET_PASS, OUTAGE_SECONDS)
            await _has_alert(api, is_there=True)
        # Another worker finds the copies that are due.
        away.end()
        await deployment.run_sql(LET_PASS, OUTAGE_SECONDS)
        async with deployment.worker(**settings), deployment.api(**settings) as api:
            await _are_stored(deployment)
            await _has_alert(api, is_there=False)
        assert len(away.list_writes()) == JOBS
        assert Counter(away.list_writes()).most_common(1)[0][1] == 1
        assert len(receiver.requests) == JOBS, "each end is announced once"
    summary: Any = deployment.simulator.record.summary()
    assert summary["creates"]["created"] == summary["creates"]["arrived"] == JOBS
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def _are_stored(deployment: Deployment) -> None:
    async def is_none_left() -> bool:
        return not await deployment.run_sql("SELECT FROM job_images WHERE state <> 'stored'")

    await eventually(is_none_left, "every image is stored")


async def _has_alert(api: Any, *, is_there: bool) -> None:
    async def is_so() -> bool:
        alerts = (await api.get("/readyz")).body["alerts"]
        return is_there is ("images_not_stored" in {one["name"] for one in alerts})

    await eventually(is_so, f"the alert is {'there' if is_there else 'gone'}")
