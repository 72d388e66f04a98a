"""Keeps a lease alive: when the watchdog itself is killed, a new one is started."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable

from shared.errors import EmbeddedServerError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_JOIN_SECONDS = 5.0

logger = logging.getLogger(__name__)


class PersistentAttachment:
    """Holds the connection that is the lease and watches, on a thread, that it stays open."""

    def __init__(self, connection: socket.socket, reattach: Callable[[], socket.socket]) -> None:
        """Take over `connection`; `reattach` returns a new one or raises EmbeddedServerError."""
        self._connection, self._reattach = connection, reattach
        self._closing = threading.Event()
        self._waker, self._wakened = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="darkroom-lease", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether the lease was given back."""
        return self._closing.is_set()

    def close(self) -> None:
        """Give the lease back; again and again does no harm."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._waker.send(b"\0")
        self._thread.join(_JOIN_SECONDS)
        # Closed, not shut down: the copy of a forked process goes on holding the same lease.
        self._connection.close()
        self._waker.close()

    def _watch(self) -> None:
        with self._wakened:
            while not self._closing.is_set():
                if self._wait_for_its_end():
                    self._replace()

    def _wait_for_its_end(self) -> bool:
        """Return True when the lease broke, False when woken: by us, or by a fork of us."""
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
