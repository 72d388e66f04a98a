"""Processes whose clock is wrong and may be set while they run; the monotonic one stays right."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


class SkewedClock:
    """The clock of one process: start it with `environment`, set it with `set`."""

    def __init__(self, folder: Path, ahead_seconds: int) -> None:
        self._file = folder / f"clock-{id(self)}"
        self.set(ahead_seconds)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process needs in its environment."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead_seconds: int) -> None:
        """Let the clock be ahead of the machine's from now on, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_seconds:+d}s\n")
        new.replace(self._file)  # a reader sees the one or the other


def _library() -> Path:
    spec = find_spec("libfaketime")
    assert spec is not None, "run `make setup`"
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0])
    return path / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
