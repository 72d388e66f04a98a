"""The methods of `Producer` for uploaded images."""

from __future__ import annotations

from uuid import UUID

from producer.files.image_uploads import ImageSource, ImageUploads
from producer.files.uploaded_file import UploadedFile
from producer.job_ids import read_uuid
from shared.errors import FileNotFound


class FileMethods:
    """The methods of `producer.Producer` for uploaded images."""

    files: ImageUploads
    """Uploads images to Kie."""

    async def upload(self, source: ImageSource, *, account_id: str) -> UploadedFile:
        """Upload an image to Kie for jobs of this account, and return it with its public URL.

        `source` is the bytes of the image, the path of a local file, or an asynchronous iterable of
        its parts. The image is a PNG, a JPEG or a WebP of up to 25 MiB and 100 million pixels,
        which its bytes alone decide. Kie serves it for 24 hours, and longer while a queued job
        names it. The same bytes of the same account return the same file, unless it is served for
        less than another hour. An upload costs nothing.

        Raises `InvalidRequest` for the image, `AccountNotFound`, `UploadFailed` if Kie does not
        take it, and `UploadsNotConfigured` without a key of Kie.
        """
        return await self.files.upload(source, account_id=account_id)

    async def get_file(self, file_id: UUID | str) -> UploadedFile:
        """Return an uploaded file, or raise `FileNotFound`."""
        found = file_id if isinstance(file_id, UUID) else read_uuid(file_id)
        if found is None:
            raise FileNotFound(str(file_id)[:80])
        return await self.files.get(found)
