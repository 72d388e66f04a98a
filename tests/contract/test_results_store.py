"""A store of images keeps its promises on a local folder and on a server of the S3 protocol."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from shared.adapters.results_store import ResultsStore, open_results_store
from shared.errors import ResultsStoreDown
from tests.support.deployment import eventually
from tests.support.s3_server import BUCKET, S3Fault, S3Server, running_s3_server

PART = 5 * 1024 * 1024
KEY = "2026/11/a job/1.png"


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store, and what is really in it."""

    store: ResultsStore
    list_keys: Callable[[], list[str]]
    s3: S3Server | None = None


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    async with running_s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> OpenedStore:
    store = open_results_store(f"s3://{BUCKET}/images")
    return OpenedStore(store, lambda: [*s3.objects, *s3.uploads], s3)


@pytest.fixture(params=["file", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OpenedStore:
    if request.param == "s3":
        bucket: OpenedStore = request.getfixturevalue("bucket")
        return bucket
    return OpenedStore(
        open_results_store(f"file://{tmp_path}/images"),
        lambda: [str(path) for path in tmp_path.rglob("*") if path.is_file()],
    )


async def in_chunks(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(store: ResultsStore, key: str = KEY) -> bytes | None:
    found = await store.open(key)
    if found is None:
        return None
    content = b"".join([chunk async for chunk in found.chunks])
    assert len(content) == found.size
    return content


@pytest.mark.parametrize(
    "size", [0, 1, 99_999, PART - 1, PART, PART + 1, 2 * PART + 3], ids=lambda size: f"{size} B"
)
async def test_what_is_written_is_read_byte_by_byte(opened: OpenedStore, size: int) -> None:
    content = os.urandom(size)
    await opened.store.put(KEY, in_chunks(content), "image/png")
    assert await read(opened.store) == content
    assert await opened.store.contains(KEY)
    assert len(opened.list_keys()) == 1


async def test_a_write_replaces_what_has_the_key(opened: OpenedStore) -> None:
    for content in (b"first", b"second"):
        await opened.store.put(KEY, in_chunks(content), "image/png")
    assert await read(opened.store) == b"second"
    assert len(opened.list_keys()) == 1


async def test_an_object_that_is_missing_is_none_and_counts_as_deleted(opened: OpenedStore) -> None:
    await opened.store.put(KEY, in_chunks(b"kept"), "image/png")
    assert await read(opened.store, "2026/other.png") is None
    assert not await opened.store.contains("2026/other.png")
    await opened.store.delete(["2026/other.png"])
    await opened.store.delete([KEY, "2026/other.png"])
    assert opened.list_keys() == []


class OwnError(Exception):
    """An error of what is written."""


@pytest.mark.parametrize("size", [10, PART // 2, 2 * PART], ids=["start", "first part", "later"])
async def test_an_error_of_the_chunks_is_raised_as_it_is_and_nothing_stays(
    opened: OpenedStore, size: int
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for chunk in in_chunks(bytes(size)):
            yield chunk
        raise OwnError("the link has ended")

    with pytest.raises(OwnError, match="the link has ended"):
        await opened.store.put(KEY, failing(), "image/png")
    assert not await opened.store.contains(KEY)

    async def is_empty() -> bool:
        return opened.list_keys() == []

    await eventually(is_empty, "no part of it stays")


async def test_objects_of_a_key_with_unusual_letters_are_found(opened: OpenedStore) -> None:
    key = "2026/ä +&=?/1.png"
    await opened.store.put(key, in_chunks(b"x"), "image/png")
    assert await read(opened.store, key) == b"x"
    await opened.store.delete([key])
    assert not await opened.store.contains(key)


async def test_many_writes_side_by_side_each_appear(opened: OpenedStore) -> None:
    keys = [f"2026/{number}.png" for number in range(16)]
    await asyncio.gather(
        *(opened.store.put(key, in_chunks(key.encode()), "image/png") for key in keys)
    )
    assert [await read(opened.store, key) for key in keys] == [key.encode() for key in keys]


# --- buckets alone ----------------------------------------------------------------------------


async def test_an_image_of_usual_size_is_one_request_and_keeps_its_type(
    bucket: OpenedStore,
) -> None:
    assert bucket.s3 is not None
    await bucket.store.put(KEY, in_chunks(bytes(1_500_000)), "image/webp")
    assert bucket.s3.requests == [f"PUT images/{KEY}"]
    assert bucket.s3.objects[f"images/{KEY}"].content_type == "image/webp"


async def test_a_large_image_appears_only_when_its_last_part_is_stored(bucket: OpenedStore) -> None:
    assert bucket.s3 is not None
    s3, reached, ready = bucket.s3, asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        async for chunk in in_chunks(bytes(PART + 200_000)):
            yield chunk
        reached.set()
        await ready.wait()
        yield b"the end"

    writing = asyncio.create_task(bucket.store.put(KEY, slowly(), "image/jpeg"))
    await reached.wait()

    async def has_part() -> bool:
        return any(s3.uploads.values())

    await eventually(has_part, "its first part is stored")
    assert s3.objects == {}
    ready.set()
    await writing
    assert s3.objects[f"images/{KEY}"].content_type == "image/jpeg"
    assert s3.uploads == {}


async def test_a_signed_link_reads_the_object_without_credentials_until_it_expires(
    bucket: OpenedStore,
) -> None:
    await bucket.store.put(KEY, in_chunks(b"for anybody"), "image/png")
    link = await bucket.store.sign(KEY, valid_seconds=60)
    expired = await bucket.store.sign(KEY, valid_seconds=0)
    assert link is not None
    assert expired is not None
    async with aiohttp.ClientSession() as session:
        async with session.get(link) as answer:
            assert (answer.status, await answer.read()) == (200, b"for anybody")
            assert answer.headers["Content-Type"] == "image/png"
        for refused in (link.replace("1.png", "2.png"), link.partition("?")[0], f"{link}0"):
            async with session.get(refused) as answer:
                assert answer.status == 403
        await eventually(lambda: _is_refused(session, expired), "the link has expired")


async def _is_refused(session: aiohttp.ClientSession, link: str) -> bool:
    async with session.get(link) as answer:
        return answer.status == 403


async def test_a_folder_has_no_links_for_others(tmp_path: Path) -> None:
    store = open_results_store(f"file://{tmp_path}/images")
    await store.put(KEY, in_chunks(b"x"), "image/png")
    assert await store.sign(KEY, valid_seconds=60) is None


ACTS: dict[str, Callable[[ResultsStore], Awaitable[object]]] = {
    "write": lambda store: store.put(KEY, in_chunks(b"x"), "image/png"),
    "write in parts": lambda store: store.put(KEY, in_chunks(bytes(PART + 1)), "image/png"),
    "read": read,
    "look": lambda store: store.contains(KEY),
    "delete": lambda store: store.delete([KEY]),
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (S3Fault.SLOW_DOWN, "503 Service Unavailable"),
        (S3Fault.SILENCE, "error sending request"),
        (S3Fault.CUT_OFF, "error sending request"),
    ],
)
@pytest.mark.parametrize("act", ACTS)
async def test_a_server_that_does_not_serve_is_down(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, act: str, fault: S3Fault, said: str
) -> None:
    monkeypatch.setenv("AWS_TIMEOUT", "50ms")
    store = open_results_store(f"s3://{BUCKET}/images")
    s3.fault = fault
    with pytest.raises(ResultsStoreDown, match=said):
        await ACTS[act](store)
    assert s3.objects == {}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "unknown")],
)
async def test_wrong_credentials_are_refused_and_not_shown(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, act: str, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    store = open_results_store(f"s3://{BUCKET}/images")
    with pytest.raises(ResultsStoreDown, match="403 Forbidden") as raised:
        await ACTS[act](store)
    assert value not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("act", ["write", "write in parts", "read", "delete"])
@pytest.mark.usefixtures("s3")
async def test_a_bucket_that_does_not_exist_is_no_object_that_is_missing(act: str) -> None:
    store = open_results_store("s3://another/images")
    # A prune would take a missing object for deleted.
    with pytest.raises(ResultsStoreDown, match="NoSuchBucket: The specified bucket does not exist"):
        await ACTS[act](store)


async def test_a_bucket_that_may_only_be_read_says_so(bucket: OpenedStore) -> None:
    assert bucket.s3 is not None
    await bucket.store.put(KEY, in_chunks(b"x"), "image/png")
    bucket.s3.fault = S3Fault.READ_ONLY
    for act in ("write", "delete"):
        with pytest.raises(ResultsStoreDown, match="AccessDenied: Access Denied"):
            await ACTS[act](bucket.store)
    assert await read(bucket.store) == b"x"
