"""A separate home for each test, and a user that is not root."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.adapters.embedded.host.home import open_home
from tests.integration.embedded.ordinary_user import OrdinaryUser, provide_ordinary_user
from tests.integration.embedded.shared_home import SharedHome


@contextmanager
def make_open_directory() -> Iterator[Path]:
    """Create a directory that all users can enter, unlike pytest's directories of root."""
    directory = Path(tempfile.mkdtemp(prefix="embedded-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that all users can enter."""
    with make_open_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def somebody() -> Iterator[OrdinaryUser]:
    """A user that is not root."""
    with make_open_directory() as directory:
        yield provide_ordinary_user(directory)


@pytest.fixture
def new_shared_home(open_directory: Path) -> Iterator[SharedHome]:
    """A home that does not exist yet. Its processes are stopped afterwards."""
    shared_home = SharedHome(open_directory / "home")
    yield shared_home
    shared_home.end()


@pytest.fixture(scope="session")
def initialised_home() -> Iterator[Path]:
    """A home with an empty database, which is copied because initdb is slow."""
    with make_open_directory() as directory:
        shared_home = SharedHome(directory / "home")
        try:
            shared_home.start_client().urls()
        finally:
            shared_home.end()
        yield shared_home.home


@pytest.fixture
def shared_home(new_shared_home: SharedHome, initialised_home: Path) -> SharedHome:
    """A home with data of stopped servers."""
    home = open_home(new_shared_home.home).path
    copy = ["cp", "-a", str(initialised_home / "postgres"), str(home / "postgres")]
    subprocess.run(copy, check=True)
    return new_shared_home
