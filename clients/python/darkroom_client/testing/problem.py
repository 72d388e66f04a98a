"""Refusals of the Darkroom in memory, with the bodies of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from darkroom_client.generated.problems import STATUS_AND_TITLE

if TYPE_CHECKING:
    from darkroom_client.testing.checks.field_checks import Fault


class Refusal(Exception):
    """The request is refused with a problem."""

    def __init__(
        self, code: str, detail: str, members: Mapping[str, Any] | None = None, status: int = 0
    ) -> None:
        self.code = code
        known_status, title = STATUS_AND_TITLE[code]
        self.status = status or known_status
        self.body = {
            "type": f"urn:darkroom:problem:{code}",
            "title": title,
            "status": self.status,
            "detail": detail,
            **(members or {}),
        }
        super().__init__(detail)


def invalid_request(faults: Sequence[Fault], code: str = "invalid_request") -> Refusal:
    """Return the refusal of a request with these faults."""
    detail = "; ".join(f"{one.field}: {one.message}" for one in faults)
    errors = [{"field": one.field, "message": one.message} for one in faults]
    return Refusal(code, detail, {"errors": errors})
