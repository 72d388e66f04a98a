"""The version of this package, as it is installed, and the User-Agent that names it."""

from __future__ import annotations

from functools import cache

from shared import PROJECT


@cache
def installed_version(if_not_installed: str) -> str:
    """Return the version, or the given text where the code runs from a folder."""
    # Imported here, because it loads slowly and most commands do not need it.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return if_not_installed


@cache
def user_agent() -> str:
    """Return the User-Agent of requests to Kie: `darkroom-queue/<version>`.

    Cloudflare answers the default User-Agent with a bare 403 that looks like a wrong key.
    """
    return f"{PROJECT}/{installed_version('0')}"
