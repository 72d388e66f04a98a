"""A job and what can be done with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom_client.errors import JobFailed
from darkroom_client.generated.models import JobFields
from darkroom_client.http.calls import ENDED, fields_of
from darkroom_client.http.event_stream import Event
from darkroom_client.image_sources import image_file_name

if TYPE_CHECKING:
    from darkroom_client.async_client import AsyncDarkroom


@dataclass(frozen=True, kw_only=True)
class AsyncJob(JobFields):
    """A job as it was when it was read. Methods return it as it is then."""

    _darkroom: AsyncDarkroom = field(repr=False, compare=False)

    @classmethod
    def of(cls, fields: JobFields, darkroom: AsyncDarkroom) -> AsyncJob:
        """Return the job with the client that its methods use."""
        return cls(**fields_of(fields), _darkroom=darkroom)

    @property
    def has_ended(self) -> bool:
        """Whether the state is `succeeded`, `failed` or `cancelled`. It then never changes."""
        return self.state in ENDED

    @property
    def has_succeeded(self) -> bool:
        """Whether there are images, and the account is charged."""
        return self.state == "succeeded"

    def raise_for_failure(self) -> AsyncJob:
        """Return the job, or raise `JobFailed` if it ended without images."""
        if self.has_ended and not self.has_succeeded:
            raise JobFailed(self.id, self.state, self.reason, self.message)
        return self

    async def refresh(self) -> AsyncJob:
        """Return the job as it is now."""
        return await self._darkroom.job(self.id)

    async def wait(self, timeout_seconds: float = 600.0) -> AsyncJob:
        """Return the job when it has ended. Raises `WaitTimedOut`, and the job goes on."""
        if self.has_ended:
            return self
        return await self._darkroom.wait(self.id, timeout_seconds, last_known=self)

    async def cancel(self) -> AsyncJob:
        """Cancel the job, or request that while it is at Kie. Raises `TooLateToCancel`."""
        return await self._darkroom.cancel(self.id)

    async def retry(self, *, again: bool = False) -> AsyncJob:
        """Run the request of the ended job again, as a new job.

        `again` is for a job that succeeded. A job has one retry: a second call returns the job of
        the first.
        """
        return await self._darkroom.retry(self.id, again=again)

    def events(self, last_event_id: str | None = None) -> AsyncIterator[Event]:
        """Yield the events of the job, from the start or after that one, until it has ended."""
        return self._darkroom.events(self.id, last_event_id)

    async def download(self, number: int = 1) -> bytes:
        """Return the bytes of one image of a job that succeeded; the first has the number 1."""
        return await self._darkroom.download(self.id, number)

    async def save_images(self, folder: str | PathLike[str]) -> list[Path]:
        """Write every image into the folder as `1.png`, `2.png` and so on. Return the files."""
        files = []
        for number in range(1, len(self.result_urls) + 1):
            content = await self.download(number)
            file = Path(folder, image_file_name(number, content))
            file.write_bytes(content)
            files.append(file)
        return files
