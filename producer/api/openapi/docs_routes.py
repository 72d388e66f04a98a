"""Serves the OpenAPI document at `/openapi.json`, and the page at `/docs` that shows it.

Both are rendered once at the start, need no key, and load nothing from other servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

from producer.api.endpoint import Endpoint
from producer.api.openapi.document import render_document
from shared.adapters.http.slow_readers import PacedResponse

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""Scripts come only from this server."""

_ASSETS = {
    "docs.js": "text/javascript",
    "swagger-ui/swagger-ui-bundle.js": "text/javascript",
    "swagger-ui/swagger-ui.css": "text/css",
    "swagger-ui/favicon-32x32.png": "image/png",
}
"""The files of the page. Each is served under `/docs/` and its name."""


@dataclass(frozen=True, slots=True)
class _Document:
    """A response body that does not change while this process runs."""

    body: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> _Document:
        return cls(body, content_type, hashlib.sha256(body).hexdigest()[:32])

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Return the body, or 304 if the client has it."""
        response = PacedResponse(headers=_HEADERS)
        response.etag = self.etag
        if any(known.value in {self.etag, "*"} for known in request.if_none_match or ()):
            response.set_status(304)
            return response
        response.content_type = self.content_type
        if self.content_type.startswith("text/"):
            response.charset = "utf-8"
        response.body = self.body
        return response


_HEADERS = {
    # Browsers cache the body but validate it each time, so a new version appears immediately.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def document_routes(endpoints: Sequence[Endpoint], root_path: str = "") -> list[web.RouteDef]:
    """Return the routes of the OpenAPI document of these endpoints, and of its page."""
    document = _Document.of(render_document(endpoints, root_path), "application/json")
    page = _Document.of(_static("docs.html"), "text/html")
    routes = [web.get("/openapi.json", document.respond), web.get("/docs", page.respond)]
    for name, content_type in _ASSETS.items():
        asset = _Document.of(_static(name), content_type)
        routes.append(web.get(f"/docs/{name.rpartition('/')[2]}", asset.respond))
    return routes


def _static(name: str) -> bytes:
    return files("producer.api").joinpath("static", *name.split("/")).read_bytes()
