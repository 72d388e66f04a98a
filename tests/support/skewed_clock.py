"""Runs processes with a wrong clock that can be set. Their monotonic clock stays correct."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


class SkewedClock:
    """The clock of one process, which is started with `environment`. Set it with `set`."""

    def __init__(self, folder: Path, ahead_seconds: int) -> None:
        self._file = folder / f"clock-{id(self)}"
        self.set(ahead_seconds)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of the process."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead_seconds: int) -> None:
        """Set the offset of the clock to the machine's clock."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_seconds:+d}s\n")
        new.replace(self._file)  # a reader sees the one or the other


def _library() -> Path:
    spec = find_spec("libfaketime")
    assert spec is not None, "run `make setup`"
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0])
    return path / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
