"""The Unix user of the servers. Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

_REACH_SECONDS = 10.0
_OVERFLOW_ID = 65534


@dataclass(frozen=True, slots=True)
class UnixUser:
    """An unprivileged user with its primary group."""

    user_id: int
    group_id: int
    name: str


def choose_server_user(*owned: Path) -> UnixUser | None:
    """Return the user of the servers, or None for the current user, unless that is root.

    For root, return the first owner of the existing paths in `owned` that is not root, so that a
    user can continue without `sudo`. Otherwise return `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for path in owned:
        if path.exists() and path.stat().st_uid != 0:
            return UnixUser(path.stat().st_uid, path.stat().st_gid, f"user {path.stat().st_uid}")
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return UnixUser(_OVERFLOW_ID, _OVERFLOW_ID, f"user {_OVERFLOW_ID}")
    return UnixUser(entry.pw_uid, entry.pw_gid, entry.pw_name)


def can_execute(user: UnixUser, path: Path) -> bool:
    """Return whether the user can enter the directory or execute the program.

    Tests it as that user, so access lists and mount options count too. Only root can call it.
    """
    answer = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
        user=user.user_id,
        group=user.group_id,
        extra_groups=[],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_REACH_SECONDS,
        check=False,
    )
    return answer.returncode == 0


def change_owner(path: Path, user: UnixUser | None) -> None:
    """Make the user the owner of `path` itself. Does nothing if `user` is None."""
    if user is not None:
        os.chown(path, user.user_id, user.group_id, follow_symlinks=False)
