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
    Household,
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
    household: Household,
) -> None:
    client = household.start_client()
    await remember(client.urls(), "kept")
    client.kill()
    household.wait_until_all_ended()
    assert await recall(household.start_client().urls()) == (["kept"], ["kept"])


async def test_after_everything_was_killed_at_once_the_next_start_finds_the_data(
    household: Household,
) -> None:
    client = household.start_client(fsync=True)
    await remember(client.urls(), "kept")
    client.freeze()  # else it would start the next watchdog itself
    household.kill("watchdog", "postgres", "valkey")
    client.kill()
    assert await recall(household.start_client().urls()) == (["kept"], ["kept"])


async def test_after_the_watchdog_alone_was_killed_the_next_start_takes_over(
    household: Household,
) -> None:
    client = household.start_client()
    await remember(client.urls(), "kept")
    before = household.pids()
    client.freeze()  # else it would start the next watchdog itself
    household.kill("watchdog")
    assert await recall(household.start_client().urls()) == (["kept"], ["kept"])
    assert not set(before.values()) & set(household.pids().values())


async def test_a_client_whose_watchdog_was_killed_gets_another_at_the_same_urls(
    household: Household,
) -> None:
    client = household.start_client()
    urls = client.urls()
    await remember(urls, "kept")
    before = household.pids()
    household.kill("watchdog")
    wait_for(
        "a new watchdog", lambda: household.pids().get("watchdog") not in {None, before["watchdog"]}
    )
    await wait_until_answering(urls)
    assert await recall(urls) == (["kept"], ["kept"])
    client.leave()
    household.wait_until_all_ended()


@pytest.mark.parametrize("server", ["postgres", "valkey"])
async def test_a_server_that_was_killed_comes_back_at_the_same_url(
    household: Household, server: str
) -> None:
    urls = household.start_client().urls()
    await remember(urls, "kept")
    before = household.pids()
    household.kill(server)
    wait_for("a new process", lambda: household.replaced(server, before))
    await wait_until_answering(urls)
    assert await recall(urls) == (["kept"], ["kept"])
    assert {**household.pids(), server: 0} == {**before, server: 0}


async def test_orphans_that_outlived_their_watchdog_are_ended_before_the_next_start(
    household: Household,
) -> None:
    client = household.start_client()
    await remember(client.urls(), "kept")
    orphans = household.pids()
    # A stopped process cannot obey the signal that it gets when the watchdog dies.
    for name in ("postgres", "valkey"):
        os.kill(orphans[name], signal.SIGSTOP)
    client.freeze()
    household.kill("watchdog")
    successor = household.start_client()
    wait_for("a new watchdog", lambda: household.pids().get("watchdog") is not None)
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
    household: Household, zombie: int
) -> None:
    client = household.start_client()
    await remember(client.urls(), "kept")
    for pid in (zombie, os.getpid()):
        client.leave()
        household.wait_until_all_ended()
        pid_file = household.home / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{pid}\n{household.home}/postgres\n", encoding="utf-8")
        client = household.start_client()
        assert await recall(client.urls()) == (["kept"], ["kept"])


def test_a_stale_control_socket_does_not_mislead_the_next_client(new_household: Household) -> None:
    client = new_household.start_client(**VALKEY_ONLY)
    client.urls()
    client.freeze()
    address = (new_household.home / "watchdog.json").read_text(encoding="utf-8")
    new_household.kill("watchdog", "valkey")
    new_household.wait_until_all_ended()
    assert (new_household.home / "watchdog.json").read_text(encoding="utf-8") == address
    assert "redis_url" in new_household.start_client(**VALKEY_ONLY).urls()


async def test_a_home_removed_under_its_servers_starts_empty(household: Household) -> None:
    client = household.start_client(linger_seconds=60.0)
    await remember(client.urls(), "gone")
    before = household.pids()
    client.leave()
    shutil.rmtree(household.home)
    urls = household.start_client().urls()
    await remember(urls, "new")
    assert await recall(urls) == (["new"], ["new"])
    wait_for("the old ones ended", lambda: not any(is_alive(pid) for pid in before.values()))


async def test_an_interrupted_initdb_is_not_taken_for_a_database(new_household: Household) -> None:
    unfinished = new_household.home / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n", encoding="utf-8")
    new_household.home.chmod(0o755)
    await remember(new_household.start_client().urls(), "fine")
    assert not unfinished.exists()
