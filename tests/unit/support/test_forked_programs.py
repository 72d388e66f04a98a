"""A forked program is a process like one that is started by `exec`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.forked_programs import DARKROOM, WORKER, ForkedProcess, start_program

PIPE = asyncio.subprocess.PIPE


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, **changes}


async def test_it_writes_to_its_own_streams_and_returns_its_exit_code(tmp_path: Path) -> None:
    process = await start_program(
        DARKROOM, "--version", env=environment(), cwd=tmp_path, stdout=PIPE
    )
    out, err = await process.communicate()
    assert isinstance(process, ForkedProcess)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"darkroom ")


async def test_a_wrong_command_has_the_exit_code_of_a_usage_error(tmp_path: Path) -> None:
    process = await start_program(DARKROOM, "no-such-command", env=environment(), cwd=tmp_path)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"no-such-command" in err


async def test_it_sees_its_own_environment_and_directory_only(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KIE_SUBMITS_PER_10_SECONDS=none\n")
    process = await start_program(WORKER, env=environment(KIE_API_KEY="k"), cwd=tmp_path)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"KIE_SUBMITS_PER_10_SECONDS" in err
    assert "KIE_API_KEY" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_signal_ends_it_with_the_number_of_the_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = await start_program(
        DARKROOM, "simulate-kie", "--port", "0", env=environment(), cwd=tmp_path
    )
    assert process.returncode is None
    os.kill(process.pid, number)
    async with asyncio.timeout(10):
        await process.communicate()
    assert process.returncode == -number


@pytest.mark.parametrize(
    "change", [{"PYTHONUTF8": "1"}, {"LC_ALL": "C"}, {"LD_PRELOAD": ""}, {"TZ": "Asia/Tokyo"}]
)
async def test_what_changes_how_python_starts_is_started_by_exec(
    tmp_path: Path, change: dict[str, str]
) -> None:
    process = await start_program(
        DARKROOM, "--version", env=environment(**change), cwd=tmp_path, stdout=PIPE
    )
    out, _ = await process.communicate()
    assert not isinstance(process, ForkedProcess)
    assert (process.returncode, out[:9]) == (0, b"darkroom ")
