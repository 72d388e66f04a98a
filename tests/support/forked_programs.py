"""Starts the project's programs by forking a process that has loaded their code already.

Loading the code costs a program about 0.7 s of CPU, and the suite starts hundreds of programs. A
forked program is a process of its own, with its own pid, environment, directory, standard streams
and exit code. If the environment changes how Python or the linker starts, and on systems other than
Linux, the program is started by `exec` instead.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
_ORDER_BYTES = 1 << 20
"""More than any environment takes."""
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "FAKETIME", "MALLOC_", "TZ")
"""How the names of variables begin that Python, the C library or the linker reads at its start."""
_LOADED = ("producer", "shared", "worker")
"""The packages that the forking process imports whole: commands import what they run with late."""
_OUTPUT = ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS", "TERMINAL_WIDTH")
"""These may be read when a library is loaded."""

Program = tuple[str, ...]
DARKROOM: Program = (str(Path(sys.executable).with_name("darkroom")),)
WORKER: Program = (sys.executable, "-m", "worker")


class ForkedProcess:
    """A program that was forked; it offers what tests use of `asyncio.subprocess.Process`."""

    stdin = None

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._loop.add_reader(link, self._read_end)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the program to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program at once."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end and return the exit code; negative: the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read all that the program writes until it ends."""
        out, err = await asyncio.gather(*(_read_all(one) for one in (self.stdout, self.stderr)))
        await self.wait()
        return out, err

    def _read_end(self) -> None:
        status = self._link.recv(64)
        self._loop.remove_reader(self._link)
        self._link.close()
        # Nothing where the process that forks was killed: its programs are orphans then.
        self.returncode = os.waitstatus_to_exitcode(int(status)) if status else -signal.SIGKILL
        self._ended.set()


Process = asyncio.subprocess.Process | ForkedProcess


async def start_program(
    program: Program,
    *words: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdout: int = asyncio.subprocess.DEVNULL,
    stderr: int = asyncio.subprocess.PIPE,
) -> Process:
    """Start `DARKROOM` or `WORKER` with these arguments; no stdin. For use inside a loop."""
    if not _may_fork(env):
        return await asyncio.create_subprocess_exec(
            *(*program, *words),
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    out, out_end = _open_stream(stdout)
    err, err_end = _open_stream(stderr)
    link, link_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    order = {"argv": [*program, *words], "env": dict(env), "cwd": str(cwd)}
    try:
        message = json.dumps(order).encode()
        descriptors = [link_end.fileno(), out_end, err_end]
        socket.send_fds(_forking_process(), [message], descriptors)
        pid = int(link.recv(64))
    finally:
        link_end.close()
        os.close(out_end)
        os.close(err_end)
    process = ForkedProcess(pid, link)
    process.stdout = await _reader_of(out)
    process.stderr = await _reader_of(err)
    return process


def _may_fork(env: Mapping[str, str]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return _read_at_start(env) == _read_at_start(os.environ)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


def _open_stream(target: int) -> tuple[int | None, int]:
    """Return our end, where we read, and the program's."""
    if target == asyncio.subprocess.PIPE:
        return os.pipe()
    if target == asyncio.subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(target)


async def _reader_of(descriptor: int | None) -> asyncio.StreamReader | None:
    if descriptor is None:
        return None
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    return reader


async def _read_all(reader: asyncio.StreamReader | None) -> bytes:
    return b"" if reader is None else await reader.read()


@cache
def _forking_process() -> socket.socket:
    """Start the process that forks, once for all tests of this process; it ends with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ORDER_BYTES)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked_programs", str(theirs.fileno())],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in _OUTPUT},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def _fork_on_demand(orders: socket.socket) -> Callable[[], Any] | None:
    """Fork a program per order until no more can come; in a forked process, return its program."""
    links: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([orders, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _report_ends(links)
        if orders not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 3)
        if not message:
            return None
        link = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if not pid:
            for inherited in (orders, woken, wake, link, *links.values()):
                inherited.close()
            return _become(json.loads(message), *descriptors[1:])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        links[pid] = link
        link.send(str(pid).encode())


def _report_ends(links: dict[int, socket.socket]) -> None:
    while links:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with links.pop(pid) as link:
            try:
                link.send(str(status).encode())
            except OSError:  # the test process is gone
                continue


def _become(order: dict[str, Any], out: int, err: int) -> Callable[[], Any]:
    """Make this forked process the program of the order, and return what it runs."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ours, standard in ((out, 1), (err, 2)):
        os.dup2(ours, standard)
        os.close(ours)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    # New objects, because buffering depends on whether the new stream is a terminal.
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace")
    program, *words = order["argv"]
    if program == DARKROOM[0]:
        from producer.cli import main as run_darkroom  # noqa: PLC0415

        sys.argv = [program, *words]
        return run_darkroom
    from worker.__main__ import main as run_worker  # noqa: PLC0415

    sys.argv = ["worker", *words[2:]]
    return run_worker


def _end(code: int) -> NoReturn:
    """End with this code as a program ends, but do not take apart what is loaded.

    That would write to all of it, and the system copies each page to which a forked process writes.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # Python has its own words and code for it
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    for package in _LOADED:
        for found in walk_packages([str(ROOT / package)], f"{package}."):
            if not found.name.endswith("__main__") or found.name == "worker.__main__":
                import_module(found.name)
    # What is loaded stays to the end, and is not searched for garbage.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as incoming:
        chosen = _fork_on_demand(incoming)
    if chosen is None:
        sys.exit()
    _end(chosen())
