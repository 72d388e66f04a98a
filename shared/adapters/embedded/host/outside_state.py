"""A place for the data when the servers' user cannot enter the home, as under root's own home."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from shared.adapters.embedded.host.home import Home
from shared.adapters.embedded.host.unix_user import UnixUser, can_execute, change_owner
from shared.errors import EmbeddedServerError

_LASTING_BASES = (Path("/var/lib/darkroom"), Path("/var/tmp/darkroom"))  # noqa: S108 - owner checked
_NOTE = "HOME.txt"


def make_private_directory(path: Path, mode: int) -> bool:
    """Make it, or accept it as it is if it is a real directory of ours; else return False."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if path.is_symlink() or not path.is_dir() or path.lstat().st_uid != os.geteuid():
            return False
    except OSError:
        return False
    path.chmod(mode)
    return True


def make_external_state(home: Home, user: UnixUser) -> Path:
    """Make a directory that `user` can enter, and have the home link to it.

    The data of a temporary home lies among temporary files too, and goes with its home. Other
    data is never removed: its home may merely have been moved.
    Raises EmbeddedServerError when there is no such place.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    bases: tuple[Path, ...] = _LASTING_BASES
    if home.path.is_relative_to(temporary):
        bases = (temporary / "darkroom-state", *bases)
        _remove_abandoned(bases[0])
    for base in bases:
        if not base.parent.is_dir() or not make_private_directory(base, 0o711):
            continue
        # A fresh name each time: a home that was moved away may still use the earlier one.
        state = Path(tempfile.mkdtemp(prefix=f"{home.key}-", dir=base))
        state.chmod(0o711)
        if can_execute(user, state):
            _link(home, state, user)
            return state
        state.rmdir()
    raise EmbeddedServerError(
        f"the servers run as {user.name}, who can enter neither {home.path} nor a directory"
        f" under {' or '.join(str(base.parent) for base in bases)}: set DARKROOM_HOME to a"
        " directory that every user may enter"
    )


def _link(home: Home, state: Path, user: UnixUser) -> None:
    home.state_link.symlink_to(state)
    change_owner(home.state_link, home.owner)
    # Written after the link, because only a directory with a note can count as abandoned.
    (state / _NOTE).write_text(f"{home.path}\n", encoding="utf-8")
    (state / "README.txt").write_text(
        f"The data of the embedded servers of {home.path}, a directory that {user.name}, whom"
        " the servers run as, cannot enter.\n",
        encoding="utf-8",
    )


def _remove_abandoned(base: Path) -> None:
    """Remove the data of temporary homes that are gone or start afresh."""
    for note in base.glob(f"*/{_NOTE}"):
        state = note.parent
        link = Path(note.read_text(encoding="utf-8").rstrip("\n")) / "state"
        if not (link.is_symlink() and link.resolve() == state):
            shutil.rmtree(state, ignore_errors=True)
