"""Each error is one sentence with the next command to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.embedded.servers.server_programs import (
    SearchPaths,
    find_postgres,
    find_valkey,
)
from shared.errors import EmbeddedServerError
from tests.integration.embedded.shared_home import SharedHome

NOWHERE = SearchPaths(
    postgres_wheel=None,
    valkey_wheel=None,
    search_path=(),
    postgres_versioned=(),
    valkey_versioned=(),
)


def search_paths(*search_path: Path) -> SearchPaths:
    return SearchPaths(
        postgres_wheel=None,
        valkey_wheel=None,
        search_path=search_path,
        postgres_versioned=(),
        valkey_versioned=(),
    )


def make_program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_missing_postgres_says_what_to_install() -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        find_postgres(NOWHERE)
    for advice in ("darkroom-queue[embedded]", "apt-get", "brew install", "DATABASE_URL"):
        assert advice in str(caught.value)


def test_missing_valkey_says_what_to_install() -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        find_valkey(NOWHERE)
    for advice in ("darkroom-queue[embedded]", "apt-get", "brew install", "REDIS_URL"):
        assert advice in str(caught.value)


def test_the_systems_postgres_is_found_through_a_link_on_the_path(tmp_path: Path) -> None:
    real = make_program(tmp_path / "real" / "postgres", "postgres (PostgreSQL) 16.4 (Debian)")
    make_program(tmp_path / "real" / "initdb", "initdb")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").symlink_to(real)
    found = find_postgres(search_paths(tmp_path / "bin"))
    assert (found.path, found.version, found.wheel) == (real, (16, 4), None)


def test_the_systems_postgres_is_found_by_asking_pg_config(tmp_path: Path) -> None:
    real = make_program(tmp_path / "real" / "postgres", "postgres (PostgreSQL) 15.18")
    make_program(tmp_path / "real" / "initdb", "initdb")
    make_program(tmp_path / "bin" / "pg_config", str(tmp_path / "real"))
    assert find_postgres(search_paths(tmp_path / "bin")).path == real


def test_servers_that_are_too_old_are_passed_over(tmp_path: Path) -> None:
    make_program(tmp_path / "old" / "postgres", "postgres (PostgreSQL) 14.19")
    make_program(tmp_path / "old" / "initdb", "initdb")
    make_program(tmp_path / "old" / "redis-server", "Redis server v=6.2.14 sha=00000000:0")
    new = make_program(tmp_path / "new" / "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    places = search_paths(tmp_path / "old", tmp_path / "new")
    assert find_valkey(places).path == new
    with pytest.raises(EmbeddedServerError, match="15 or newer"):
        find_postgres(places)


def test_the_pinned_wheels_come_before_the_systems_servers() -> None:
    places = SearchPaths.from_environment({"PATH": "/usr/bin"})
    assert find_postgres(places).wheel is not None
    assert find_valkey(places).wheel is not None


def test_data_of_another_major_version_is_refused_with_advice(
    new_shared_home: SharedHome,
) -> None:
    new_shared_home.home.mkdir()
    new_shared_home.home.chmod(0o755)
    (new_shared_home.home / "postgres").mkdir()
    (new_shared_home.home / "postgres" / "PG_VERSION").write_text("9\n", encoding="ascii")
    message = new_shared_home.start_client(valkey=False).hear()["error"]
    assert "was made by Postgres 9" in message
    assert "darkroom-queue[embedded]" in message


def test_a_server_that_does_not_start_shows_the_end_of_its_log(shared_home: SharedHome) -> None:
    (shared_home.home / "postgres" / "global" / "pg_control").unlink()
    message = shared_home.start_client().hear()["error"]
    assert "Postgres ended with code" in message
    assert "pg_control" in message
    assert len(message.splitlines()) <= 21


def test_a_home_that_cannot_be_made_is_named(open_directory: Path) -> None:
    (open_directory / "file").touch()
    shared_home = SharedHome(open_directory / "file" / "home")
    client = shared_home.start_client()
    message = client.hear()["error"]
    client.leave()
    assert str(open_directory / "file") in message
    assert "DARKROOM_HOME" in message
