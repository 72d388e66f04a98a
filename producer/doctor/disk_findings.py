"""Checks the free disk space where Darkroom writes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from producer.doctor.finding import Finding

_GIB = 1024**3
MIN_FREE_BYTES = 1 * _GIB
"""Between two checkpoints, the write-ahead log of Postgres may grow to 1 GB (`max_wal_size`). With
less free space, a burst of jobs may fill the disk."""
MIN_FREE_SHARE = 0.05
"""The limit for disks below 20 GiB, where 1 GiB would be reported from the first day."""


class FileSystemStats(Protocol):
    """The fields of `os.statvfs` that are read."""

    @property
    def f_bavail(self) -> int:
        """The free blocks for users other than root."""

    @property
    def f_blocks(self) -> int:
        """The number of blocks."""

    @property
    def f_frsize(self) -> int:
        """The bytes of one block."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The space on the file system of one folder."""

    free_bytes: int
    """The free bytes for users other than root."""
    total_bytes: int

    @property
    def min_free_bytes(self) -> float:
        """The free bytes below which the disk is nearly full."""
        return min(MIN_FREE_BYTES, MIN_FREE_SHARE * self.total_bytes)

    @property
    def is_nearly_full(self) -> bool:
        """Whether fewer than `min_free_bytes` are free."""
        return self.free_bytes < self.min_free_bytes


def check_disks(
    home: Path, *, read_stats: Callable[[Path], FileSystemStats] = os.statvfs
) -> Iterator[Finding]:
    """Yield the free space of the disks with the evidence of paid tasks and the embedded servers.

    For a folder that does not exist yet, the nearest existing parent is checked. The disks of
    servers on other machines are not checked.
    """
    places = {_nearest_existing(home.resolve())}
    for name in ("evidence", "state", "postgres", "valkey"):
        place = home / name
        if place.exists():
            places.add(place.resolve())
    seen: set[int] = set()
    for place in sorted(places):
        try:
            device, stats = os.stat(place).st_dev, read_stats(place)
        except OSError as error:
            yield Finding(
                "disk space",
                False,
                f"{place} cannot be read: {error.strerror}",
                "let the doctor's user enter it, or set DARKROOM_HOME to a folder that it may use",
            )
            continue
        if device not in seen:
            seen.add(device)
            yield check_free_space(
                place, DiskSpace(stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize)
            )


def check_free_space(place: Path, space: DiskSpace) -> Finding:
    """Return the finding about the file system of a folder."""
    detail = f"{_size(space.free_bytes)} of {_size(space.total_bytes)} free at {place}"
    if not space.is_nearly_full:
        return Finding("disk space", True, detail)
    return Finding(
        "disk space",
        False,
        f"{detail}, less than {_size(space.min_free_bytes)}: writes will soon be refused",
        f"free space on the disk of {place}, or move DARKROOM_HOME to a larger one",
    )


def _nearest_existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _size(count: float) -> str:
    """Return a size in GiB or MiB."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / 1024**2:.1f} MiB"
