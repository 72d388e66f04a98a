"""Brings the Chromium of the browser tests, without root, a package manager or Node.

`python -m tests.support.chromium` brings it ahead of the tests and says where it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import brotli

from tests.support.npm_package import (
    DownloadError,
    NpmPackage,
    cache_folder,
    download_package,
)

CHROMIUM = NpmPackage(
    "@sparticuz/chromium",
    "153.0.0",
    "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
FONTS = (
    NpmPackage(
        "@expo-google-fonts/inter",
        "0.4.2",
        "sha512-syfiImMaDmq7cFi0of+waE2M4uSCyd16zgyWxdPOY7fN2VBmSLKEzkfbZgeOjJq61kSqPBNNtXjggiQiSD6gMQ==",
    ),
    NpmPackage(
        "@expo-google-fonts/jetbrains-mono",
        "0.4.1",
        "sha512-CslACrtMOcRwoWXCO7OMEI+9w3fukWSoBtvNz46OqPoogEuuoY0tkDY1O8sFumk8t0pC6Cx0Xr95O0TOQhpkug==",
    ),
)
"""So that widths and pictures are the same on every machine."""
CHROMIUM_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""It shows our own pages alone, and asks nobody for anything else."""
OWN_CHROMIUM_VARIABLE = "DARKROOM_TEST_CHROMIUM"
_ROOT = Path(__file__).resolve().parents[2]
_USED_FONT = re.compile(r"/(400Regular|500Medium|600SemiBold|700Bold)/[^/]+[.]ttf$")
_FONT_SETTINGS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>{folder}</dir>
<cachedir>{folder}/cache</cachedir>
<alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
<alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
<alias><family>monospace</family><prefer><family>JetBrains Mono</family></prefer></alias>
</fontconfig>
"""


class NoChromiumError(Exception):
    """There is no Chromium to test with; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """A Chromium to start."""

    executable: Path
    environ: dict[str, str]
    """What its environment has beyond this process's."""


def bring_chromium(
    environ: Mapping[str, str] = os.environ, packages: Sequence[NpmPackage] = (CHROMIUM, *FONTS)
) -> Chromium:
    """Return the Chromium that the environment names, or else that of the packages.

    The packages are downloaded once, into the user's cache folder.

    Raises:
        NoChromiumError: It cannot be downloaded, or is not for this kind of machine.
    """
    if own := environ.get(OWN_CHROMIUM_VARIABLE):
        if shutil.which(own) is None:
            raise NoChromiumError(f"{OWN_CHROMIUM_VARIABLE}={own} is no program")
        return Chromium(Path(own), {})
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoChromiumError(_advice(f"none is pinned for {platform.platform()}"))
    cache = cache_folder(environ)
    folder = cache / f"chromium-{_fingerprint(packages)}"
    # Several processes of tests start at once: one downloads, the others wait for it.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _install(folder, environ, packages)
    return _with_libraries(folder)


def _fingerprint(packages: Sequence[NpmPackage]) -> str:
    """Return a name for what is installed: an installation of other versions is not used."""
    what = [*(package.integrity for package in packages), _USED_FONT.pattern, _FONT_SETTINGS]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()[:12]


def _advice(reason: str) -> str:
    return (
        f"the browser tests have no Chromium: {reason}.\n"
        "Either name a mirror of the npm registry, NPM_CONFIG_REGISTRY=https://..., or a Chromium"
        f" of this machine, {OWN_CHROMIUM_VARIABLE}=/usr/bin/chromium, and run make test again."
    )


def _install(folder: Path, environ: Mapping[str, str], packages: Sequence[NpmPackage]) -> None:
    """Download and unpack into a folder beside it, which takes the name when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unpacked = Path(temporary, "unpacked")
        for package in packages:
            tarball = Path(temporary, "package.tgz")
            try:
                download_package(package, tarball, project=_ROOT, environ=environ)
            except DownloadError as error:
                raise NoChromiumError(_advice(str(error))) from error
            with tarfile.open(tarball) as archive:
                for member in archive:
                    _unpack(archive, member, unpacked)
        fonts = unpacked / "fonts"
        fonts.mkdir(exist_ok=True)
        (fonts / "fonts.conf").write_text(_FONT_SETTINGS.format(folder=folder / "fonts"))
        unpacked.rename(folder)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Unpack what is used of a package: the program, the libraries, and some weights of a font."""
    name = Path(member.name).name
    if _USED_FONT.search(member.name):
        target = folder / "fonts" / name
    elif name == "chromium.br":
        target = folder / "chromium"
    elif name != "al2023.tar.br":
        return
    stream = archive.extractfile(member)
    assert stream is not None
    content = stream.read()
    if name.endswith(".br"):
        content = brotli.decompress(content)
    if name == "al2023.tar.br":
        with tarfile.open(fileobj=io.BytesIO(content)) as libraries:
            # Python before 3.11.4 has no filters, and later ones warn without one.
            libraries.extraction_filter = getattr(tarfile, "data_filter", None)
            libraries.extractall(folder)  # noqa: S202  # its digest is pinned
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755)


def _with_libraries(folder: Path) -> Chromium:
    """Return what is installed there, with its own libraries where the system lacks some."""
    executable = folder / "chromium"
    fonts = {"FONTCONFIG_FILE": str(folder / "fonts" / "fonts.conf")}
    own = {**fonts, "LD_LIBRARY_PATH": str(folder / "lib")}
    said = ""
    for environ in (fonts, own):
        started = subprocess.run(
            [executable, "--version"],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if not started.returncode:
            return Chromium(executable, environ)
        said = started.stderr.strip()
    raise NoChromiumError(_advice(f"{executable} does not start: {said}"))


if __name__ == "__main__":
    try:
        brought = bring_chromium()
    except NoChromiumError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{brought.executable}\n")
