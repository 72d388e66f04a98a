"""The `darkroom` command with the servers of a test, or with embedded servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.adapters.embedded import EmbeddedServers
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, environment

# What would change the looks of what is said.
_LOOKS = ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS", "LOG_FORMAT")


def _plain(environ: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in _LOOKS}
    return {**kept, "TERM": "xterm-256color"}


@pytest.fixture
def darkroom(deployment: Deployment, tmp_path: Path) -> Darkroom:
    """Over this test's database, Valkey and simulator; the account `acme` is rich."""
    return Darkroom(_plain(environment(deployment.settings)), tmp_path)


@pytest.fixture
def home(embedded: EmbeddedServers, tmp_path: Path) -> Darkroom:
    """Over embedded servers, with nothing configured but their home and free ports."""
    environ = {
        **os.environ,
        "DARKROOM_HOME": str(embedded.home),
        "API_PORT": "0",
        "WORKER_HTTP_PORT": "0",
    }
    return Darkroom(_plain(environ), tmp_path)
