"""How the browser tests come by a Chromium, with small packages in place of the real ones."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brotli
import pytest

from tests.support.chromium import Chromium, NoChromiumError, bring_chromium
from tests.support.npm_package import NpmPackage
from tests.unit.support.test_npm_package import Registry, environ_without_npm, running_registry

_STARTS = b"#!/bin/sh\necho Chromium\n"
_NEEDS_LIBRARIES = (
    b'#!/bin/sh\n[ -f "$LD_LIBRARY_PATH/libnss3.so" ] || { echo no nss >&2; exit 1; }\n'
)
_BROKEN = b"#!/bin/sh\necho libX11 is missing >&2\nexit 127\n"


def tar_of(**files: bytes) -> bytes:
    """Return a tar archive of these files; `__` in a name stands for a slash, `_` for a dot."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def package_of(program: bytes) -> tuple[NpmPackage, bytes]:
    """Return a package as Chromium's, with this program in it, and its tarball."""
    libraries = tar_of(lib__libnss3_so=b"a library")
    tarball = tar_of(
        package__bin__chromium_br=brotli.compress(program),
        package__bin__al2023_tar_br=brotli.compress(libraries),
        package__README_md=b"read me",
    )
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    return NpmPackage("@owner/thing", "1.2.3", f"sha512-{digest}"), tarball


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running_registry() as registry:
        yield registry


def bring(registry: Registry, tmp_path: Path, program: bytes) -> Chromium:
    """Bring a Chromium that is this program."""
    package, tarball = package_of(program)
    registry.answers = [(200, tarball)]
    cache = str(tmp_path / "cache")
    environ = environ_without_npm(tmp_path, NPM_CONFIG_REGISTRY=registry.url, XDG_CACHE_HOME=cache)
    return bring_chromium(environ, [package])


def test_it_is_downloaded_once_however_many_processes_ask_at_once(
    registry: Registry, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        brought = list(pool.map(lambda _: bring(registry, tmp_path, _STARTS), range(4)))
    assert brought == [brought[0]] * 4
    assert len(registry.seen) == 1
    assert brought[0].executable.read_bytes() == _STARTS
    assert "LD_LIBRARY_PATH" not in brought[0].environ
    fonts = Path(brought[0].environ["FONTCONFIG_FILE"])
    assert str(fonts.parent) in fonts.read_text()
    bring(registry, tmp_path, b"#!/bin/sh\n: another version\n")
    assert len(registry.seen) == 2


def test_its_own_libraries_are_used_where_the_system_lacks_them(
    registry: Registry, tmp_path: Path
) -> None:
    brought = bring(registry, tmp_path, _NEEDS_LIBRARIES)
    assert Path(brought.environ["LD_LIBRARY_PATH"], "libnss3.so").read_bytes() == b"a library"


def test_one_that_does_not_start_says_why_and_what_to_do(
    registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(NoChromiumError, match="libX11 is missing") as raised:
        bring(registry, tmp_path, _BROKEN)
    assert "DARKROOM_TEST_CHROMIUM=/usr/bin/chromium" in str(raised.value)


def test_a_registry_without_it_leads_to_a_mirror_and_leaves_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    registry.answers = [(404, b"")]
    cache = tmp_path / "cache"
    environ = environ_without_npm(
        tmp_path, NPM_CONFIG_REGISTRY=registry.url, XDG_CACHE_HOME=str(cache)
    )
    with pytest.raises(NoChromiumError, match="name a mirror of the npm registry"):
        bring_chromium(environ, [package_of(_STARTS)[0]])
    assert [one.name for one in cache.rglob("*") if one.is_file()] == ["lock"]


def test_one_of_this_machine_is_used_without_a_download(tmp_path: Path) -> None:
    own = tmp_path / "chromium"
    own.write_bytes(_STARTS)
    own.chmod(0o755)
    assert bring_chromium({"DARKROOM_TEST_CHROMIUM": str(own)}) == Chromium(own, {})
    with pytest.raises(NoChromiumError, match="DARKROOM_TEST_CHROMIUM=/nowhere/chromium is no"):
        bring_chromium({"DARKROOM_TEST_CHROMIUM": "/nowhere/chromium"})
