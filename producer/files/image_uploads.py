"""Uploads images to Kie: each content of an account once while Kie serves it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

from producer.files.checked_image import (
    CheckedImage,
    Parts,
    parts_of_bytes,
    parts_of_file,
)
from producer.files.local_images import LocalImage
from producer.files.uploaded_file import FileStore, NewFile, UploadedFile, make_file_id
from shared.adapters.kie.file_uploads import BASE64_BYTES_MAX, FileUploads
from shared.adapters.kie.kie_connection import UploadAccess
from shared.adapters.postgres.database import Database
from shared.domain.image_bytes import ImageType
from shared.errors import UploadsNotConfigured

ImageSource = bytes | str | os.PathLike[str] | Parts
"""The bytes of an image, the path of a local file, or the parts of an image as they come."""


async def no_upload_access() -> UploadAccess:
    """Raise `UploadsNotConfigured`."""
    raise UploadsNotConfigured


class ImageUploads:
    """Uploads images, and finds those that were uploaded. Close it when it is not used any more."""

    def __init__(
        self, database: Database, choose_access: Callable[[], Awaitable[UploadAccess]]
    ) -> None:
        self._store = FileStore(database)
        self._choose_access = choose_access
        self._resources = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: FileUploads | None = None

    async def close(self) -> None:
        """Close the connections to Kie."""
        await self._resources.aclose()

    async def get(self, file_id: UUID) -> UploadedFile:
        """Return an uploaded file. Raises `FileNotFound`."""
        return await self._store.get(file_id)

    async def upload(
        self, source: ImageSource, *, account_id: str, field: str = "file"
    ) -> UploadedFile:
        """Upload an image, and return where it is. See `Producer.upload`.

        A fault of the image names `field`.
        """
        await self._store.require_account(account_id)
        if isinstance(source, bytes):
            return await self._upload_known(lambda: parts_of_bytes(source), account_id, field)
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            return await self._upload_known(lambda: parts_of_file(path, field), account_id, field)
        return await self._upload_parts(CheckedImage(source, field), account_id)

    async def upload_all(
        self,
        images: Iterable[LocalImage],
        *,
        account_id: str,
        idempotency_key: str | None = None,
    ) -> dict[str, str]:
        """Upload the images of a request, and return their URLs by their fields.

        If the job of this idempotency key names an earlier URL of one of them, that one is
        returned, so that a repeated request equals the first one.
        """
        urls = {}
        for image in images:
            file = await self.upload(image.source, account_id=account_id, field=image.field)
            urls[image.field] = (
                file.url
                if idempotency_key is None
                else await self._store.url_in_job(file, idempotency_key) or file.url
            )
        return urls

    async def _upload_known(
        self, read: Callable[[], Parts], account_id: str, field: str
    ) -> UploadedFile:
        """Upload an image that can be read twice: it is sent only if Kie does not serve it."""
        image = CheckedImage(read(), field)
        async for _ in image:
            pass
        image.finish()
        found = await self._store.find(account_id, image.sha256)
        return found or await self._upload_parts(CheckedImage(read(), field), account_id)

    async def _upload_parts(self, image: CheckedImage, account_id: str) -> UploadedFile:
        start: deque[bytes] = deque()
        async for part in image:
            start.append(part)
            if image.length > BASE64_BYTES_MAX:
                return await self._upload_stream(image, start, account_id)
        new = NewFile(account_id, image.sha256, image.length, image.finish(), make_file_id())
        found = await self._store.find(account_id, new.sha256)
        if found is not None:
            return found
        began, client = time.monotonic(), await self._open_client()
        name = _name_of(new.id, new.head.type)
        url = await client.upload_small(b"".join(start), name, new.head.type.value)
        return await self._store.record(new, url, time.monotonic() - began)

    async def _upload_stream(
        self, image: CheckedImage, start: deque[bytes], account_id: str
    ) -> UploadedFile:
        kind, file_id = image.type, make_file_id()
        if kind is None:
            raise RuntimeError("the first bytes tell the type")
        began, client = time.monotonic(), await self._open_client()
        url = await client.upload_stream(
            _rest_of(image, start), _name_of(file_id, kind), kind.value
        )
        new = NewFile(account_id, image.sha256, image.length, image.finish(), file_id)
        return await self._store.record(new, url, time.monotonic() - began)

    async def _open_client(self) -> FileUploads:
        async with self._opening:
            if self._client is None:
                access = await self._choose_access()
                self._client = await self._resources.enter_async_context(FileUploads(access))
            return self._client


def _name_of(file_id: UUID, kind: ImageType) -> str:
    return f"{file_id}.{kind.extension}"


async def _rest_of(image: CheckedImage, start: deque[bytes]) -> AsyncIterator[bytes]:
    """Yield the whole image. Kie gets the end of the form only if the image is complete."""
    while start:
        yield start.popleft()
    async for part in image:
        yield part
    image.finish()
