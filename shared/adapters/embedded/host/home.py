"""The state directory `DARKROOM_HOME`. Processes with the same home share the servers."""

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
"""Other users can enter the directory, but not list it."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths inside the state directory. `path` is absolute and has no symlinks."""

    path: Path
    owner: UnixUser | None
    """The owner of files that root creates: the directory's owner if that is not root."""

    @property
    def key(self) -> str:
        """A short name of this home, for short paths elsewhere."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]

    @property
    def lock(self) -> Path:
        """The lock that the watchdog holds."""
        return self.path / "lock"

    @property
    def address_file(self) -> Path:
        """The file with the address of the watchdog."""
        return self.path / "watchdog.json"

    @property
    def state_link(self) -> Path:
        """A link to the data if the servers' user cannot enter this directory."""
        return self.path / "state"

    def log(self, name: str) -> Path:
        """Return the log file of one process."""
        return self.path / "log" / f"{name}.log"

    def process_lock(self, name: str) -> Path:
        """Return the lock file of a child process. Creates it if missing."""
        path = self.path / "run" / f"{name}.lock"
        path.touch(mode=0o600)
        change_owner(path, self.owner)
        return path

    def ready_file(self, name: str) -> Path:
        """Return the file that an auxiliary process writes when it is ready."""
        return self.path / "run" / f"{name}.ready.json"

    def open_log(self, name: str) -> int:
        """Open a log file for appending, and return the descriptor."""
        descriptor = log_files.open_log(self.log(name))
        change_owner(self.log(name), self.owner)
        return descriptor

    def truncate_logs(self) -> None:
        """Move the content of logs above 4 MiB to `.log.1`. Raises OSError."""
        log_files.truncate_logs(self.path / "log")


def open_home(path: Path) -> Home:
    """Create the state directory if it is missing, and return its paths.

    Raises EmbeddedServerError if it cannot be created or belongs to another user.
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
        # Root in a user's project (sudo, or a bind mount) creates files for that user.
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)
        path.chmod(_PASSABLE if above.st_uid == 0 else _PRIVATE)


def _owner_of(path: Path) -> UnixUser | None:
    owner = path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return None
    return UnixUser(owner.st_uid, owner.st_gid, f"user {owner.st_uid}")
