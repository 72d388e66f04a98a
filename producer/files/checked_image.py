"""Passes the bytes of an image on while it checks, counts and hashes them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from pathlib import Path

from producer.files.local_images import LocalImage
from shared.domain.image_bytes import ImageHead, ImageReader, ImageType, NotAnImage
from shared.errors import Fault, InvalidRequest

FILE_BYTES_MAX = 25 * 1024 * 1024
PART_BYTES = 64 * 1024

Parts = AsyncIterable[bytes]


class CheckedImage:
    """The parts of an image that was not read yet. Iterate over it once, then call `finish`.

    Raises `InvalidRequest`, with a fault of `field`, as soon as the bytes show that they are no
    image that is taken, or too many.
    """

    def __init__(self, parts: Parts, field: str) -> None:
        self._parts = aiter(parts)
        self._field = field
        self._reader = ImageReader()
        self._digest = hashlib.sha256()

    @property
    def length(self) -> int:
        """How many bytes have passed."""
        return self._reader.length

    @property
    def sha256(self) -> bytes:
        """The digest of the bytes that have passed."""
        return self._digest.digest()

    @property
    def type(self) -> ImageType | None:
        """The type, once the first bytes have told it."""
        return self._reader.type

    def __aiter__(self) -> CheckedImage:
        return self

    async def __anext__(self) -> bytes:
        part = await anext(self._parts)
        if self._reader.length + len(part) > FILE_BYTES_MAX:
            raise self._refuse(f"is larger than {FILE_BYTES_MAX // 2**20} MiB, the most of a file")
        try:
            self._reader.feed(part)
        except NotAnImage as error:
            raise self._refuse(str(error)) from error
        self._digest.update(part)
        return part

    def finish(self) -> ImageHead:
        """Return what the image is. Raises `InvalidRequest` if it is not complete."""
        try:
            return self._reader.finish()
        except NotAnImage as error:
            raise self._refuse(str(error)) from error

    def _refuse(self, sentence: str) -> InvalidRequest:
        return InvalidRequest([Fault(self._field, sentence)])


async def check_local_images(images: Sequence[LocalImage]) -> None:
    """Read these images. Raises `InvalidRequest` with the faults of all that cannot be uploaded."""
    faults: list[Fault] = []
    for one in images:
        source = one.source
        parts = (
            parts_of_bytes(source)
            if isinstance(source, bytes)
            else parts_of_file(source, one.field)
        )
        image = CheckedImage(parts, one.field)
        try:
            async for _ in image:
                pass
            image.finish()
        except InvalidRequest as error:
            faults += error.faults
    if faults:
        raise InvalidRequest(faults)


async def parts_of_bytes(data: bytes) -> AsyncIterator[bytes]:
    """Yield the data in parts."""
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]


async def parts_of_file(path: Path, field: str) -> AsyncIterator[bytes]:
    """Yield a local file in parts. Raises `InvalidRequest` if it cannot be read."""
    try:
        opened = await asyncio.to_thread(path.open, "rb")
        with opened:
            while part := await asyncio.to_thread(opened.read, PART_BYTES):
                yield part
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise InvalidRequest([Fault(field, f"{str(path)!r:.200} cannot be read: {words}")]) from (
            error
        )
