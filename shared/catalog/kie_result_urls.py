"""Finds the image URLs in a task record that reports success: all of them, or none.

Kie's documentation names several fields for the same list. All fields are read. If two have values,
they must name the same images. One entry that is not a complete URL makes the list unreadable,
because the number of images, and therefore the charge, would be a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

_URL_LENGTH_MAX = 4096
_FIELDS = ("resultUrls", "result_urls", "resultImageUrl")
"""4o image and the Market, the quickstart and the callbacks, Flux Kontext."""
_CONTAINERS = ("response", "resultJson", "resultInfoJson", "info")
"""4o image and Flux Kontext, the Market, Midjourney, the callbacks."""
_MAY_BE_THE_LIST = frozenset({"response", "resultJson"})
_URL_OF_OBJECT = "resultUrl"
"""Midjourney has one object per image."""
_NEVER_IN_A_URL = frozenset('"<>\\^`{|} ')


@dataclass(frozen=True, slots=True)
class ResultUrls:
    """The image URLs of one record, or why they cannot be read."""

    urls: tuple[str, ...]
    """The distinct URLs. Two equal URLs are one image."""
    fault: str | None = None
    """Why the images are unreadable. None if `urls` is certain."""


def read_result_urls(record: Mapping[str, object]) -> ResultUrls:
    """Return the image URLs of the record. Without any URL, the fault says so."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for field, value in _filled_fields(record):
        urls = _urls_of(value)
        if urls is None:
            return ResultUrls((), f"{field} is not a list of whole image URLs")
        found.setdefault(frozenset(urls), urls)
    if not found:
        return ResultUrls((), "no image URL")
    if len(found) > 1:
        return ResultUrls((), "two fields name different images")
    return ResultUrls(next(iter(found.values())))


def has_result_field(record: Mapping[str, object]) -> bool:
    """Return whether any result field has a value, valid or not."""
    return next(_filled_fields(record), None) is not None


def parse_json_text(value: object) -> object:
    """Parse a JSON text. Other values are returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _filled_fields(record: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from _filled_fields_in(record)
    for name in _CONTAINERS:
        container = parse_json_text(record.get(name))
        if isinstance(container, Mapping):
            yield from _filled_fields_in(container)
        elif name in _MAY_BE_THE_LIST and not _is_blank(container):
            yield name, container


def _filled_fields_in(container: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name in _FIELDS:
        value = parse_json_text(container.get(name))
        if not _is_blank(value):
            yield name, value


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | Mapping) and not value)


def _urls_of(value: object) -> tuple[str, ...] | None:
    """Return the distinct URLs in their order, or None if an entry is not a URL."""
    if isinstance(value, str):
        entries: list[object] = [*value.split(",")]
    elif isinstance(value, list):
        entries = [one.get(_URL_OF_OBJECT) if isinstance(one, Mapping) else one for one in value]
    else:
        return None
    urls = [one.strip() for one in entries if isinstance(one, str) and _is_whole_url(one.strip())]
    return tuple(dict.fromkeys(urls)) if len(urls) == len(entries) else None


def _is_whole_url(text: str) -> bool:
    """Return whether the text is exactly one http(s) URL."""
    if len(text) > _URL_LENGTH_MAX or not text.isprintable() or text.count("://") != 1:
        return False
    if not _NEVER_IN_A_URL.isdisjoint(text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
