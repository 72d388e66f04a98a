"""The images that a request names, and which of them Kie could not download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.catalog.request_fields import list_values

_LIST_FIELD, _SINGLE_FIELD = "image_urls", "mask_url"
IMAGE_NOT_FETCHED_ADVICE = (
    "answers 200 with the image and without a login, or upload the image with POST /v1/files"
)
_GOES_ON = r"(?![\w/%?&=#~+-]|[.:,;][\w%])"
"""After a URL in a text: it is not the start of a longer URL."""


def images_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the URLs of the images of a request by their fields, such as `image_urls.0`."""
    listed = fields.get(_LIST_FIELD)
    urls = {
        f"{_LIST_FIELD}.{index}": url
        for index, url in enumerate(listed if isinstance(listed, list | tuple) else [])
        if isinstance(url, str)
    }
    mask = fields.get(_SINGLE_FIELD)
    return {**urls, _SINGLE_FIELD: mask} if isinstance(mask, str) else urls


def explain_unfetched_image(message: str, fields: Mapping[str, Any]) -> str:
    """Return Kie's message about an image that it could not download, with the field of the image.

    Kie has said which image it is if its message has the URL, or if there is one image. Otherwise
    all fields are named, as those among which Kie does not tell.
    """
    images = images_of(fields)
    named = [
        field
        for field, url in images.items()
        if re.search(re.escape(url) + _GOES_ON, message) or len(images) == 1
    ]
    if named:
        which = f"{list_values(named, 'and')}: check that the URL {IMAGE_NOT_FETCHED_ADVICE}"
    elif images:
        which = (
            f"one of {list_values([*images], 'and')}, and does not say which: check that each URL"
            f" {IMAGE_NOT_FETCHED_ADVICE}"
        )
    else:
        return message
    return f"{message}; Kie could not download {which}"
