"""Clients share one pair of servers, which ends with the last of them and keeps its data."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import asyncpg
import pytest

from shared.adapters.embedded import EmbeddedServers, acquire_servers
from shared.adapters.postgres.database import Database
from tests.integration.embedded.shared_home import (
    VALKEY_ONLY,
    SharedHome,
    recall,
    remember,
    wait_for,
)


async def test_the_first_start_is_quick_and_the_next_one_finds_the_data(
    new_shared_home: SharedHome,
) -> None:
    first = new_shared_home.start_client()
    urls = first.urls()
    await remember(urls, "kept")
    first.leave()
    new_shared_home.wait_until_all_ended()

    again = new_shared_home.start_client().urls()

    assert await recall(again) == (["kept"], ["kept"])
    assert {**again, "took_seconds": 0} == {**urls, "took_seconds": 0}
    assert urls["took_seconds"] < 15
    assert again["took_seconds"] < 5


async def test_a_second_process_shares_the_servers_and_the_last_one_out_ends_them(
    shared_home: SharedHome,
) -> None:
    first = shared_home.start_client()
    await remember(first.urls(), "shared")
    pids = shared_home.pids()
    second = shared_home.start_client()
    urls = second.urls()
    assert shared_home.pids() == pids
    assert set(pids) == {"watchdog", "postgres", "valkey"}

    first.leave()
    assert await recall(urls) == (["shared"], ["shared"])
    assert shared_home.pids() == pids

    second.leave()
    shared_home.wait_until_all_ended()
    assert not (shared_home.home / "watchdog.json").exists()
    assert not Path(urls["redis_url"].removeprefix("unix://")).parent.parent.exists()


def test_attaching_to_running_servers_takes_milliseconds(new_shared_home: SharedHome) -> None:
    new_shared_home.start_client(**VALKEY_ONLY).urls()
    fastest = min(
        new_shared_home.start_client(**VALKEY_ONLY).urls()["took_seconds"] for _ in range(3)
    )
    assert fastest < 0.05


def test_processes_racing_for_the_first_start_get_one_pair(
    new_shared_home: SharedHome,
) -> None:
    clients = [new_shared_home.start_client() for _ in range(5)]
    urls = [client.urls() for client in clients]
    assert len({(url["database_url"], url["redis_url"]) for url in urls}) == 1
    log = (new_shared_home.home / "log" / "watchdog.log").read_text(encoding="utf-8")
    assert log.count("watching over") == 1
    assert log.count("Postgres answers") == 1
    assert log.count("Valkey answers") == 1


def test_clients_that_come_and_go_while_the_watchdog_ends_always_get_servers(
    new_shared_home: SharedHome,
) -> None:
    # With no linger at all, each departure races with the next arrival.
    new_shared_home.start_client(linger_seconds=0.0, **VALKEY_ONLY).urls()
    for _ in range(6):
        new_shared_home.clients[-1].leave()
        assert "redis_url" in new_shared_home.start_client(linger_seconds=0.0, **VALKEY_ONLY).urls()
    log = (new_shared_home.home / "log" / "watchdog.log").read_text(encoding="utf-8")
    assert log.count("watching over") > 1


def test_a_client_may_ask_for_one_server_only_and_another_for_the_other(
    shared_home: SharedHome,
) -> None:
    only_valkey = shared_home.start_client(postgres=False).urls()
    assert only_valkey["database_url"] is None
    assert set(shared_home.pids()) == {"watchdog", "valkey"}
    only_postgres = shared_home.start_client(valkey=False).urls()
    assert only_postgres["redis_url"] is None
    assert set(shared_home.pids()) == {"watchdog", "valkey", "postgres"}


def test_servers_linger_for_the_longest_time_that_any_departed_client_asked_for(
    new_shared_home: SharedHome,
) -> None:
    lingering = new_shared_home.start_client(linger_seconds=60.0, **VALKEY_ONLY)
    hasty = new_shared_home.start_client(linger_seconds=0.0, **VALKEY_ONLY)
    lingering.urls()
    hasty.urls()
    pids = new_shared_home.pids()
    lingering.leave()
    hasty.leave()
    assert new_shared_home.start_client(**VALKEY_ONLY).urls()["took_seconds"] < 0.2
    assert new_shared_home.pids() == pids
    os.kill(pids["watchdog"], signal.SIGTERM)


async def test_one_client_that_insists_on_fsync_gets_it_for_all(shared_home: SharedHome) -> None:
    careless = shared_home.start_client(fsync=False, valkey=False).urls()
    connection = await asyncpg.connect(careless["database_url"])
    try:
        assert await connection.fetchval("SHOW fsync") == "off"
        shared_home.start_client(fsync=True, valkey=False).urls()
        async with asyncio.timeout(10):
            while await connection.fetchval("SHOW fsync") != "on":
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
    assert len(shared_home.pids()) == 2


async def test_settings_of_another_postgres_in_the_environment_do_no_harm(
    shared_home: SharedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {"PGPORT": "6543", "PGDATA": "/nonexistent", "PGHOST": "elsewhere.invalid"}
    shared_home.environ = elsewhere
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    await remember(shared_home.start_client().urls(), "anything")


async def test_a_small_postgres_has_no_processes_for_reads(database: Database) -> None:
    kinds = await database.pool.fetch("SELECT backend_type FROM pg_stat_activity")
    assert "checkpointer" in {row["backend_type"] for row in kinds}
    assert "io worker" not in {row["backend_type"] for row in kinds}


def test_threads_of_one_process_hold_leases_of_their_own(new_shared_home: SharedHome) -> None:
    held: list[EmbeddedServers] = []

    def acquire() -> None:
        held.append(acquire_servers(new_shared_home.home, postgres=False, linger_seconds=0.1))

    threads = [threading.Thread(target=acquire) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({servers.redis_url for servers in held}) == 1
    for servers in held:
        assert new_shared_home.pids()
        servers.release()
        servers.release()
    new_shared_home.wait_until_all_ended()


def test_ctrl_c_in_the_clients_terminal_does_not_reach_the_servers(
    new_shared_home: SharedHome,
) -> None:
    client = new_shared_home.start_client(linger_seconds=60.0, **VALKEY_ONLY)
    client.urls()
    pids = new_shared_home.pids()
    sessions = {os.getsid(pid) for pid in pids.values()}
    assert os.getsid(client.process.pid) not in sessions
    os.killpg(client.process.pid, signal.SIGINT)
    wait_for("the client ended", lambda: client.process.poll() is not None)
    client.kill()
    assert new_shared_home.pids() == pids
    os.kill(pids["watchdog"], signal.SIGTERM)
