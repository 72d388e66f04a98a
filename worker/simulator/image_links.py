"""The addresses of result images, which do not have the id of their task in them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlencode

IMAGES = "/images/"
"""Where all plain addresses begin."""
FRESH_IMAGES = "/fresh/"
"""Where the addresses of download-url begin. They are signed, and valid for a short time."""

_PATH = re.compile(r"/(?:images|fresh)/([0-9a-f]{32})_([0-9]{1,2})\.png")
# Any number hides the id. Without a table, the addresses of a long run cost no memory.
_MASK = 0x5BD1E995C2B2AE3D27D4EB2F165667B1
_SIGNING_KEY = b"the simulator's bucket"


def image_path(task_id: str, number: int) -> str:
    """Return the path of the image of this number, counted from 1."""
    return f"{IMAGES}{int(task_id, 16) ^ _MASK:032x}_{number}.png"


def read_image_path(path: str) -> tuple[str, int] | None:
    """Return the task id and the number of an image, or None where it is no path of an image."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return f"{int(match[1], 16) ^ _MASK:032x}", int(match[2])


def presign(path: str, *, now_epoch: float, valid_seconds: float) -> str:
    """Return the path with a query that is valid for so long, in the manner of Amazon's S3."""
    facts = {"X-Amz-Expires": f"{valid_seconds:g}", "until": f"{now_epoch + valid_seconds:.3f}"}
    signature = _sign(path, facts)
    return f"{path}?{urlencode({**facts, 'X-Amz-Signature': signature})}"


def is_signed(path: str, query: Mapping[str, str], *, now_epoch: float) -> bool:
    """Whether the query was made by `presign` for this path and is still valid."""
    facts = {name: query.get(name, "") for name in ("X-Amz-Expires", "until")}
    if not hmac.compare_digest(_sign(path, facts), query.get("X-Amz-Signature", "")):
        return False
    return now_epoch < float(facts["until"])


def _sign(path: str, facts: Mapping[str, str]) -> str:
    signed = "\n".join((path, *facts.values())).encode()
    return hmac.new(_SIGNING_KEY, signed, hashlib.sha256).hexdigest()
