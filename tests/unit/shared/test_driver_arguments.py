"""What a Postgres URL becomes for the driver: passwords, certificates, keepalive, the home."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.postgres.connections.driver_arguments import read_connect_options
from shared.adapters.postgres.connections.kept_alive_connection import apply_keepalive
from shared.errors import DatabaseUrlRefused
from shared.postgres_url import UrlFault, require_usable

NOBODY = 65534


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Run the block as a user who may not enter the folder."""
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o700)


def password_of(url: str, **environ: str) -> Any:
    (attempt,) = read_connect_options(url, environ).attempts
    password = attempt.arguments["password"]
    return password() if callable(password) else password


@pytest.mark.parametrize("mode", ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=disable"])
def test_the_home_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    home = tmp_path / "root"
    (home / ".postgresql").mkdir(parents=True)
    for name in (".postgresql/root.crt", ".postgresql/postgresql.crt", ".pgpass"):
        (home / name).write_text("of another user")
    monkeypatch.setenv("HOME", str(home))
    with without_rights(home):
        require_usable(f"postgresql://ann@localhost/shop{mode}")
        assert password_of(f"postgresql://ann@localhost/shop{mode}", HOME=str(home)) is None


def test_a_certificate_in_the_own_home_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("no certificate")
    monkeypatch.setenv("HOME", str(tmp_path))
    require_usable("postgresql://ann@localhost/shop")
    with pytest.raises(UrlFault, match=r"root\.crt cannot be used"):
        require_usable("postgresql://ann@localhost/shop?sslmode=verify-ca")


def test_a_password_is_found_as_libpq_finds_it(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("# a comment\ndb:5432:shop:ann:first\n*:*:*:bob:b\\:c\\\\d\nbroken line\n")
    file.chmod(0o600)
    given = {"PGPASSFILE": str(file)}
    assert password_of("postgresql://ann@db/shop", **given) == "first"
    assert password_of("postgresql://ann@db:5433/shop", **given) is None
    assert password_of("postgresql://bob@elsewhere:7/other", **given) == "b:c\\d"
    assert password_of("postgresql://ann:own@db/shop", **given) == "own"
    assert password_of(f"postgresql://ann@db/shop?passfile={file}") == "first"
    assert password_of("postgresql://ann@db/shop", PGPASSWORD="x", **given) is None


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o606])
def test_a_password_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "passwords"
    file.write_text("*:*:*:*:hush")
    file.chmod(mode)
    with pytest.raises(DatabaseUrlRefused, match=r"passfile: .* chmod 0600 or 0640"):
        password_of(f"postgresql://ann@db/shop?passfile={file}")


def test_a_password_that_the_group_may_read_is_a_mounted_secret(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("*:*:*:*:hush")
    file.chmod(0o440)
    assert password_of(f"postgresql://ann@db/shop?passfile={file}") == "hush"


def test_what_the_server_is_told_is_not_what_the_driver_does() -> None:
    found = read_connect_options(
        "postgresql://ann@a,b:7/shop?options=-csearch_path%3Dx&connect_timeout=9&pgbouncer=true", {}
    )
    assert found.server_settings == {"options": "-csearch_path=x"}
    assert found.timeout_seconds == 9
    assert [one.arguments["host"] for one in found.attempts] == ["a", "b"]
    assert {one.arguments["target_session_attrs"] for one in found.attempts} == {"read-write"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGPORT", "abc"), ("PGPORT", "5432,5433"), ("PGPORT", "70000"), ("PGHOST", "a,b")],
)
def test_a_place_of_the_environment_that_is_no_use_is_named(name: str, value: str) -> None:
    with pytest.raises(DatabaseUrlRefused, match=f"{name} "):
        read_connect_options("postgresql://ann@/shop", {name: value})
    read_connect_options("postgresql://ann@db:5432/shop", {name: value})


def test_the_driver_reads_nothing_from_the_environment_by_itself() -> None:
    (attempt,) = read_connect_options("postgresql://ann@db/shop", {}).attempts
    assert attempt.arguments["target_session_attrs"] == "any"
    assert attempt.arguments["direct_tls"] is False


@pytest.mark.parametrize(
    ("query", "tries"),
    [
        ("sslmode=disable", [False]),
        ("sslmode=allow", [False, True]),
        ("sslmode=prefer", [True, False]),
        ("sslmode=require", [True]),
        ("host=/run/postgresql", [False]),
    ],
)
def test_each_mode_of_tls_is_tried_in_its_order(query: str, tries: list[bool]) -> None:
    found = read_connect_options(f"postgresql://ann@db/shop?{query}", {})
    assert [bool(one) for one in found.attempts[0].tls] == tries


def test_the_keepalive_of_the_url_is_set_on_the_socket() -> None:
    found = read_connect_options(
        "postgresql://ann@db/shop?keepalives_idle=77&tcp_user_timeout=4000&keepalives_count=0", {}
    )
    with socket.socket() as opened:
        apply_keepalive(opened, found.keepalive)
        read = opened.getsockopt
        assert read(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert read(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert read(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
        assert read(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        apply_keepalive(opened, {"keepalives": "0"})
        assert read(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
