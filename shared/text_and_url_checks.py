"""Checks of request fields that several request models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.domain.public_addresses import find_url_fault

if TYPE_CHECKING:
    from pydantic import BeforeValidator

URL_LENGTH_MAX = 8192
"""The most characters of a URL of a request: of an image, a mask or a webhook."""
NON_BLANK_TEXT_SCHEMA: dict[str, Any] = {"minLength": 1, "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}
"""JSON Schema of a text that is not blank and has no NUL character."""


def optional(check: Callable[[object], object]) -> BeforeValidator:
    """Return a validator that runs `check` on every value except None."""
    # Imported here, because the other checks are used without pydantic.
    from pydantic import BeforeValidator  # noqa: PLC0415

    return BeforeValidator(lambda value: None if value is None else check(value))


def has_lone_surrogate(text: str) -> bool:
    """Return whether the text has half of a surrogate pair, which UTF-8 cannot encode."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def check_public_url(value: object) -> str:
    """Return the URL unchanged. Raises `ValueError` with a sentence that says what is wrong.

    Kie fetches these URLs, so they must name a public host. Only the text is checked: a public
    name that resolves to a private address passes. The sentence repeats at most the host, because
    the query of a signed URL is a secret.
    """
    if not isinstance(value, str):
        raise ValueError("must be text: a public http:// or https:// URL")
    if not value:
        raise ValueError("is empty; give a public http:// or https:// URL")
    if len(value) > URL_LENGTH_MAX:
        raise ValueError(f"is {len(value)} characters long; at most {URL_LENGTH_MAX} are allowed")
    fault = find_url_fault(value, allow_loopback=False)
    if fault is not None:
        raise ValueError(fault)
    return value
