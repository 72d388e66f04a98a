"""The methods of `Producer` for uploaded images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from producer.files.image_checks import ImageChecks
from producer.files.image_uploads import ImageSource, ImageUploads
from producer.files.local_images import find_local_images
from producer.files.uploaded_file import UploadedFile
from producer.job_ids import read_uuid
from shared.catalog import ImageRequest
from shared.errors import FileNotFound


class FileMethods:
    """The methods of `producer.Producer` for uploaded images."""

    files: ImageUploads
    """Uploads images to Kie."""
    images: ImageChecks
    """Checks the images of requests."""

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

    async def with_uploaded_images(
        self,
        fields: Mapping[str, Any],
        *,
        account_id: str,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Return the fields of a request with public URLs in the place of local images.

        A local image is a `data:` URL with base64, or the path of a local file, in `image_urls` or
        `mask_url`. Each is uploaded like with `upload`. For example
        `ImageToImage(**await producer.with_uploaded_images(fields, account_id="acme"))`. Pass the
        idempotency key of the job, so that a repetition after a day still names the same URL.

        Raises the errors of `upload`. Faults name the field, such as `image_urls.0`.
        """
        found = find_local_images(fields, allow_paths=True)
        urls = await self.files.upload_all(
            found.images, account_id=account_id, idempotency_key=idempotency_key
        )
        return found.with_urls(urls)

    async def check_images(self, request: ImageRequest, *, account_id: str) -> None:
        """Request the start of each image of a request, as Kie will do.

        Only public addresses are requested, also behind redirects. An uploaded file of the account
        is not requested: it is known until when Kie serves it. Raises `InvalidRequest` with a fault
        for each image that does not answer, is no PNG, JPEG or WebP, or is larger than 25 MiB.
        """
        await self.images.check(request, account_id)

    async def close_clients(self) -> None:
        """Close the connections for uploads and for checks."""
        await self.files.close()
        await self.images.close()

    async def get_file(self, file_id: UUID | str) -> UploadedFile:
        """Return an uploaded file, or raise `FileNotFound`."""
        found = file_id if isinstance(file_id, UUID) else read_uuid(str(file_id))
        if found is None:
            raise FileNotFound(str(file_id)[:80])
        return await self.files.get(found)
