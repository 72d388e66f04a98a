"""Renews uploaded images before Kie deletes them, while a queued job names them.

Kie serves a file for a day, and a job may wait for longer: for its `run_at`, a pause, or its turn.
Kie fetches the file from its present URL and stores it again, so no bytes pass through here.
"""

from __future__ import annotations

import asyncio
from secrets import token_hex

import structlog

from shared.adapters.kie.file_uploads import FILE_LIFE_SECONDS
from shared.adapters.monitoring.incident_log import incidents
from shared.domain.image_bytes import ImageType
from shared.errors import UploadFailed
from worker.dependencies import Dependencies

log = structlog.get_logger(__name__)

RENEWAL_SECONDS = 600.0
"""How often files that end soon are looked for."""
RENEWED_BEFORE_SECONDS = 8 * 3600.0
"""How long before its end a file is renewed. Kie's upload host may be away for so long."""
KEPT_DAYS = 30
"""How long the row of a file is kept after its end, so that a late job can be told of it."""
_FILES_PER_RUN = 200
_RENEWED_AT_ONCE = 4


class FileRenewal:
    """Renews files that end soon and that a queued job names, and deletes old rows."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def run(self) -> None:
        """Renew each such file once. One that Kie does not take is tried again at the next run."""
        queries = self._deps.queries
        rows = await queries.fetch("files_to_renew", RENEWED_BEFORE_SECONDS, _FILES_PER_RUN)
        limit = asyncio.Semaphore(_RENEWED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(
                    self._renew(limit, str(row["id"]), row["url"], row["content_type"])
                )
        await queries.fetch("prune_files", KEPT_DAYS)

    async def _renew(
        self, limit: asyncio.Semaphore, file_id: str, url: str, content_type: str
    ) -> None:
        # A new name: replacing a file may not give it another day.
        name = f"{file_id}-{token_hex(4)}.{ImageType(content_type).extension}"
        async with limit:
            try:
                renewed = await self._deps.file_uploads.upload_from(url, name)
            except UploadFailed as error:
                incidents.record_failure("file_not_renewed", file_id, error)
                return
        incidents.record_success("file_not_renewed", file_id)
        await self._deps.queries.fetch("renew_file", file_id, url, renewed, FILE_LIFE_SECONDS)
        log.info("file_renewed", file_id=file_id)
