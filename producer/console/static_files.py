"""Serves the scripts and styles of the console under names that contain their hash."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from aiohttp import web

from shared.adapters.http.slow_readers import PacedResponse

STATIC_PATH = "/console/static"
FILES: Mapping[str, str] = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "live.js": "text/javascript",
    "plots.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "vendor/htmx/htmx.min.js": "text/javascript",
    "vendor/uplot/uPlot.iife.min.js": "text/javascript",
    "vendor/uplot/uPlot.min.css": "text/css",
}
"""The files that pages load, with their content types."""
_HASH_LENGTH = 12
_YEAR_SECONDS = 31_536_000


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. Its URL changes with its content, so browsers may keep it for a year."""

    name: str
    content_type: str
    body: bytes
    compressed: bytes

    @classmethod
    def read(cls, name: str, content_type: str) -> StaticFile:
        """Read the file from the package."""
        body = files("producer.console").joinpath("static", *name.split("/")).read_bytes()
        return cls(name, content_type, body, gzip.compress(body, 9, mtime=0))

    @property
    def url(self) -> str:
        """The path at which the file is served."""
        path = PurePosixPath(self.name)
        digest = hashlib.sha256(self.body).hexdigest()[:_HASH_LENGTH]
        return f"{STATIC_PATH}/{path.stem}.{digest}{path.suffix}"

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Return the file, compressed if the client accepts that."""
        use_gzip = accepts_gzip(request)
        headers = {
            "Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        if use_gzip:
            headers["Content-Encoding"] = "gzip"
        response = PacedResponse(
            body=self.compressed if use_gzip else self.body,
            content_type=self.content_type,
            headers=headers,
        )
        if self.content_type.startswith("text/"):
            response.charset = "utf-8"
        return response


def accepts_gzip(request: web.Request) -> bool:
    """Return whether the client accepts compressed responses."""
    return "gzip" in request.headers.get("Accept-Encoding", "").lower()


@cache
def read_static_files() -> tuple[StaticFile, ...]:
    """Return all files, read and compressed once."""
    return tuple(StaticFile.read(name, content_type) for name, content_type in FILES.items())
