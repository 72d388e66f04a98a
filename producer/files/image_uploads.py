"""Uploads images to Kie: each content of an account once while Kie serves it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
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
from producer.orders.argument_types import require_type
from shared.adapters.kie.file_uploads import BASE64_BYTES_MAX, FileUploads
from shared.adapters.kie.kie_connection import UploadAccess
from shared.adapters.postgres.database import Database
from shared.domain.image_bytes import ImageType
from shared.errors import Fault, InvalidRequest, UploadsNotConfigured

ImageSource = bytes | str | os.PathLike[str] | Parts
"""The bytes of an image, the path of a local file, or the parts of an image as they come."""
_UPLOADS_AT_ONCE = 8
"""Of one call. A batch of 64 images is uploaded within the time for its answer."""


@dataclass(frozen=True, slots=True)
class ImagesOfOrder:
    """The images of an order that are not uploaded yet."""

    images: Sequence[LocalImage]
    account_id: str
    idempotency_key: str | None = None
    prefix: str = ""
    """What precedes the fields in faults, such as `jobs.3.`."""


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
        require_type(
            field, source, AsyncIterable, "give bytes, the path of a file, or an async iterable"
        )
        return await self._upload_parts(CheckedImage(source, field), account_id)

    async def upload_all(
        self,
        images: Sequence[LocalImage],
        *,
        account_id: str,
        idempotency_key: str | None = None,
    ) -> dict[str, str]:
        """Upload the images of a request, and return their URLs by their fields.

        If the job of this idempotency key names an earlier URL of one of them, that one is
        returned, so that a repeated request equals the first one.
        """
        order = ImagesOfOrder(images, account_id, idempotency_key)
        return (await self.upload_for_orders([order]))[0]

    async def upload_for_orders(self, orders: Sequence[ImagesOfOrder]) -> list[dict[str, str]]:
        """Upload the images of several orders like `upload_all`, equal ones of an account once.

        Raises `InvalidRequest` with the faults of all images. Another error of one upload is raised
        once the others have ended.
        """
        wanted = dict.fromkeys(
            (order.account_id, image.source) for order in orders for image in order.images
        )
        slots = asyncio.Semaphore(_UPLOADS_AT_ONCE)

        async def upload_one(account_id: str, source: bytes | Path) -> UploadedFile:
            async with slots:
                return await self.upload(source, account_id=account_id)

        results = await asyncio.gather(
            *(upload_one(*one) for one in wanted), return_exceptions=True
        )
        found = dict(zip(wanted, results, strict=True))
        _raise_errors(orders, found)
        files = {key: one for key, one in found.items() if isinstance(one, UploadedFile)}
        return [
            {
                image.field: await self._url_for(order, files[order.account_id, image.source])
                for image in order.images
            }
            for order in orders
        ]

    async def _url_for(self, order: ImagesOfOrder, file: UploadedFile) -> str:
        if order.idempotency_key is None:
            return file.url
        return await self._store.url_in_job(file, order.idempotency_key) or file.url

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


def _raise_errors(
    orders: Sequence[ImagesOfOrder],
    found: Mapping[tuple[str, bytes | Path], UploadedFile | BaseException],
) -> None:
    """Raise what uploads have raised. The faults of an image are of every field that has it."""
    faults = []
    for order in orders:
        for image in order.images:
            result = found[order.account_id, image.source]
            if isinstance(result, InvalidRequest):
                field = f"{order.prefix}{image.field}"
                faults += [Fault(field, one.message) for one in result.faults]
            elif isinstance(result, BaseException):
                raise result
    if faults:
        raise InvalidRequest(faults)


def _name_of(file_id: UUID, kind: ImageType) -> str:
    return f"{file_id}.{kind.extension}"


async def _rest_of(image: CheckedImage, start: deque[bytes]) -> AsyncIterator[bytes]:
    """Yield the whole image. Kie gets the end of the form only if the image is complete."""
    while start:
        yield start.popleft()
    async for part in image:
        yield part
    image.finish()
