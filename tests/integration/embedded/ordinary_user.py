"""A user that is not root, for tests that run as root, and programs that it can execute."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.servers.server_programs import SearchPaths
from tests.integration.embedded.shared_home import CLIENT, PROJECT, SharedHome

_NEEDLESS = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib")


def ordinary_user() -> int | None:
    """Return the user id for child processes, or None if this process is not root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def copy_project(directory: Path) -> Path:
    """Copy what a client needs into `directory`, wheels included, and return it."""
    shutil.copytree(PROJECT / "shared", directory / "shared", ignore=_NEEDLESS)
    program = directory / CLIENT.relative_to(PROJECT)
    program.parent.mkdir(parents=True)
    shutil.copy(CLIENT, program)
    places = SearchPaths.from_environment({})
    for wheel in (places.postgres_wheel, places.valkey_wheel):
        if wheel is not None:
            for part in (wheel.package, wheel.package.with_name(f"{wheel.package.name}.libs")):
                if part.is_dir():
                    shutil.copytree(part, directory / part.name, ignore=_NEEDLESS, symlinks=True)
    return directory


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """A user that is not root, and an installation that it can execute."""

    user: int | None
    project: Path
    interpreter: str
    environ: Mapping[str, str]

    def shared_home(self, directory: Path) -> SharedHome:
        """Return a home in a directory of theirs below `directory`, which every user may enter."""
        theirs = directory / "theirs"
        theirs.mkdir()
        if self.user is not None:
            os.chown(theirs, self.user, self.user)
        return SharedHome(
            theirs / "home",
            environ=self.environ,
            interpreter=self.interpreter,
            project=self.project,
            user=self.user,
        )


def provide_ordinary_user(directory: Path) -> OrdinaryUser:
    """Copy files that the user cannot access into `directory`."""
    user = ordinary_user()
    if user is None:
        return OrdinaryUser(None, PROJECT, sys.executable, {})
    project = copy_project(directory / "project")
    if _can_run(sys.executable, user):
        return OrdinaryUser(user, project, sys.executable, {})
    interpreter, environ = _copy_interpreter(directory / "python")
    return OrdinaryUser(user, project, interpreter, environ)


def _can_run(interpreter: str, user: int) -> bool:
    # The exit code is the interpreter's own only when that user could start it.
    answer = subprocess.run(
        ["/bin/sh", "-c", '"$1" -c "import asyncio" 2>&1', "sh", interpreter],
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return answer.returncode == 0


def _copy_interpreter(directory: Path) -> tuple[str, dict[str, str]]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    installed = Path(sys.base_prefix)
    (directory / "bin").mkdir(parents=True)
    interpreter = directory / "bin" / version
    shutil.copy(Path(sys.executable).resolve(), interpreter)
    library = directory / "lib"
    shutil.copytree(installed / "lib" / version, library / version, ignore=_NEEDLESS)
    for shared_library in (installed / "lib").glob("libpython*"):
        shutil.copy(shared_library, library)
    return str(interpreter), {"LD_LIBRARY_PATH": str(library)}
