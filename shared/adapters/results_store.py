"""The store of copies of images: a local folder, or a bucket of S3, Google Cloud or Azure.

The library obstore talks to all of them. It is needed only where RESULTS_URL is set, so it is
imported only there. An object appears at its key whole or not at all: a local one is written beside
its key and renamed, and one in a bucket is completed at the end.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.adapters.bucket_settings import read_bucket, variables_of
from shared.errors import ConfigurationError, ResultsStoreDown, SettingsRefused

_LOCAL_PART_BYTES = 256 * 1024
_BUCKET_PART_BYTES = 5 * 1024 * 1024
"""S3 takes no smaller parts, except for the last."""
_READ_BYTES = 64 * 1024
_RETRY_SECONDS = 20.0
_MESSAGE_LENGTH = 400
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
"""What S3, Azure and Google answer of a bucket that does not exist."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is being read."""

    size: int
    """In bytes."""
    chunks: AsyncIterator[bytes]
    """The bytes, in chunks of at least 64 KiB. Raises `ResultsStoreDown`."""


class ResultsStore:
    """A store of objects by key. Open it with `open_results_store`.

    Every method raises `ResultsStoreDown` if the store does not answer or refuses, such as a full
    disk.
    """

    def __init__(self, store: Any, *, folder: Path | None = None, name: str = "the store") -> None:
        """`store` is one of obstore. `folder` is that of a local store."""
        self._store = store
        self._folder = folder
        self._part_bytes = _BUCKET_PART_BYTES if folder is None else _LOCAL_PART_BYTES
        self.name = name
        """What it is, for people. Without credentials."""

    def __repr__(self) -> str:
        return f"ResultsStore({self.name})"

    async def put(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """Write an object, in place of one that has the key.

        It holds one part in memory: 256 KiB for a folder, up to 10 MiB for a bucket. An error of
        `chunks` is raised as it is, and nothing is written then.
        """
        if self._folder is None:
            await self._put_in_bucket(key, chunks, {"Content-Type": content_type})
            return
        await self._put_in_parts(key, chunks, None)
        with self._writing():
            # The row says that it is stored, which a power cut must not make untrue.
            await asyncio.to_thread(_flush_to_disk, self._folder / key)

    async def _put_in_bucket(self, key: str, chunks: AsyncIterator[bytes], attributes: Any) -> None:
        """Write an object by one request if it is no larger than a part, else in parts."""
        import obstore  # noqa: PLC0415

        start: list[bytes] = []
        size = 0
        async for chunk in chunks:
            start.append(chunk)
            size += len(chunk)
            if size > self._part_bytes:
                await self._put_in_parts(key, _join(start, chunks), attributes)
                return
        with self._writing():
            content = b"".join(start)
            await obstore.put_async(
                self._store, key, content, attributes=attributes, use_multipart=False
            )

    async def _put_in_parts(self, key: str, chunks: AsyncIterator[bytes], attributes: Any) -> None:
        import obstore  # noqa: PLC0415

        with self._writing():
            await obstore.put_async(
                self._store,
                key,
                chunks,
                attributes=attributes,
                use_multipart=True,
                chunk_size=self._part_bytes,
                max_concurrency=1,
            )

    async def open(self, key: str) -> StoredObject | None:
        """Open an object for reading; None if there is none."""
        import obstore  # noqa: PLC0415

        try:
            with self._translated("read"):
                found = await obstore.get_async(self._store, key)
                return StoredObject(int(found.meta["size"]), self._read_chunks(found))
        except FileNotFoundError:
            return None

    async def _read_chunks(self, found: Any) -> AsyncIterator[bytes]:
        with self._translated("read"):
            async for chunk in found.stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    async def contains(self, key: str) -> bool:
        """Return whether there is an object with this key."""
        import obstore  # noqa: PLC0415

        try:
            with self._translated("read"):
                await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Those that do not exist count as deleted."""
        import obstore  # noqa: PLC0415

        for key in keys:
            try:
                with self._translated("delete"):
                    await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue

    async def sign(self, key: str, *, valid_seconds: float) -> str | None:
        """Return a link by which anybody can read the object for that long.

        None for a folder, and where the credentials of a bucket cannot sign.
        """
        import obstore  # noqa: PLC0415

        if self._folder is not None:
            return None
        try:
            with self._translated("sign for"):
                lifetime = timedelta(seconds=valid_seconds)
                return await obstore.sign_async(self._store, "GET", key, lifetime)
        except (ResultsStoreDown, FileNotFoundError, TypeError):
            return None

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Raise errors of the library as ours. A missing object stays `FileNotFoundError`."""
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            yield
        except FileNotFoundError as error:
            if any(code in str(error) for code in _NO_BUCKET):
                raise self._down(doing, error) from error
            raise
        except (BaseError, OSError) as error:
            raise self._down(doing, error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """As `_translated`. What a write does not find is a part of the store itself."""
        try:
            with self._translated("write"):
                yield
        except FileNotFoundError as error:
            raise self._down("write", error) from error

    def _down(self, doing: str, error: BaseException) -> ResultsStoreDown:
        return ResultsStoreDown(f"cannot {doing} {self.name}: {_explain(error)}")


async def _join(start: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while start:
        yield start.pop(0)
    async for chunk in rest:
        yield chunk


def _explain(error: BaseException) -> str:
    """Return what an error of the library says, in one line and without its debug output."""
    text = str(error).partition("\n\nDebug source")[0] or type(error).__name__
    # Of an answer in XML, the two elements that say what is wrong.
    head, _, answer = text.partition("<?xml")
    said = [found.group(1) for name in ("Code", "Message") if (found := _element(name, answer))]
    lines = head.rstrip(": ").splitlines() or [text]
    return ": ".join([lines[0], *said])[:_MESSAGE_LENGTH]


def _element(name: str, xml: str) -> re.Match[str] | None:
    return re.search(f"<{name}>(.*?)</{name}>", xml, re.DOTALL)


def _flush_to_disk(path: Path) -> None:
    for one in (path, path.parent):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _require_folder(folder: Path, *, makes_folder: bool) -> None:
    """Raise `ValueError` or `OSError` if this is no folder, and may not become one."""
    if folder.is_dir():
        return
    if folder.exists():
        raise ValueError(f"{folder} is no folder")
    if not folder.parent.is_dir():
        raise ValueError(
            f"there is no folder {folder.parent}: correct the path, mount its disk, or make the"
            " folder. Workers and APIs make only the last folder of the path"
        )
    if not makes_folder:
        raise ValueError(
            f"there is no folder {folder}: set RESULTS_URL as the workers have it, where their disk"
            " is mounted, or make the folder"
        )
    folder.mkdir(exist_ok=True)


def open_results_store(url: str | None, *, makes_folder: bool = True) -> ResultsStore:
    """Return the store of RESULTS_URL. With `makes_folder`, a local folder is made if needed.

    The folder around it must exist: a mistyped path would otherwise be a folder that nobody reads.

    Credentials of buckets are read from the environment, as by their own tools. Raises
    `ConfigurationError` if the extra `results` is not installed, `SettingsRefused` if the store
    cannot be used so.
    """
    if url is None:
        raise ConfigurationError("RESULTS_URL is not set here: set it as the workers have it")
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415
        from obstore.store import LocalStore, from_url  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "RESULTS_URL is set, but the packages that it needs are not installed: install"
            " darkroom-queue[results], or unset RESULTS_URL"
        ) from error
    parts = urlsplit(url)
    name = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    try:
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            _require_folder(folder, makes_folder=makes_folder)
            return ResultsStore(LocalStore(folder), folder=folder, name=name)
        bucket = read_bucket(url, os.environ)
    except (BaseError, OSError, ValueError) as error:
        raise SettingsRefused(f"RESULTS_URL {name} cannot be used: {_explain(error)}") from error
    try:
        retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)}
        options: Any = {"retry_config": retries, **bucket.options}
        store: Any = from_url(bucket.url, **options)
        return ResultsStore(store, name=name)
    except (BaseError, OSError, ValueError, TypeError) as error:
        found = ", ".join(variables_of(parts.scheme, os.environ)) or "none"
        raise SettingsRefused(
            f"RESULTS_URL {name} cannot be used: {_explain(error)}. Variables of its client in the"
            f" environment: {found}"
        ) from error
