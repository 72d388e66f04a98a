"""After any kill, servers end or restart, and the data is kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.adapters.embedded.host.process_info import is_alive
from tests.integration.embedded.shared_home import (
    VALKEY_ONLY,
    SharedHome,
    answers,
    recall,
    remember,
    wait_for,
)


async def wait_until_answering(urls: dict[str, Any]) -> None:
    end = time.monotonic() + 15
    while not await answers(urls):
        assert time.monotonic() < end, "the servers did not come back"
        await asyncio.sleep(0.02)


async def test_killing_the_only_client_ends_the_servers_and_keeps_the_data(
    shared_home: SharedHome,
) -> None:
    client = shared_home.start_client()
    await remember(client.urls(), "kept")
    client.kill()
    shared_home.wait_until_all_ended()
    assert await recall(shared_home.start_client().urls()) == (["kept"], ["kept"])


async def test_after_everything_was_killed_at_once_the_next_start_finds_the_data(
    shared_home: SharedHome,
) -> None:
    client = shared_home.start_client(fsync=True)
    await remember(client.urls(), "kept")
    client.freeze()  # else it would start the next watchdog itself
    shared_home.kill("watchdog", "postgres", "valkey")
    client.kill()
    assert await recall(shared_home.start_client().urls()) == (["kept"], ["kept"])


async def test_after_the_watchdog_alone_was_killed_the_next_start_takes_over(
    shared_home: SharedHome,
) -> None:
    client = shared_home.start_client()
    await remember(client.urls(), "kept")
    before = shared_home.pids()
    client.freeze()  # else it would start the next watchdog itself
    shared_home.kill("watchdog")
    assert await recall(shared_home.start_client().urls()) == (["kept"], ["kept"])
    assert not set(before.values()) & set(shared_home.pids().values())


async def test_a_client_whose_watchdog_was_killed_gets_another_at_the_same_urls(
    shared_home: SharedHome,
) -> None:
    client = shared_home.start_client()
    urls = client.urls()
    await remember(urls, "kept")
    before = shared_home.pids()
    shared_home.kill("watchdog")
    wait_for(
        "a new watchdog",
        lambda: shared_home.pids().get("watchdog") not in {None, before["watchdog"]},
    )
    await wait_until_answering(urls)
    assert await recall(urls) == (["kept"], ["kept"])
    client.leave()
    shared_home.wait_until_all_ended()


@pytest.mark.parametrize("server", ["postgres", "valkey"])
async def test_a_server_that_was_killed_comes_back_at_the_same_url(
    shared_home: SharedHome, server: str
) -> None:
    urls = shared_home.start_client().urls()
    await remember(urls, "kept")
    before = shared_home.pids()
    shared_home.kill(server)
    wait_for("a new process", lambda: shared_home.replaced(server, before))
    await wait_until_answering(urls)
    assert await recall(urls) == (["kept"], ["kept"])
    assert {**shared_home.pids(), server: 0} == {**before, server: 0}


async def test_orphans_that_outlived_their_watchdog_are_ended_before_the_next_start(
    shared_home: SharedHome,
) -> None:
    client = shared_home.start_client()
    await remember(client.urls(), "kept")
    orphans = shared_home.pids()
    # A stopped process cannot obey the signal that it gets when the watchdog dies.
    for name in ("postgres", "valkey"):
        os.kill(orphans[name], signal.SIGSTOP)
    client.freeze()
    shared_home.kill("watchdog")
    successor = shared_home.start_client()
    wait_for("a new watchdog", lambda: shared_home.pids().get("watchdog") is not None)
    for name in ("postgres", "valkey"):
        os.kill(orphans[name], signal.SIGCONT)
    assert await recall(successor.urls()) == (["kept"], ["kept"])


@pytest.fixture
def zombie() -> Iterator[int]:
    """The PID of a zombie process."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


async def test_a_pid_file_of_a_zombie_or_of_a_stranger_does_not_stop_postgres(
    shared_home: SharedHome, zombie: int
) -> None:
    client = shared_home.start_client()
    await remember(client.urls(), "kept")
    for pid in (zombie, os.getpid()):
        client.leave()
        shared_home.wait_until_all_ended()
        pid_file = shared_home.home / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{pid}\n{shared_home.home}/postgres\n", encoding="utf-8")
        client = shared_home.start_client()
        assert await recall(client.urls()) == (["kept"], ["kept"])


def test_a_stale_control_socket_does_not_mislead_the_next_client(
    new_shared_home: SharedHome,
) -> None:
    client = new_shared_home.start_client(**VALKEY_ONLY)
    client.urls()
    client.freeze()
    address = (new_shared_home.home / "watchdog.json").read_text(encoding="utf-8")
    new_shared_home.kill("watchdog", "valkey")
    new_shared_home.wait_until_all_ended()
    assert (new_shared_home.home / "watchdog.json").read_text(encoding="utf-8") == address
    assert "redis_url" in new_shared_home.start_client(**VALKEY_ONLY).urls()


async def test_a_home_removed_under_its_servers_starts_empty(shared_home: SharedHome) -> None:
    client = shared_home.start_client(linger_seconds=60.0)
    await remember(client.urls(), "gone")
    before = shared_home.pids()
    client.leave()
    shutil.rmtree(shared_home.home)
    urls = shared_home.start_client().urls()
    await remember(urls, "new")
    assert await recall(urls) == (["new"], ["new"])
    wait_for("the old ones ended", lambda: not any(is_alive(pid) for pid in before.values()))


async def test_an_interrupted_initdb_is_not_taken_for_a_database(
    new_shared_home: SharedHome,
) -> None:
    unfinished = new_shared_home.home / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n", encoding="utf-8")
    new_shared_home.home.chmod(0o755)
    await remember(new_shared_home.start_client().urls(), "fine")
    assert not unfinished.exists()
