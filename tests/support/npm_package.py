"""Downloads packages from the npm registry that this machine is set up for, without npm."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import ssl
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PUBLIC_REGISTRY = "https://registry.npmjs.org/"
_GLOBAL_FILES = ("/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc")
_ROOT = Path(__file__).resolve().parents[2]
_TRIES = 3
_PAUSE_SECONDS = 1.0
_SILENCE_SECONDS = 60.0
_CHUNK_BYTES = 1 << 20


class DownloadError(Exception):
    """The package cannot be had; the message says from where it was asked, and why."""


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """One version of a package, with the integrity that its registry publishes."""

    name: str
    version: str
    integrity: str
    """As in a package lock: `sha512-` and the digest in base64."""

    @property
    def scope(self) -> str:
        """`@owner`, or an empty text."""
        return self.name.partition("/")[0] if self.name.startswith("@") else ""

    def tarball_url(self, registry: str) -> str:
        """Return the address that every npm registry uses for this version."""
        file_name = self.name.rpartition("/")[2]
        return f"{registry.rstrip('/')}/{self.name}/-/{file_name}-{self.version}.tgz"


class NpmSettings:
    """The registry and the logins that npm would use here; nearer files win over farther ones."""

    def __init__(self, environ: Mapping[str, str], files: Sequence[Path]) -> None:
        lines: dict[str, str] = {}
        for file in reversed(files):
            lines |= dict(_read_lines(file, environ))
        for name, value in environ.items():
            if name.lower().startswith("npm_config_") and value:
                lines[name.lower().removeprefix("npm_config_")] = value
        self._lines = lines

    def registry_for(self, scope: str) -> str:
        """Return the registry of packages of this scope."""
        lines = self._lines
        return lines.get(f"{scope}:registry") or lines.get("registry") or PUBLIC_REGISTRY

    def authorization_for(self, url: str) -> str | None:
        """Return the `Authorization` header for this address, or None without a login there."""
        parts = urllib.parse.urlsplit(url)
        path = parts.path
        while path:
            path = path[: path.rstrip("/").rfind("/") + 1]
            place = f"//{parts.netloc}{path}:"
            if token := self._lines.get(f"{place}_authToken"):
                return f"Bearer {token}"
            if pair := self._lines.get(f"{place}_auth"):
                return f"Basic {pair}"
            if (user := self._lines.get(f"{place}username")) is not None:
                password = base64.b64decode(self._lines.get(f"{place}_password", ""))
                return f"Basic {base64.b64encode(user.encode() + b':' + password).decode()}"
        return None

    def tls(self, environ: Mapping[str, str]) -> ssl.SSLContext:
        """Return what certificates are trusted: the system's, and those that npm is told of."""
        context = ssl.create_default_context()
        for file in (self._lines.get("cafile"), environ.get("NODE_EXTRA_CA_CERTS")):
            if file and Path(file).is_file():
                context.load_verify_locations(file)
        return context


def find_npm_files(environ: Mapping[str, str], project: Path) -> list[Path]:
    """Return where npm reads settings: the project's file, the user's, and the machine's."""
    user = environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc"
    machine = environ.get("NPM_CONFIG_GLOBALCONFIG")
    return [project / ".npmrc", Path(user), *map(Path, [machine] if machine else _GLOBAL_FILES)]


def _read_lines(file: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not file.is_file():
        return
    for line in file.read_text("utf-8").splitlines():
        name, sign, value = line.partition("=")
        if sign and not name.lstrip().startswith(("#", ";")):
            written = value.strip().strip("\"'")
            yield name.strip(), re.sub(r"\$\{(\w+)\}", lambda m: environ.get(m[1], m[0]), written)


def download_package(
    package: NpmPackage,
    target: Path,
    *,
    project: Path,
    environ: Mapping[str, str] = os.environ,
    pause_seconds: float = _PAUSE_SECONDS,
) -> None:
    """Write the tarball of the package to `target`, having compared its digest.

    Raises:
        DownloadError: No try has brought it, or what came is not what is pinned.
    """
    settings = NpmSettings(environ, find_npm_files(environ, project))
    url = package.tarball_url(settings.registry_for(package.scope))
    request = urllib.request.Request(url)  # noqa: S310  # the registry that npm uses
    if authorization := settings.authorization_for(url):
        # Not sent on: a registry may redirect to a store that refuses foreign logins.
        request.add_unredirected_header("Authorization", authorization)
    for remaining in reversed(range(_TRIES)):
        try:
            digest = _copy(request, settings.tls(environ), target)
        except (OSError, EOFError) as error:
            refused = False
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                refused = error.code < 500
            if refused or not remaining:
                raise DownloadError(f"{url}: {error}") from error
            time.sleep(pause_seconds)
        else:
            if digest != package.integrity:
                raise DownloadError(f"{url}: its digest is {digest}, not {package.integrity}")
            return


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return a folder outside the checkout, or an ignored one inside where there is none."""
    home = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "darkroom-tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    inside = _ROOT / ".darkroom-chromium"
    inside.mkdir(exist_ok=True)
    return inside


def install_module(package: NpmPackage, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a folder with `node_modules` of this package, which needs no other package.

    It is downloaded once, into the user's cache folder. Raises `DownloadError`.
    """
    cache = cache_folder(environ)
    digest = hashlib.sha256(package.integrity.encode()).hexdigest()[:12]
    folder = cache / f"node-{package.name}-{digest}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as temporary:
                tarball, unpacked = Path(temporary, "package.tgz"), Path(temporary, "unpacked")
                download_package(package, tarball, project=_ROOT, environ=environ)
                with tarfile.open(tarball) as archive:
                    # Python before 3.11.4 has no filters, and later ones warn without one.
                    archive.extraction_filter = getattr(tarfile, "data_filter", None)
                    archive.extractall(unpacked)  # noqa: S202  # its digest is pinned
                modules = unpacked / "node_modules"
                modules.mkdir()
                (unpacked / "package").rename(modules / package.name)
                unpacked.rename(folder)
    return folder


def _copy(request: urllib.request.Request, tls: ssl.SSLContext, target: Path) -> str:
    """Copy the answer to the file, and return its integrity."""
    digest = hashlib.sha512()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls))
    with opener.open(request, timeout=_SILENCE_SECONDS) as answer, target.open("wb") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        if answer.length:  # read(n) ends without an error where the connection was cut
            raise EOFError(f"{answer.length} bytes are missing")
    return f"sha512-{base64.b64encode(digest.digest()).decode()}"
