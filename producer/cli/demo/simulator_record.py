"""Reads the record of the simulator, and fetches an image from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from shared.errors import DependencyDown

_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class KieRecord:
    """Counts since the start of the simulator."""

    paid_posts: int
    worst_polls_per_second: int
    """The most polls of one task in any second."""


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """One image as it was downloaded."""

    url: str
    content_type: str
    content: bytes


async def read_record(base_url: str) -> KieRecord:
    """Return the record of the simulator. Raises `DependencyDown`."""
    url = f"{base_url}/simulator/record"
    with _translated_errors(url):
        async with _session() as session, session.get(url) as response:
            response.raise_for_status()
            summary = await response.json()
    return KieRecord(
        paid_posts=summary["creates"]["created"],
        worst_polls_per_second=summary["polls"]["worst_window_per_task"],
    )


async def fetch_image(url: str) -> FetchedImage:
    """Download one image. Raises `DependencyDown`."""
    with _translated_errors(url):
        async with _session() as session, session.get(url) as response:
            response.raise_for_status()
            return FetchedImage(url, response.content_type, await response.read())


async def is_ready(address: str) -> bool:
    """Return whether the process at `host:port` is ready."""
    try:
        async with _session() as session, session.get(f"http://{address}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


@contextmanager
def _translated_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DependencyDown(
            f"{url} does not answer: {str(error) or type(error).__name__}"
        ) from error


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=_TIMEOUT)
