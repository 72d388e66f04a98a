"""Finds the local files in the images of an order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UPLOAD_BYTES_MAX = 25 * 1024 * 1024


def read_image(source: str | os.PathLike[str] | bytes) -> bytes:
    """Return the bytes of a local file, or the given ones. Raises `OSError` and `ValueError`."""
    if isinstance(source, bytes):
        return source
    path = Path(source)
    size = path.stat().st_size
    if size > UPLOAD_BYTES_MAX:
        raise ValueError(f"{path} has {size:,} bytes; at most {UPLOAD_BYTES_MAX:,} are taken")
    return path.read_bytes()


def local_images(order: Mapping[str, Any]) -> list[os.PathLike[str]]:
    """Return each path in `image_urls` and `mask_url`. A `str` is a URL, and never a path."""
    given = [*_listed(order), order.get("mask_url")]
    return list(dict.fromkeys(one for one in given if isinstance(one, os.PathLike)))


def with_urls(order: Mapping[str, Any], urls: Mapping[os.PathLike[str], str]) -> dict[str, Any]:
    """Return the order with the URLs of the uploaded files instead of their paths."""
    replaced = dict(order)
    if isinstance(order.get("image_urls"), list | tuple):
        replaced["image_urls"] = [_url(one, urls) for one in order["image_urls"]]
    if order.get("mask_url") is not None:
        replaced["mask_url"] = _url(order["mask_url"], urls)
    return replaced


def _listed(order: Mapping[str, Any]) -> list[Any]:
    images = order.get("image_urls")
    return list(images) if isinstance(images, list | tuple) else []


def _url(source: Any, urls: Mapping[os.PathLike[str], str]) -> Any:
    return urls[source] if isinstance(source, os.PathLike) else source


def image_file_name(number: int, content: bytes) -> str:
    """Return the name of a downloaded image: its number, and the ending of its type."""
    if content.startswith(b"\x89PNG"):
        return f"{number}.png"
    return f"{number}.webp" if content[8:12] == b"WEBP" else f"{number}.jpg"
