"""The download of a package: from the registry that npm would ask, and only what is pinned."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.npm_package import (
    PUBLIC_REGISTRY,
    DownloadError,
    NpmPackage,
    NpmSettings,
    download_package,
)

TARBALL = b"a tarball " * 1000
PACKAGE = NpmPackage(
    "@owner/thing",
    "1.2.3",
    f"sha512-{base64.b64encode(hashlib.sha512(TARBALL).digest()).decode()}",
)
PATH = "/mirror/npm/@owner/thing/-/thing-1.2.3.tgz"


class Registry(ThreadingHTTPServer):
    """A registry on a free port that answers with what the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.seen: list[tuple[str, str | None]] = []
        """The path and the `Authorization` of each request."""
        self.answers: list[tuple[int, bytes]] = [(200, TARBALL)]
        """A status and a body for each request; the last one is repeated."""
        self.url = f"http://127.0.0.1:{self.server_port}/mirror/npm"


class _Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answers[-1][1])))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def running_registry() -> Iterator[Registry]:
    """Serve a registry from a thread during the block."""
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running_registry() as registry:
        yield registry


def download(environ: dict[str, str], folder: Path) -> bytes:
    """Download the package into the folder, which is the project too, and return its bytes."""
    target = folder / "thing.tgz"
    download_package(PACKAGE, target, project=folder, environ=environ, pause_seconds=0)
    return target.read_bytes()


def environ_without_npm(tmp_path: Path, **variables: str) -> dict[str, str]:
    """Return an environment in which npm has no settings but these."""
    nothing = str(tmp_path / "none")
    return {"NPM_CONFIG_USERCONFIG": nothing, "NPM_CONFIG_GLOBALCONFIG": nothing, **variables}


@pytest.mark.parametrize("variable", ["NPM_CONFIG_REGISTRY", "npm_config_registry"])
def test_the_registry_of_the_environment_is_asked(
    registry: Registry, tmp_path: Path, variable: str
) -> None:
    environ = environ_without_npm(tmp_path, **{variable: registry.url})
    assert download(environ, tmp_path) == TARBALL
    assert registry.seen == [(PATH, None)]


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ("//{host}/mirror/npm/:_authToken=${{SECRET}}", "Bearer tok"),
        ("//{host}/mirror/:_auth=dTpw", "Basic dTpw"),
        ("//{host}/:username=u\n//{host}/:_password=cA==", "Basic dTpw"),
        ("//elsewhere.example/:_authToken=tok", None),
    ],
)
def test_the_login_of_the_project_is_sent_to_its_own_registry_alone(
    registry: Registry, tmp_path: Path, login: str, header: str | None
) -> None:
    registries = f"; ours\n@owner:registry={registry.url}/\nregistry=http://127.0.0.1:1/\n"
    logins = login.format(host=f"127.0.0.1:{registry.server_port}")
    (tmp_path / ".npmrc").write_text(registries + logins)
    environ = environ_without_npm(tmp_path, SECRET="tok")
    download(environ, tmp_path)
    assert registry.seen == [(PATH, header)]


def test_the_nearer_file_wins_and_without_any_the_public_registry_is_asked(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.write_text("registry = https://near.example/\n")
    far.write_text("registry = https://far.example/\n")
    assert NpmSettings({}, [near, far]).registry_for("") == "https://near.example/"
    assert NpmSettings({}, [far, near]).registry_for("") == "https://far.example/"
    assert NpmSettings({}, [tmp_path / "none"]).registry_for("@owner") == PUBLIC_REGISTRY


@pytest.mark.parametrize("failure", [(503, b""), (200, TARBALL[:-1]), (200, b"")])
def test_a_server_fault_and_a_cut_off_answer_are_tried_again(
    registry: Registry, tmp_path: Path, failure: tuple[int, bytes]
) -> None:
    registry.answers.insert(0, failure)
    environ = environ_without_npm(tmp_path, NPM_CONFIG_REGISTRY=registry.url)
    assert download(environ, tmp_path) == TARBALL
    assert len(registry.seen) == 2


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        ((404, b""), "404", 1),
        ((500, b""), "500", 3),
        ((200, TARBALL[:-1] + b"?"), "its digest is sha512-", 1),
    ],
)
def test_what_cannot_be_had_names_the_address_and_the_reason(
    registry: Registry, tmp_path: Path, answer: tuple[int, bytes], reason: str, requests: int
) -> None:
    registry.answers = [answer]
    environ = environ_without_npm(tmp_path, NPM_CONFIG_REGISTRY=registry.url)
    with pytest.raises(DownloadError, match=reason) as raised:
        download(environ, tmp_path)
    assert f"{registry.url}/@owner/thing" in str(raised.value)
    assert len(registry.seen) == requests
