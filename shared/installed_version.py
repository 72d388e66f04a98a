"""The version of this package, as it is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from shared import PROJECT


def installed_version(if_not_installed: str) -> str:
    """Return the version, or the given text where the code runs from a folder."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return if_not_installed
