"""The addresses of result images, which do not have the id of their task in them."""

from __future__ import annotations

import re

IMAGES = "/images/"
"""Where all addresses begin."""

_PATH = re.compile(r"/images/([0-9a-f]{32})_([0-9]{1,2})\.png")
# Any number hides the id. Without a table, an address of a long run costs no memory.
_MASK = 0x5BD1E995C2B2AE3D27D4EB2F165667B1


def image_path(task_id: str, number: int) -> str:
    """Return the path of the image of this number, counted from 1."""
    return f"{IMAGES}{int(task_id, 16) ^ _MASK:032x}_{number}.png"


def read_image_path(path: str) -> tuple[str, int] | None:
    """Return the task id and the number of an image, or None where it is no path of an image."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return f"{int(match[1], 16) ^ _MASK:032x}", int(match[2])
