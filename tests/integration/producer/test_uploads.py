"""Images of callers are checked, uploaded to Kie, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from producer import AccountNotFound, FileNotFound, InvalidRequest, Producer, UploadFailed
from producer import UploadsNotConfigured as NotConfigured
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from tests.fakes.fake_uploads import KEY, FakeUploads, receiving_uploads
from tests.support.example_images import encoded_image, large_png

PNG = encoded_image("PNG")
LARGE = large_png(3_000_000)


@pytest.fixture
async def kie() -> AsyncIterator[FakeUploads]:
    async with receiving_uploads() as fake:
        yield fake


@pytest.fixture
async def uploader(servers: Servers, kie: FakeUploads) -> AsyncIterator[Producer]:
    async with Producer.connect_to(servers, upload_access=kie.choose_access) as producer:
        for name in ("acme", "other"):
            await producer.billing.create_account(name)
        yield producer


async def in_parts(data: bytes, part_bytes: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), part_bytes):
        yield data[start : start + part_bytes]


def fault_of(error: InvalidRequest) -> tuple[str, str]:
    [fault] = error.faults
    return fault.field, fault.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_small_image_is_uploaded_as_base64(
    uploader: Producer, kie: FakeUploads, kind: str
) -> None:
    data = encoded_image(kind)
    file = await uploader.upload(data, account_id="acme")
    assert kie.stored[file.url] == data
    assert kie.requests == ["base64-upload"]
    assert (file.content_type, file.width, file.height) == (f"image/{kind.lower()}", 37, 23)
    assert (file.bytes, file.sha256) == (len(data), sha256(data).hexdigest())
    assert 86_000 < (file.expires_at - file.created_at).total_seconds() <= 86_400
    assert await uploader.get_file(file.id) == file


async def test_a_large_image_is_streamed(uploader: Producer, kie: FakeUploads) -> None:
    file = await uploader.upload(in_parts(LARGE), account_id="acme")
    assert kie.requests == ["stream-upload"]
    assert (kie.sizes[file.url], kie.stored[file.url]) == (len(LARGE), LARGE[:64])
    assert kie.fields == [{"uploadPath": "darkroom", "fileName": f"{file.id}.png"}]
    assert file.sha256 == sha256(LARGE).hexdigest()


async def test_a_path_is_uploaded_and_a_missing_one_is_a_fault(
    uploader: Producer, kie: FakeUploads, tmp_path: Path
) -> None:
    path = tmp_path / "cat.gif"
    path.write_bytes(LARGE)
    file = await uploader.upload(path, account_id="acme")
    assert file.content_type == "image/png"
    assert await uploader.upload(str(path), account_id="acme") == file
    assert len(kie.requests) == 1
    with pytest.raises(InvalidRequest) as refused:
        await uploader.upload(tmp_path / "dog.png", account_id="acme")
    field, message = fault_of(refused.value)
    assert field == "file"
    assert "dog.png' cannot be read: No such file" in message


@pytest.mark.parametrize("data", [PNG, LARGE])
async def test_the_same_bytes_are_one_file_of_each_account(
    uploader: Producer, kie: FakeUploads, data: bytes
) -> None:
    first = await uploader.upload(data, account_id="acme")
    assert await uploader.upload(data, account_id="acme") == first
    assert len(kie.requests) == 1
    assert await uploader.upload(in_parts(data), account_id="acme") == first
    other = await uploader.upload(data, account_id="other")
    assert other.id != first.id
    assert other.url != first.url


async def test_the_same_bytes_at_once_are_one_file(uploader: Producer) -> None:
    uploads = [uploader.upload(in_parts(LARGE), account_id="acme") for _ in range(5)]
    assert len(set(await asyncio.gather(*uploads))) == 1


async def test_a_file_that_soon_expires_is_uploaded_again_and_stays_the_same_file(
    uploader: Producer, database: Database
) -> None:
    first = await uploader.upload(PNG, account_id="acme")
    await database.pool.execute("UPDATE files SET expires_at = now() + interval '59 minutes'")
    again = await uploader.upload(PNG, account_id="acme")
    assert again.id == first.id
    assert again.url != first.url
    assert again.expires_at > first.expires_at
    row = await database.pool.fetchrow("SELECT former_urls FROM files")
    assert row is not None
    assert row["former_urls"] == [first.url]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (PNG[:30], "is cut off"),
        (LARGE[:-1], "is cut off"),
        (LARGE + b"<script>", "after its end"),
        (b"GIF89a" + bytes(400_000), "is a GIF"),
        (large_png(25 * 1024 * 1024 + 1), "larger than 25 MiB"),
    ],
)
async def test_what_is_no_image_is_a_fault_and_is_not_stored(
    uploader: Producer, kie: FakeUploads, database: Database, data: bytes, words: str
) -> None:
    for source in (data, in_parts(data, 65_536)):
        with pytest.raises(InvalidRequest) as refused:
            await uploader.upload(source, account_id="acme")
        field, message = fault_of(refused.value)
        assert field == "file"
        assert words in message
    assert not kie.stored
    assert not await database.pool.fetch("SELECT FROM files")


async def test_an_image_of_25_mib_is_taken(uploader: Producer, kie: FakeUploads) -> None:
    data = large_png(25 * 1024 * 1024)
    file = await uploader.upload(in_parts(data, 65_536), account_id="acme")
    assert kie.sizes[file.url] == file.bytes == 25 * 1024 * 1024


async def test_an_error_of_the_callers_parts_is_raised_and_nothing_is_stored(
    uploader: Producer, kie: FakeUploads
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield LARGE[:2_000_000]
        raise RuntimeError("the caller is gone")

    with pytest.raises(RuntimeError, match="the caller is gone"):
        await uploader.upload(breaking(), account_id="acme")
    assert not kie.stored


async def test_an_unknown_account_is_refused_before_anything_is_read(uploader: Producer) -> None:
    async def unread() -> AsyncIterator[bytes]:
        was_read.append(True)
        yield PNG

    was_read: list[bool] = []
    with pytest.raises(AccountNotFound):
        await uploader.upload(unread(), account_id="nobody")
    assert not was_read


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {"success": False, "code": 400, "msg": "Missing parameter"}), "400: Missing"),
        ((200, {"success": False, "code": 401, "msg": f"Bearer {KEY} is wrong"}), "[key] is wrong"),
        ((405, {"code": 200}), "405"),
        ((200, ["not", "an", "object"]), "no further words"),
        ((200, {"code": 200, "data": {"downloadUrl": "http://10.0.0.1/a.png"}}), "not public"),
        ((200, {"code": 200, "success": True, "data": {}}), "must be text"),
    ],
)
async def test_what_kie_does_not_take_is_an_error_without_the_key(
    uploader: Producer, kie: FakeUploads, answer: tuple[int, object], words: str
) -> None:
    for source in (PNG, LARGE):
        kie.answers = [answer]
        with pytest.raises(UploadFailed) as failed:
            await uploader.upload(source, account_id="acme")
        assert words in str(failed.value)
        assert KEY not in str(failed.value)
    assert (await uploader.upload(PNG, account_id="acme")).bytes == len(PNG)


async def test_base64_that_kie_fails_is_streamed(uploader: Producer, kie: FakeUploads) -> None:
    kie.answers = [(200, {"success": False, "code": 500, "msg": "Server exception"})]
    file = await uploader.upload(PNG, account_id="acme")
    assert kie.requests == ["base64-upload", "stream-upload"]
    assert kie.sizes[file.url] == len(PNG)


async def test_without_an_upload_host_that_answers_there_is_an_error(servers: Servers) -> None:
    async with receiving_uploads() as kie:
        access = kie.access

    async def choose() -> object:
        return access

    async with Producer.connect_to(servers, upload_access=choose) as producer:  # type: ignore[arg-type]
        await producer.billing.create_account("acme")
        with pytest.raises(UploadFailed, match="does not answer"):
            await producer.upload(PNG, account_id="acme")


async def test_without_a_key_of_kie_the_error_says_what_to_set(producer: Producer) -> None:
    await producer.billing.create_account("acme")
    with pytest.raises(NotConfigured, match="KIE_UPLOAD_KEY"):
        await producer.upload(PNG, account_id="acme")


async def test_a_file_that_is_not_there_is_not_found(producer: Producer) -> None:
    for name in ("019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11", "cat.png"):
        with pytest.raises(FileNotFound, match=name):
            await producer.get_file(name)
