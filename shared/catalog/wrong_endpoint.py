"""Recognises responses that are not from Kie's endpoint.

Kie has moved the endpoint, a proxy or a login page replies instead of Kie, or KIE_BASE_URL is
wrong. Every job would get the same response.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.catalog.model_family import KieResponse

_NOT_THE_ROUTE = frozenset({404, 405, 406, 407, 410, 421, 426, 511})
"""HTTP statuses about the route, the method, or a proxy's requirements."""
_KIES_OWN = frozenset({400, 422, 451, 505})
"""Codes about a request. Kie always sends them in its envelope."""
_REDIRECTS = frozenset({301, 302, 307, 308})
"""Not 303, which may follow a processed POST."""
_ROUTE_CODES = frozenset({405, 410})
_ROUTE_WORDS = re.compile(
    r"no message available|\bno (?:static )?resource|\bno handler|\broute\b"
    # Kie documents code 404 as "The requested resource or endpoint does not exist".
    r"|(?<!resource or )\bendpoint\b"
    r"|\b(?:request )?method\b|/api/v[0-9]|\bapi (?:is |was |has been )?"
    r"(?:not found|removed|retired|deprecated|offline|no longer)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class EndpointFault:
    """Why a response is not from Kie's endpoint."""

    message: str
    is_certain: bool
    """Whether the request was certainly not processed."""


def find_endpoint_fault(
    response: KieResponse, code: int | None, message: str
) -> EndpointFault | None:
    """Return what is wrong with the endpoint, or None if the response is from Kie.

    `code` and `message` are those of Kie's envelope. `code` is None without an envelope.
    """
    status = response.status
    if code is not None:
        return _fault_in_envelope(status, code, message)
    if 300 <= status < 400:
        where = f" to {response.location}" if response.location else ""
        return EndpointFault(f"a redirect{where} (HTTP {status})", status in _REDIRECTS)
    if status in _NOT_THE_ROUTE or status in _KIES_OWN:
        said = f": {message}" if message else ""
        return EndpointFault(f"HTTP {status} without Kie's envelope{said}", True)
    if 200 <= status < 300:
        return _fault_of_success(response)
    return None


def _fault_in_envelope(status: int, code: int, message: str) -> EndpointFault | None:
    agrees = 200 <= status < 300 or status == code
    # In Kie's envelope, 404 alone is about the request, as Kie documents.
    speaks = code in _ROUTE_CODES or (code == 404 and _ROUTE_WORDS.search(message) is not None)
    if agrees and speaks:
        return EndpointFault(f"code {code}: {message}" if message else f"code {code}", True)
    return None


def _fault_of_success(response: KieResponse) -> EndpointFault | None:
    """Check a 2xx response without Kie's envelope, which any server may have sent."""
    body = response.body
    if body is None:
        start = response.text.lstrip("\ufeff \t\r\n")[:200].lower()
        is_page = start.startswith(("<!doctype", "<html", "<head", "<body", "<?xml"))
        return EndpointFault("a web page in place of JSON", False) if is_page else None
    if isinstance(body, Mapping) and (not body or "code" in body or "data" in body):
        return None
    return EndpointFault("JSON without Kie's envelope", False)
