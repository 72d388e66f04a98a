"""The state directory that processes share to share the servers: `DARKROOM_HOME`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.host import log_files
from shared.adapters.embedded.host.unix_user import UnixUser, change_owner
from shared.errors import EmbeddedServerError

_PRIVATE = 0o700
_PASSABLE = 0o711
"""Others may pass through to what is theirs, but see no names."""


@dataclass(frozen=True, slots=True)
class Home:
    """The names inside the state directory; `path` is absolute and free of symlinks."""

    path: Path
    owner: UnixUser | None
    """To whom files made by root are given: the directory's owner, when that is not root."""

    @property
    def key(self) -> str:
        """A short name for this home, to build short paths elsewhere."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]

    @property
    def lock(self) -> Path:
        """Held by the watchdog for as long as it lives."""
        return self.path / "lock"

    @property
    def address_file(self) -> Path:
        """Where a running watchdog can be reached."""
        return self.path / "watchdog.json"

    @property
    def state_link(self) -> Path:
        """Points to the data when the servers' user cannot enter this directory."""
        return self.path / "state"

    def log(self, name: str) -> Path:
        """Return the log file of one process."""
        return self.path / "log" / f"{name}.log"

    def process_lock(self, name: str) -> Path:
        """Return the lock file that one of our processes holds while it lives; made if absent."""
        path = self.path / "run" / f"{name}.lock"
        path.touch(mode=0o600)
        change_owner(path, self.owner)
        return path

    def ready_file(self, name: str) -> Path:
        """Return where an auxiliary process says that it is ready."""
        return self.path / "run" / f"{name}.ready.json"

    def open_log(self, name: str) -> int:
        """Open one log file for appending and return the descriptor."""
        descriptor = log_files.open_log(self.log(name))
        change_owner(self.log(name), self.owner)
        return descriptor

    def truncate_logs(self) -> None:
        """Set aside what has made a log longer than 4 MiB. Raises OSError."""
        log_files.truncate_logs(self.path / "log")


def open_home(path: Path) -> Home:
    """Make the state directory where it is missing and return its names.

    Raises EmbeddedServerError when it cannot be made or belongs to somebody else.
    """
    resolved = path.resolve()
    try:
        _make_directory(resolved)
        home = Home(resolved, _owner_of(resolved))
        for directory in (resolved / "log", resolved / "run"):
            directory.mkdir(mode=_PRIVATE, exist_ok=True)
            change_owner(directory, home.owner)
        home.lock.touch(mode=0o600)
        change_owner(home.lock, home.owner)
    except OSError as error:
        raise EmbeddedServerError(
            f"the state directory {resolved} cannot be used by user {os.geteuid()}"
            f" ({error.strerror}: {error.filename}): run as its owner, or set DARKROOM_HOME to a"
            " directory that you may write"
        ) from error
    return home


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=_PRIVATE, exist_ok=True)
    if os.geteuid() == 0:
        # Root in somebody's project (sudo, or a bind mount) leaves that person's files behind.
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)
        path.chmod(_PASSABLE if above.st_uid == 0 else _PRIVATE)


def _owner_of(path: Path) -> UnixUser | None:
    owner = path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return None
    return UnixUser(owner.st_uid, owner.st_gid, f"user {owner.st_uid}")
