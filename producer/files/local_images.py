"""Images in a request that are not at a URL yet: `data:` URLs, and paths of local files.

They are uploaded before the order is stored, so `jobs.request` has public URLs alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Fault, InvalidRequest

DATA_URL = "data:"
IMAGES_MAX = 16
"""The most images that any model takes. Further ones are refused as too many, and not uploaded."""
_LIST_FIELD, _SINGLE_FIELD = "image_urls", "mask_url"
_STAND_IN = "https://example.com/an-image-that-is-uploaded-next"
"""Stands for an image while the other fields are checked."""
_HAS_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_BASE64 = re.compile(r"[^,]*;base64", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image to upload, and the field that names it, such as `image_urls.0`."""

    field: str
    source: bytes | Path


@dataclass(frozen=True, slots=True)
class RequestImages:
    """The fields of a request, and those of its images that are not at a URL yet."""

    fields: Mapping[str, Any]
    images: tuple[LocalImage, ...]

    @property
    def checkable(self) -> dict[str, Any]:
        """The fields with a URL in the place of each image, to check before the upload."""
        return self.with_urls({one.field: _STAND_IN for one in self.images})

    def with_urls(self, urls: Mapping[str, str]) -> dict[str, Any]:
        """Return the fields with these URLs in the place of the images, by their fields."""
        fields = dict(self.fields)
        if _SINGLE_FIELD in urls:
            fields[_SINGLE_FIELD] = urls[_SINGLE_FIELD]
        given = fields.get(_LIST_FIELD)
        if isinstance(given, list | tuple):
            fields[_LIST_FIELD] = [
                urls.get(f"{_LIST_FIELD}.{index}", one) for index, one in enumerate(given)
            ]
        return fields


def find_local_images(fields: Mapping[str, Any], *, allow_paths: bool) -> RequestImages:
    """Return the fields with those of their images that are not at a URL yet.

    With `allow_paths`, a text without a scheme is the path of a local file. Raises
    `InvalidRequest` for `data:` URLs that cannot be read.
    """
    given: list[tuple[str, object]] = [(_SINGLE_FIELD, fields.get(_SINGLE_FIELD))]
    listed = fields.get(_LIST_FIELD)
    if isinstance(listed, list | tuple):
        given += [(f"{_LIST_FIELD}.{index}", one) for index, one in enumerate(listed[:IMAGES_MAX])]
    images: list[LocalImage] = []
    faults: list[Fault] = []
    for field, text in given:
        if not isinstance(text, str):
            continue
        if text[: len(DATA_URL)].lower() == DATA_URL:
            data = _read_data_url(text)
            if isinstance(data, str):
                faults.append(Fault(field, data))
            else:
                images.append(LocalImage(field, data))
        elif allow_paths and text and not _HAS_SCHEME.match(text):
            images.append(LocalImage(field, Path(text)))
    if faults:
        raise InvalidRequest(faults)
    return RequestImages(fields, tuple(images))


def _read_data_url(text: str) -> bytes | str:
    """Return the bytes of a `data:` URL, or what is wrong with it. The type is not read."""
    head, comma, encoded = text[len(DATA_URL) :].partition(",")
    if not comma or not _BASE64.fullmatch(head):
        return "is a data: URL, but not of the form data:image/png;base64,..."
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return "is a data: URL whose base64 cannot be read"
