"""The doctor reports the servers that it uses, and the free disk space."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from producer.doctor import examine
from producer.doctor.disk_findings import DiskSpace, check_disks, check_free_space
from producer.doctor.finding import Finding
from shared.adapters.embedded import EmbeddedServers, acquire_servers
from shared.adapters.embedded.client import find_running_servers
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.integration.producer.test_doctor import settings_of
from tests.support.deployment import eventually

MIB, GIB = 1024**2, 1024**3


async def finding(settings: Settings, name: str) -> Finding:
    async for one in examine(settings):
        if one.name == name:
            return one
    raise AssertionError(f"the doctor says nothing of {name}")


# --- servers --------------------------------------------------------------------------------


async def test_given_servers_are_named_without_their_passwords(servers: Servers) -> None:
    url = servers.database_url.replace("@", ":a-secret@", 1)
    found = await finding(settings_of(servers, database_url=url), "servers")
    assert found.ok
    assert found.detail.startswith("Postgres ")
    assert found.detail.count("as given") == 2
    assert "a-secret" not in found.detail


async def test_embedded_servers_that_run_are_reported_with_their_process(
    embedded: EmbeddedServers,
) -> None:
    found = await finding(Settings(darkroom_home=embedded.home), "servers")
    pid = (embedded.home / "lock").read_text(encoding="ascii").strip()
    assert found.detail == (
        f"Postgres embedded; Valkey embedded; the embedded ones are in {embedded.home},"
        f" and process {pid} runs them"
    )


async def test_embedded_servers_that_did_not_run_are_distinguished(
    embedded: EmbeddedServers, tmp_path: Path
) -> None:
    assert embedded.redis_url is not None
    settings = Settings.model_validate({"darkroom_home": tmp_path, "redis_url": embedded.redis_url})
    with acquire_servers(tmp_path, valkey=False, linger_seconds=0):
        pass  # a database is made, and stopped

    async def have_stopped() -> bool:
        return find_running_servers(tmp_path) is None

    await eventually(have_stopped, "the servers have stopped")
    found = await finding(settings, "servers")
    assert found.detail.startswith("Postgres embedded; Redis ")
    assert "did not run, and were started for the doctor" in found.detail
    with acquire_servers(tmp_path, valkey=False, linger_seconds=0):
        running = await finding(settings, "servers")
    assert "runs them" in running.detail


# --- disk space -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "total", "ok"),
    [
        (2 * GIB, 1000 * GIB, True),
        (GIB - 1, 1000 * GIB, False),
        (600 * MIB, 10 * GIB, True),
        (500 * MIB, 10 * GIB, False),
        (0, 64 * MIB, False),
        (4 * MIB, 64 * MIB, True),
    ],
)
def test_the_smaller_of_a_gibibyte_and_five_percent_must_be_free(
    free: int, total: int, ok: bool
) -> None:
    assert check_free_space(Path("/data"), DiskSpace(free, total)).ok is ok


def test_a_home_that_does_not_exist_yet_is_checked_at_its_future_path(tmp_path: Path) -> None:
    (found,) = check_disks(tmp_path / "not" / "yet")
    room = os.statvfs(tmp_path)
    assert f"{room.f_blocks * room.f_frsize / GIB:.1f} GiB free at {tmp_path}" in found.detail


@dataclass(frozen=True)
class FileSystemSize:
    """The result of `os.statvfs` for a file system."""

    f_bavail: int
    f_blocks: int
    f_frsize: int = 4096


def test_a_disk_that_is_nearly_full_is_reported_with_numbers(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (found,) = check_disks(
        tmp_path, read_stats=lambda _: FileSystemSize(f_bavail=70, f_blocks=2048)
    )
    assert not found.ok
    assert found.detail == (
        f"0.3 MiB of 8.0 MiB free at {tmp_path}, less than 0.4 MiB: writes will soon be refused"
    )
    assert "free space on the disk of" in (found.fix or "")


def test_a_directory_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    def refuse(_: Path) -> FileSystemSize:
        raise PermissionError(13, "Permission denied")

    (found,) = check_disks(tmp_path, read_stats=refuse)
    assert (found.ok, found.detail) == (
        False,
        f"{tmp_path} cannot be read: Permission denied",
    )
