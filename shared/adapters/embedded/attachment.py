"""Attaches a client to the watchdog of a home, and starts the watchdog if needed."""

from __future__ import annotations

import json
import logging
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared.adapters.embedded.control_messages import (
    AttachRequest,
    Request,
    decode_answer,
    encode_request,
)
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.file_lock import read_holder, take_lock
from shared.adapters.embedded.host.home import Home
from shared.adapters.embedded.host.log_files import format_log_tail
from shared.errors import EmbeddedServerError

_RETRY_SECONDS = 0.01
_ANSWER_MARGIN_SECONDS = 2.0
"""The watchdog times out first, because its error has more details."""


_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_JOIN_SECONDS = 5.0
logger = logging.getLogger(__name__)


class WatchdogGone(Exception):
    """There is no watchdog, or it ended before it replied."""


def attach(
    home: Home, request: AttachRequest, deadline: Deadline
) -> tuple[socket.socket, dict[str, str]]:
    """Attach to the watchdog of this home, and start it if needed.

    Returns the URLs and the connection. The attachment lasts until the connection is closed.
    Raises EmbeddedServerError.
    """
    while True:
        try:
            return _try_attach(home, request, deadline)
        except WatchdogGone:
            _start_watchdog_unless_locked(home, deadline)
        if deadline.is_over:
            raise EmbeddedServerError(
                f"the watchdog of {home.path} (process {read_holder(home.lock)}) neither answered"
                f" nor ended in time: end it with `kill {read_holder(home.lock)}` and start again"
                f"{format_log_tail(home.log('watchdog'))}"
            )
        time.sleep(_RETRY_SECONDS)


def ask(home: Home, request: Request, timeout_seconds: float) -> dict[str, str]:
    """Send one request on a new connection, and return the reply.

    Raises EmbeddedServerError if the request is refused, or WatchdogGone without a watchdog.
    """
    connection = _connect(home)
    with connection:
        return _ask(connection, request, timeout_seconds)


def find_watchdog(home: Home) -> int | None:
    """Return the process id of the watchdog of this home, or None. Starts and creates nothing.

    Raises EmbeddedServerError if the watchdog belongs to another user.
    """
    try:
        _connect(home).close()
    except WatchdogGone:
        return None
    return read_holder(home.lock)


def _try_attach(
    home: Home, request: AttachRequest, deadline: Deadline
) -> tuple[socket.socket, dict[str, str]]:
    connection = _connect(home)
    try:
        return connection, _ask(connection, request, deadline.remaining_seconds)
    except BaseException:
        connection.close()
        raise


def _connect(home: Home) -> socket.socket:
    try:
        address = json.loads(home.address_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise WatchdogGone from error
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address["control"]))
    except PermissionError as error:
        connection.close()
        raise EmbeddedServerError(
            f"the servers of {home.path} were started by another user (process {address['pid']}):"
            " run as that user, or set DARKROOM_HOME to a directory of yours"
        ) from error
    except OSError as error:
        connection.close()
        raise WatchdogGone from error
    return connection


def _ask(connection: socket.socket, request: Request, timeout_seconds: float) -> dict[str, str]:
    connection.settimeout(timeout_seconds + _ANSWER_MARGIN_SECONDS)
    try:
        connection.sendall(encode_request(request))
        with connection.makefile("rb") as answers:
            line = answers.readline()
    except TimeoutError as error:
        raise EmbeddedServerError(
            f"the watchdog did not answer within {timeout_seconds:g} s"
        ) from error
    except OSError as error:
        raise WatchdogGone from error
    if not line.endswith(b"\n"):
        raise WatchdogGone
    return decode_answer(line)


def _start_watchdog_unless_locked(home: Home, deadline: Deadline) -> None:
    lock = take_lock(home.lock)
    if lock is None:
        # A watchdog is starting or ending, or another client is starting one. The caller retries.
        return
    try:
        if home.address_file.exists():
            # Nobody holds the lock, so the process that wrote this file is dead.
            home.address_file.unlink(missing_ok=True)
        _start_watchdog(home, lock, deadline)
    finally:
        os.close(lock)


def _start_watchdog(home: Home, lock: int, deadline: Deadline) -> None:
    log = home.open_log("watchdog")
    status, status_of_watchdog = socket.socketpair()
    try:
        with status:
            with status_of_watchdog:
                _run_watchdog(home, (lock, status_of_watchdog.fileno()), log, deadline)
            text = _read_status(status, deadline)
    finally:
        os.close(log)
    if text != "ready":
        raise EmbeddedServerError(
            text or f"the watchdog could not be started{format_log_tail(home.log('watchdog'))}"
        )


def _run_watchdog(home: Home, descriptors: tuple[int, int], log: int, deadline: Deadline) -> None:
    project = str(Path(__file__).resolve().parents[3])
    search = os.pathsep.join(filter(None, [project, os.environ.get("PYTHONPATH")]))
    lock, status = descriptors
    try:
        subprocess.run(
            # -P: import the module from this project, never from the working directory.
            [
                *(sys.executable, "-P", "-m", "shared.adapters.embedded.watchdog", str(home.path)),
                *("--lock-fd", str(lock), "--status-fd", str(status)),
            ],
            env={**os.environ, "PYTHONPATH": search},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
            timeout=max(deadline.remaining_seconds, 1.0),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(
            f"the watchdog did not start in time{format_log_tail(home.log('watchdog'))}"
        ) from error


def _read_status(status: socket.socket, deadline: Deadline) -> str:
    """Read until the watchdog closes its end or dies."""
    parts: list[bytes] = []
    try:
        while True:
            status.settimeout(max(deadline.remaining_seconds, _RETRY_SECONDS))
            part = status.recv(65536)
            if not part:
                return b"".join(parts).decode(errors="replace")
            parts.append(part)
    except TimeoutError as error:
        raise EmbeddedServerError("the watchdog did not say in time that it is ready") from error


class PersistentAttachment:
    """An attachment that is renewed by a thread if the watchdog is killed."""

    def __init__(self, connection: socket.socket, reattach: Callable[[], socket.socket]) -> None:
        """Take over `connection`. `reattach` returns a new one or raises EmbeddedServerError."""
        self._connection, self._reattach = connection, reattach
        self._closing = threading.Event()
        self._waker, self._wakened = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="darkroom-attachment", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether the attachment was closed."""
        return self._closing.is_set()

    def close(self) -> None:
        """Close the attachment. Can be called repeatedly."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._waker.send(b"\0")
        self._thread.join(_JOIN_SECONDS)
        # Closed, not shut down: the copy in a forked process stays attached.
        self._connection.close()
        self._waker.close()

    def _watch(self) -> None:
        with self._wakened:
            while not self._closing.is_set():
                if self._wait_for_its_end():
                    self._replace()

    def _wait_for_its_end(self) -> bool:
        """Return True if the connection broke, or False if woken by this process or its fork."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select()}
        if self._wakened in ready:
            self._wakened.recv(1)
            return False
        return True

    def _replace(self) -> None:
        logger.warning("the watchdog of the embedded servers is gone; starting another")
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._closing.is_set():
            try:
                reattached = self._reattach()
            except (EmbeddedServerError, OSError) as error:
                logger.error("the embedded servers do not come back: %s", error)
                self._closing.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                self._connection.close()
                self._connection = reattached
                return
