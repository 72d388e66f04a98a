"""A separate environment for each peer, because their redis pins conflict. Installed when needed.

They lie in `.darkroom-peers/` of the project, which git ignores. What is installed is pinned with
hashes in `bench/peers/requirements/`; from where is up to this machine's own configuration.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
HOME = ROOT / ".darkroom-peers"
_STAMP = ".installed"
_INSTALL_SECONDS = 900
_WORDS = 600
_NOT_OURS = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT")


class PeerUnavailableError(Exception):
    """A peer's environment could not be installed. The message has the end of the tool's output."""


def peers() -> tuple[str, ...]:
    """Return the peers that have requirements, in the order of their names."""
    return tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))


def python_of(peer: str) -> Path:
    """Return the interpreter of the peer's environment, which is installed first if it is missing.

    Raises PeerUnavailableError.
    """
    folder = HOME / peer
    python, stamp = folder / "bin" / "python", folder / _STAMP
    wanted = _fingerprint(peer)
    if python.exists() and stamp.exists() and stamp.read_text("ascii") == wanted:
        return python
    sys.stderr.write(f"installing {peer} into {folder.relative_to(ROOT)}\n")
    shutil.rmtree(folder, ignore_errors=True)
    HOME.mkdir(exist_ok=True)
    _install(folder, REQUIREMENTS / f"{peer}.txt")
    stamp.write_text(wanted, "ascii")
    return python


def version_of(peer: str) -> str:
    """Return the pinned requirement of the peer's library."""
    for line in (REQUIREMENTS / f"{peer}.txt").read_text("utf-8").splitlines():
        name, _, rest = line.partition("==")
        if name.partition("[")[0] == peer:
            return rest.split()[0]
    raise PeerUnavailableError(f"{peer} is not pinned in its own requirements")


def _fingerprint(peer: str) -> str:
    pins = (REQUIREMENTS / f"{peer}.txt").read_bytes()
    return f"{sha256(pins).hexdigest()} {sys.version_info[:3]} {ROOT}"


def _install(folder: Path, pins: Path) -> None:
    said = ""
    for uv in _uvs():
        for extra in ({}, {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}):
            made = [uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(folder)]
            filled = [uv, "pip", "install", "--quiet", "--require-hashes"]
            filled += ["--python", str(folder / "bin" / "python"), "-r", str(pins)]
            said = _run(made, extra) or _run(filled, extra)
            if not said:
                return
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    last = _run([sys.executable, "-m", "venv", "--clear", str(folder)], {}) or _run(
        [*pip, "-r", str(pins)], {}
    )
    if last:
        raise PeerUnavailableError(f"{folder.name} could not be installed: {said} {last}")


def _uvs() -> list[str]:
    """Return the uv of `make setup`: on the PATH, or the one that it fetched."""
    found = (shutil.which("uv"), str(ROOT / ".venv" / "bin" / "uv"))
    return [uv for uv in found if uv is not None and Path(uv).exists()][:1]


def _run(arguments: Sequence[str], extra: dict[str, str]) -> str:
    """Return None if the tool succeeded, else the end of its output."""
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    done = subprocess.run(
        list(arguments),
        env={**environ, **extra},
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr or done.stdout)[-_WORDS:] or "it failed"
