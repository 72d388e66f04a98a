"""Supervised child processes: one that ends is restarted, and all are drained at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from producer.cli.processes.child_process import ChildProcess, Program
from producer.cli.processes.log_lines import LogLine
from producer.cli.processes.process_supervisor import ProcessSupervisor
from shared.errors import ConfigurationError

_READY = 'print(\'{"event": "worker_started", "http": "127.0.0.1:1"}\', flush=True)\n'
_DEAF = (
    f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{_READY}time.sleep(60)\n"
)


def program(tmp_path: Path, text: str) -> Program:
    script = tmp_path / "program.py"
    script.write_text(text)
    return Program("worker", [str(script)], dict(os.environ), tmp_path)


class Watcher:
    """Counts how often a program said that it is ready, and stops the crew."""

    def __init__(self, stop_after: int) -> None:
        self.stop, self.kill_now = asyncio.Event(), asyncio.Event()
        self.lines: list[LogLine] = []
        self._stop_after = stop_after

    def __call__(self, line: LogLine) -> None:
        self.lines.append(line)
        if self.starts >= self._stop_after:
            self.stop.set()

    @property
    def starts(self) -> int:
        return sum(line.started_at is not None for line in self.lines)


async def run(watcher: Watcher, of: Program, drain_seconds: float = 10) -> None:
    supervisor = ProcessSupervisor([of], on_line=watcher, drain_seconds=drain_seconds)
    async with asyncio.timeout(30):
        await supervisor.run(watcher.stop, watcher.kill_now)


async def test_a_program_that_dies_is_restarted_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dies_once = (
        "import os, sys, time\n"
        f"{_READY}"
        "if not os.path.exists('seen'):\n"
        "    open('seen', 'w').close()\n"
        "    sys.exit(6)\n"
        "time.sleep(60)\n"
    )
    watcher = Watcher(stop_after=2)
    await run(watcher, program(tmp_path, dies_once))
    assert watcher.starts == 2
    assert "worker ended with code 6; starting it again in 1.0 s" in capsys.readouterr().err


async def test_a_program_that_refuses_its_configuration_ends_all_programs(tmp_path: Path) -> None:
    watcher = Watcher(stop_after=1)
    with pytest.raises(ConfigurationError, match="worker does not start"):
        await run(watcher, program(tmp_path, "print('no key', flush=True)\nraise SystemExit(1)"))
    assert [line.text for line in watcher.lines] == ["no key"]


async def test_a_program_that_does_not_drain_in_time_is_killed_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(Watcher(stop_after=1), program(tmp_path, _DEAF), drain_seconds=0.3)
    assert "worker did not stop in time and was killed" in capsys.readouterr().err


async def test_a_second_signal_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    watcher = Watcher(stop_after=1)
    watcher.kill_now.set()
    async with asyncio.timeout(10):
        await run(watcher, program(tmp_path, _DEAF), drain_seconds=60)


async def test_a_line_longer_than_any_log_line_does_not_end_the_reading(tmp_path: Path) -> None:
    lines: list[str] = []
    on_line: Callable[[str], None] = lines.append
    text = "import sys\nsys.stdout.write('x' * 3_000_000 + '\\n')\nprint('after')\n"
    child = await ChildProcess.start(program(tmp_path, text), on_line)
    async with asyncio.timeout(20):
        assert await child.wait() == 0
    assert lines[-1] == "after"
