"""A connected TCP socket with TLS, never blocking, owned by one greenlet; and the wait for it.

Shell. Neighbours: `accepted` and `dialled` are the two kinds, `relay` and `tunnel` read and write.

Reading and writing are split from waiting: `recv`, `queue` and `flush` never wait, `wait` is the
one place where a greenlet sleeps. So one greenlet serves both sides of an exchange, a tunnel
needs no second stack, and nothing is read that the other side has no room for.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Final

from gevent import get_hub
from greenlet import getcurrent, greenlet

BUFFER_BYTES: Final = 65536
"""What one direction may hold: reading stops above it."""
RECORD_BYTES: Final = 16384
_READ, _WRITE = 1, 2


class BrokenStream(Exception):
    """The connection ended without a proper end: reset, TLS garbage, or no close_notify."""


# Under gevent's Hub.switch, which looks for a hook on every greenlet that sleeps: 1 us (2026-11).
_switch = greenlet.switch


class Readiness:
    """One direction of one socket, told apart from whether somebody waits for it.

    The watcher under it stays started between waits: stopping and starting costs a system call
    each time. An event that nobody waits for stops it until somebody does.
    """

    __slots__ = ("_io", "started", "unasked", "waiter")

    def __init__(self, fd: int, events: int) -> None:
        self._io = get_hub().loop.io(fd, events)
        self.started = False
        self.waiter: greenlet | None = None
        self.unasked = False
        """Something arrived, or the peer closed, while nobody waited."""

    def start(self) -> None:
        self.started = True
        self.unasked = False
        self._io.start(self._ready)

    def close(self) -> None:
        """Before the socket is closed, or the loop would watch a stranger's."""
        self._io.close()

    def _ready(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            waiter.switch(self)
        else:
            self._io.stop()
            self.started = False
            self.unasked = True


class Stream(ABC):
    """What `relay` and `tunnel` need of a connection, and the two readinesses of its socket."""

    __slots__ = ("_rest", "_socket", "_writable", "cut", "readable", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.cut = False
        """The peer ended TCP without the goodbye of TLS: what came may not be all."""
        self._rest = b""
        self.unsent = 0
        """Bytes that are queued and not yet taken by the kernel."""
        self.readable = Readiness(sock.fileno(), _READ)
        self._writable: Readiness | None = None

    @property
    def writable(self) -> Readiness:
        if self._writable is None:
            self._writable = Readiness(self._socket.fileno(), _WRITE)
        return self._writable

    @abstractmethod
    def recv(self) -> bytes | None:
        """Return what arrived; b"": a clean end; None: nothing whole yet. Never waits.

        Raises: BrokenStream where the end was not clean.
        """

    @abstractmethod
    def queue(self, data: bytes) -> None:
        """Take `data` for sending; `flush` sends it."""

    @abstractmethod
    def flush(self) -> bool:
        """Send what the kernel takes; True: all went. Raises: BrokenStream."""

    def stop_watching(self) -> None:
        """Give the watchers back to the loop, before the socket is closed."""
        self.readable.close()
        if self._writable is not None:
            self._writable.close()


def wait(source: Readiness, other: Readiness | None = None) -> Readiness:
    """Sleep until `source` or `other` is ready, and return it."""
    source.waiter = current = getcurrent()
    if not source.started:
        source.start()
    if other is not None:
        other.waiter = current
        if not other.started:
            other.start()
    try:
        ready: Readiness = _switch(get_hub())
        return ready
    finally:
        source.waiter = None
        if other is not None:
            other.waiter = None


def flush(stream: Stream) -> None:
    """Send all that is queued, waiting as long as it takes (the caller has set a deadline)."""
    while not stream.flush():
        wait(stream.writable)


def tls_reason(error: BaseException) -> str:
    """Return the library's short reason, which names no address and no secret."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or type(error).__name__)
