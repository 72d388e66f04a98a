"""An uploaded image, its row in `files`, and its JSON object."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from producer.row_json import row_to_json
from shared.adapters.kie.file_uploads import FILE_LIFE_SECONDS
from shared.adapters.postgres.database import Database
from shared.domain.image_bytes import ImageHead
from shared.errors import AccountNotFound, FileNotFound

REUSED_SECONDS_MIN = 3600.0
"""A file that is served for less than this is uploaded again when its bytes come again."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An image at Kie's upload host. Pass `url` as one of the `image_urls` of a job."""

    id: UUID
    account_id: str
    url: str
    """Public. Everybody who knows it can read the image."""
    sha256: str
    """In hexadecimal digits."""
    bytes: int
    content_type: str
    """`image/png`, `image/jpeg` or `image/webp`, as the bytes tell it."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    created_at: datetime
    expires_at: datetime
    """Until when `url` is served. While a queued job names it, the file is renewed before."""


def file_to_json(file: UploadedFile) -> dict[str, Any]:
    """Return the file as a JSON object."""
    return row_to_json({one.name: getattr(file, one.name) for one in fields(file)})


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is known of a file before it has a row."""

    account_id: str
    sha256: bytes
    length: int
    head: ImageHead
    id: UUID


def make_file_id() -> UUID:
    """Return a new id. It becomes part of the URL, so it cannot be guessed."""
    return uuid7()


class FileStore:
    """The rows of `files`. Every method may raise `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def require_account(self, account_id: str) -> None:
        """Raise `AccountNotFound` if there is no such account."""
        if await self._database.fetch_row("account_exists", account_id) is None:
            raise AccountNotFound(account_id)

    async def find(self, account_id: str, sha256: bytes) -> UploadedFile | None:
        """Return the file with these bytes if it is served for another hour."""
        row = await self._database.fetch_row(
            "find_file_of_content", account_id, sha256, REUSED_SECONDS_MIN
        )
        return None if row is None else _file_of(row)

    async def record(self, new: NewFile, url: str, seconds_since_upload: float) -> UploadedFile:
        """Store a file with its URL. If its bytes are stored and served, return that file."""
        row = await self._database.fetch_row(
            "record_file",
            *(new.id, new.account_id, new.sha256, new.length, new.head.type.value),
            *(new.head.width, new.head.height, url),
            max(0.0, FILE_LIFE_SECONDS - seconds_since_upload),
            REUSED_SECONDS_MIN,
        )
        if row is None:
            raise RuntimeError("the statement returns a row")
        return _file_of(row)

    async def url_in_job(self, file: UploadedFile, idempotency_key: str) -> str | None:
        """Return the URL by which the job of this key names the file, now or formerly."""
        row = await self._database.fetch_row(
            "url_of_file_in_job", file.account_id, idempotency_key, file.id
        )
        return None if row is None else str(row["url"])

    async def get(self, file_id: UUID) -> UploadedFile:
        """Return the file. Raises `FileNotFound`."""
        row = await self._database.fetch_row("file_by_id", file_id)
        if row is None:
            raise FileNotFound(str(file_id))
        return _file_of(row)


def _file_of(row: asyncpg.Record) -> UploadedFile:
    values = dict(row)
    return UploadedFile(**{**values, "sha256": values["sha256"].hex()})
