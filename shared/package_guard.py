"""Stops a process that imports a foreign package named `shared`, `producer` or `worker`.

The three names are generic, and pip installs another package of the same name over ours without
a warning. The guard reports this at start-up, before it causes errors that are hard to explain.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import shared
from shared.errors import ConfigurationError

_PACKAGES = ("shared", "producer", "worker")


def require_own_packages(project: str = "darkroom-queue") -> None:
    """Raise `ConfigurationError` if one of the three packages is not part of Darkroom."""
    found = getattr(shared, "PROJECT", None)
    if found != project:
        raise ConfigurationError(
            f"the package 'shared' at {shared.__file__} is not Darkroom's ({found!r} is not"
            f" {project!r}): install darkroom-queue in an environment of its own"
        )
    locations = {name: _location_of(name) for name in _PACKAGES}
    ours = locations["shared"]
    for name, location in locations.items():
        if location != ours:
            raise ConfigurationError(
                f"the package {name!r} is imported from {location}, but Darkroom is installed in"
                f" {ours}: install darkroom-queue in an environment of its own"
            )


def _location_of(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve().parents[1]
