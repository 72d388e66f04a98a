"""Lets aioresponses 0.7.9 build answers for aiohttp 3.14, whose constructor has one more parameter.

`tests/unit/kie_client/test_aiohttp_compat.py` fails as soon as this is no longer needed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aioresponses.core
from aiohttp import ClientResponse


class CompatibleResponse(ClientResponse):
    """A `ClientResponse` that does without a stream writer, which only a real socket has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


def install_shim() -> None:
    """Make aioresponses build its answers from `CompatibleResponse`, from now on."""
    setattr(aioresponses.core, "ClientResponse", CompatibleResponse)  # noqa: B010
