"""The `darkroom` command over this test's own servers, or over embedded ones of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.adapters.embedded import EmbeddedServers
from tests.acceptance.cli.driving import Darkroom
from tests.support.deployment import Workshop, environment

# What would change the looks of what is said.
_LOOKS = ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS", "LOG_FORMAT")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings by which commands start fast even where Python may not keep compiled modules."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    # Beside the folders of this run, so that processes that share the tests share it, too.
    folder = tmp_path_factory.getbasetemp().parent / "compiled"
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def _plain(environ: dict[str, str], compiled: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in _LOOKS}
    return {**kept, **compiled, "TERM": "xterm-256color"}


@pytest.fixture
def darkroom(workshop: Workshop, tmp_path: Path, compiled: dict[str, str]) -> Darkroom:
    """Over this test's database, Valkey and simulator; the account `acme` is rich."""
    return Darkroom(_plain(environment(workshop.settings), compiled), tmp_path)


@pytest.fixture
def home(embedded: EmbeddedServers, tmp_path: Path, compiled: dict[str, str]) -> Darkroom:
    """Over embedded servers, with nothing configured but their home and free ports."""
    environ = {
        **os.environ,
        "DARKROOM_HOME": str(embedded.home),
        "API_PORT": "0",
        "WORKER_HTTP_PORT": "0",
    }
    return Darkroom(_plain(environ, compiled), tmp_path)
