"""Starts processes that end with the watchdog, and stops them by a sequence of signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.host import exec_wrapper
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.file_lock import read_holder, record_holder, take_lock
from shared.adapters.embedded.host.log_files import format_log_tail
from shared.adapters.embedded.host.process_info import has_file_open
from shared.adapters.embedded.host.unix_user import UnixUser
from shared.errors import EmbeddedServerError

POLL_SECONDS = 0.02
STEP_SECONDS = 8.0
"""How long a process may take to end after a signal before the next one is sent."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run, with its arguments, environment, directory and user."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    directory: Path
    user: UnixUser | None
    death_signal: signal.Signals
    """The signal that the kernel sends when the watchdog dies (Linux)."""


async def spawn(command: Command, *, log: int, lock: int) -> asyncio.subprocess.Process:
    """Start the program in a new session. It inherits `lock` and writes to `log`.

    Call it on the main thread: the kernel sends the death signal when the calling thread ends.
    """
    user = command.user
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", exec_wrapper.__file__),
        *(str(os.getpid()), str(int(command.death_signal))),
        *(str(user.user_id if user else -1), str(user.group_id if user else -1)),
        *command.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=dict(command.environ),
        cwd=command.directory,
        pass_fds=(lock,),
        start_new_session=True,
    )
    record_holder(lock, process.pid)
    return process


async def stop(
    process: asyncio.subprocess.Process,
    signals: Sequence[signal.Signals],
    *,
    group: bool = False,
    step_seconds: float = STEP_SECONDS,
) -> None:
    """Send the signals in order, then SIGKILL, until the process has ended.

    With `group` its process group gets the signals, for programs that start others.
    """
    for step in (*signals, signal.SIGKILL):
        if process.returncode is not None:
            return
        _send(process.pid, step, group=group)
        try:
            async with asyncio.timeout(step_seconds):
                await process.wait()
        except TimeoutError:
            continue
    await process.wait()


async def take_over_lock(
    path: Path,
    *,
    signals: Sequence[signal.Signals],
    log: Path,
    deadline: Deadline,
    step_seconds: float = STEP_SECONDS,
) -> int:
    """Take the lock, and stop an orphan of an earlier watchdog that holds it.

    Returns the descriptor. Raises EmbeddedServerError if the orphan does not end in time.
    """
    steps = iter((*signals, signal.SIGKILL))
    next_step = Deadline.after(0)
    while (lock := take_lock(path)) is None:
        if deadline.is_over:
            raise EmbeddedServerError(
                f"process {read_holder(path)} of an earlier run still holds {path}: end it with"
                f" `kill -9 {read_holder(path)}` and start again{format_log_tail(log)}"
            )
        if next_step.is_over and (step := next(steps, None)) is not None:
            _signal_holder(path, step)
            next_step = Deadline.after(step_seconds)
        await asyncio.sleep(POLL_SECONDS)
    return lock


def _signal_holder(path: Path, step: signal.Signals) -> None:
    pid = read_holder(path)
    # The recorded process may have ended while its children still hold the lock.
    if pid is not None and has_file_open(pid, path):
        _send(pid, step, group=False)


def _send(pid: int, step: signal.Signals, *, group: bool) -> None:
    try:
        if group:
            os.killpg(pid, step)
        else:
            os.kill(pid, step)
    except ProcessLookupError:
        return
