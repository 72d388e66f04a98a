"""Saves images of jobs as files. A file that exists is never written over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from uuid import UUID

from producer.results.stored_images import StoredImages
from shared.adapters.http.image_download import DownloadFailed, ImageDownloader
from shared.adapters.results_store import StoredObject
from shared.domain.image_bytes import ImageReader, ImageType, NotAnImage
from shared.domain.job import Job, JobImage
from shared.errors import NotFound, ResultsStoreDown

Outcome = Literal["saved", "kept", "different", "failed"]
_EXTENSIONS = {one.value: one.extension for one in ImageType}


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image of a job that is to be a file."""

    job_id: UUID
    number: int
    """Counted from 1."""
    kie_url: str
    image: JobImage | None
    """What is known of it. None without a store."""


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What became of one image."""

    wanted: WantedImage
    outcome: Outcome
    """`saved`; `kept`: the file was there; `different`: another file has its name; `failed`."""
    file: Path | None = None
    bytes: int = 0
    error: str | None = None


def list_images(job: Job) -> list[WantedImage]:
    """Return the images of a job, those that came late last."""
    if job.images:
        return [
            WantedImage(job.id, number, image.kie_url, image)
            for number, image in enumerate(job.images, 1)
        ]
    urls = (*job.result_urls, *(job.late_result_urls or ()))
    return [WantedImage(job.id, number, url, None) for number, url in enumerate(urls, 1)]


class ImageFiles:
    """Saves images into one folder, from the store where they are, else from Kie."""

    def __init__(self, folder: Path, images: StoredImages, downloader: ImageDownloader) -> None:
        self._folder = folder
        self._images = images
        self._downloader = downloader

    async def save(self, wanted: WantedImage) -> SavedImage:
        """Save an image. Errors of its source become the outcome `failed`; others are raised."""
        stem = f"{wanted.job_id}-{wanted.number}"
        existing = self._find_file(stem)
        if existing is not None and wanted.image is None:
            # Nothing is known to compare it with.
            return SavedImage(wanted, "kept", existing, existing.stat().st_size)
        if existing is not None and wanted.image is not None and wanted.image.is_stored:
            same = _digest_of(existing) == wanted.image.sha256
            size = existing.stat().st_size
            return SavedImage(wanted, "kept" if same else "different", existing, size)
        try:
            async with self._open(wanted) as chunks:
                return await self._write(wanted, stem, chunks)
        except (DownloadFailed, NotFound, ResultsStoreDown, NotAnImage) as error:
            return SavedImage(wanted, "failed", error=str(error))

    def _find_file(self, stem: str) -> Path | None:
        names = (self._folder / f"{stem}.{extension}" for extension in _EXTENSIONS.values())
        return next((name for name in names if name.exists()), None)

    @asynccontextmanager
    async def _open(self, wanted: WantedImage) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the bytes of the copy, or of Kie's image where there is no copy here."""
        stored = await self._open_copy(wanted)
        if stored is not None:
            yield stored.chunks
            return
        async with self._downloader.open(wanted.kie_url) as chunks:
            yield chunks

    async def _open_copy(self, wanted: WantedImage) -> StoredObject | None:
        if wanted.image is None or not wanted.image.is_stored:
            return None
        try:
            return await self._images.open(await self._images.find(wanted.job_id, wanted.number))
        except (NotFound, ResultsStoreDown):
            return None

    async def _write(
        self, wanted: WantedImage, stem: str, chunks: AsyncIterator[bytes]
    ) -> SavedImage:
        part = self._folder / f".{stem}.{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                extension, size, digest = await _copy(chunks, file)
            expected = wanted.image.sha256 if wanted.image is not None else None
            if expected not in {None, digest}:
                raise DownloadFailed("its bytes are not those that were stored")
            target = self._folder / f"{stem}.{extension}"
            try:
                # Unlike a rename, a link does not replace a file that has the name.
                os.link(part, target)
            except FileExistsError:
                same = _digest_of(target) == digest
                return SavedImage(wanted, "kept" if same else "different", target, size)
            return SavedImage(wanted, "saved", target, size)
        finally:
            part.unlink(missing_ok=True)


async def _copy(chunks: AsyncIterator[bytes], file: IO[bytes]) -> tuple[str, int, str]:
    """Write the chunks. Returns the extension, the size and the SHA-256."""
    reader, digest, size = ImageReader(), hashlib.sha256(), 0
    async for chunk in chunks:
        if reader.head is None:
            try:
                reader.feed(chunk)
            except NotAnImage:
                if reader.head is None:
                    raise
        digest.update(chunk)
        size += len(chunk)
        file.write(chunk)
    if reader.head is None:
        raise NotAnImage("is cut off")
    return reader.head.type.extension, size, digest.hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
