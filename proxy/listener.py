"""Listening sockets: one per worker and address, on a port that all workers share.

Shell. Neighbours: `worker` opens them, is called for every accepted socket, and closes them.

The kernel spreads connections over the workers (SO_REUSEPORT). Closing such a socket resets the
connections that wait in its queue, so a listener is never closed while a sibling lives: it is
handed over (`handover`), and only the last one is emptied and closed.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from _socket import SocketType
from collections.abc import Callable
from typing import Any

from gevent import monkey
from gevent.server import StreamServer

from proxy.settings import Zone

_NOTHING_LEFT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE_S = 0.2
_SAY_EVERY_S = 60.0
_log = logging.getLogger(__name__)
_Socket = monkey.get_original("socket", "socket")


def open_listener(
    address: str, port: int, *, backlog: int, device: str = "", keepalive_s: int = 30
) -> socket.socket:
    """Return a listening, non-blocking socket whose options accepted sockets inherit.

    Raises: OSError.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock: socket.socket = _Socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            sock.setsockopt(socket.IPPROTO_TCP, option, keepalive_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.bind((address, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Listener(StreamServer):
    """gevent's accept loop, handing each raw socket to `accepted` in the hub.

    `accepted(zones, sock, address)` must not block; it owns the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        zones: tuple[Zone, ...],
        accepted: Callable[[tuple[Zone, ...], socket.socket, Any], None],
    ) -> None:
        super().__init__(sock, self._never_called)
        self.zones = zones
        self._accepted = accepted
        self._said = -_SAY_EVERY_S
        self._kind = sock.family, sock.type, sock.proto  # looked up each time they cost 2 us

    def do_read(self) -> tuple[socket.socket, Any] | None:  # type: ignore[override]
        listening: Any = self.socket
        try:
            fd, address = listening._accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as fault:
            if fault.errno not in _NOTHING_LEFT:
                raise
            self._pause(fault)
            return None
        # What is under every socket object: gevent's would bring watchers that nobody uses.
        sock: Any = SocketType(*self._kind, fd)
        sock.setblocking(False)
        return sock, address

    def do_handle(self, sock: socket.socket, address: Any) -> None:
        self._accepted(self.zones, sock, address)

    def _pause(self, fault: OSError) -> None:
        """Accept again a little later: the socket stays readable, and asking at once would spin."""
        if time.monotonic() - self._said >= _SAY_EVERY_S:
            self._said = time.monotonic()
            reason = fault.strerror
            _log.error("no descriptor is left for new connections, which wait: %s", reason)
        self.stop_accepting()
        timer: Any = self.loop.timer(_PAUSE_S)
        self._timer = timer  # which stop_accepting and close end
        timer.start(self._go_on)

    def _go_on(self) -> None:
        if self.started:
            self.start_accepting()

    def finish(self) -> None:
        """Accept what waits, then close: for the last worker, which has nobody to give to."""
        while (args := self.do_read()) is not None:
            self.do_handle(*args)
        self.close()

    @staticmethod
    def _never_called(*args: object) -> None:
        raise AssertionError("unreachable: do_handle spawns nothing")
