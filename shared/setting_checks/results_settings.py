"""Checks of RESULTS_URL."""

from __future__ import annotations

from urllib.parse import unquote

RESULTS_SCHEMES = ("file", "s3", "gs", "az")
"""Where copies of images may be stored."""
NO_RESULTS = "none"
"""The value of RESULTS_URL by which `darkroom up` and `darkroom demo` make no copies."""


def check_results_url(value: str) -> str:
    """Return the URL without a slash at its end. Raises `ValueError`."""
    if value == NO_RESULTS:
        return value
    scheme, _, place = value.partition("://")
    if scheme not in RESULTS_SCHEMES:
        allowed = ", ".join(f"{scheme}://" for scheme in RESULTS_SCHEMES)
        raise ValueError(f"must begin with one of {allowed}, or be `{NO_RESULTS}`")
    if scheme == "file" and not place.startswith("/"):
        raise ValueError("must have an absolute path: file:///srv/images")
    if scheme == "file" and not unquote(place).strip("/."):
        raise ValueError("must name a folder of its own: file:///srv/images")
    if "?" in place or "#" in place:
        # What follows them would not be part of the path.
        raise ValueError("must have no parameters: a ? in a path is %3F, a # is %23")
    return value.rstrip("/")
