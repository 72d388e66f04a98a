"""The routes of uploaded images."""

from __future__ import annotations

from collections.abc import Mapping

from producer.api.endpoint import ENQUEUE_ROLES, WRITE_ROLES, Endpoint, Parameter
from producer.api.handlers import file_handlers
from producer.api.requests.upload_body import FILE_FIELD, UPLOAD_SECONDS
from producer.files.checked_image import FILE_BYTES_MAX
from producer.orders.field_limits import ACCOUNT_LENGTH
from shared.domain.image_bytes import ImageType
from shared.errors import DarkroomError, FileNotFound

_BINARY = {"type": "string", "format": "binary"}


def _file_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return FileNotFound(parts["id"][:80])


FILE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/files",
        handler=file_handlers.upload_file,
        name="uploadFile",
        summary="Upload an image for image-to-image jobs",
        tag="files",
        roles=ENQUEUE_ROLES,
        parameters=(
            Parameter(
                "account_id",
                {"type": "string", "minLength": 1, "maxLength": ACCOUNT_LENGTH},
                "whose file it is. A service key may leave it out: it is of its own account",
            ),
        ),
        uploads={
            **{one.value: {"contentMediaType": one.value} for one in ImageType},
            "multipart/form-data": {
                "type": "object",
                "properties": {FILE_FIELD: _BINARY},
                "required": [FILE_FIELD],
                "additionalProperties": False,
            },
        },
        body_limit=FILE_BYTES_MAX,
        responses={201: "File"},
        response_headers=("Location",),
        problems=(422, 501),
        timeout_seconds=UPLOAD_SECONDS + 30,
        description="The bytes alone decide the type. The same bytes again are the same file.",
    ),
    Endpoint(
        method="GET",
        path="/v1/files/{id}",
        handler=file_handlers.show_file,
        name="getFile",
        summary="Show an uploaded image",
        tag="files",
        roles=WRITE_ROLES,
        path_schemas={"id": {"type": "string", "format": "uuid"}},
        not_found=_file_not_found,
        responses={200: "File"},
        problems=(404,),
    ),
)
