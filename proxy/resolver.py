"""Name look-ups: bounded, one thread for a name at most, and none for what is an address.

Shell. Neighbours: `worker` gives it to gevent's hub, so every connect of this process asks here,
urllib3's included; `upstream` and `lease` know a look-up that came too late.

The system's resolver blocks for as long as name servers let it (glibc: twice 5 s for each) and
cannot be interrupted. gevent's own way shares ten threads among all, and sends even addresses
there: ten callers of one dead name server, and nobody connects to anything any more. So an
address is answered at once, all who ask for one name wait for one look-up, and nobody waits
longer than [timeouts] resolve: the thread stays behind until the system lets it go.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.resolver.thread import Resolver as ThreadResolver
from gevent.threadpool import ThreadPool

_MOST_NAMES: Final = 64
"""More than a configuration has: endpoints, peers and the forward proxy."""


class LateLookup(socket.gaierror):
    """The system has not answered within [timeouts] resolve; it may still."""

    def __init__(self, seconds: float) -> None:
        text = f"no answer from the name server within {seconds:g} s"
        super().__init__(socket.EAI_AGAIN, text)


class Resolver(ThreadResolver):
    """Answers getaddrinfo for a whole hub; `limit_s` may change at any time."""

    def __init__(
        self, hub: Any, limit_s: float, look_up: Callable[..., Any] = _socket.getaddrinfo
    ) -> None:
        super().__init__(hub)
        self.limit_s = limit_s
        self._look_up = look_up
        self._threads = ThreadPool(_MOST_NAMES, hub)
        self._running: dict[tuple[Any, ...], Any] = {}  # Any: gevent's AsyncResult, by question

    def getaddrinfo(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return what the system says. Raises: gaierror, LateLookup among them."""
        try:  # no thread, no name server: 3 us instead of 60 (2026-11)
            numeric = flags | socket.AI_NUMERICHOST
            return _socket.getaddrinfo(host, port, family, type, proto, numeric)
        except socket.gaierror:
            pass  # it is a name
        question = (host, port, family, type, proto, flags)
        running = self._running.get(question)
        if running is None:
            if len(self._running) >= _MOST_NAMES:
                raise LateLookup(0)
            running = self._threads.spawn(self._look_up, *question)
            self._running[question] = running
            running.rawlink(lambda _: self._running.pop(question, None))
        late = gevent.Timeout(self.limit_s)
        with late:
            try:
                return running.get()
            except gevent.Timeout as expired:
                if expired is not late:
                    raise
                raise LateLookup(self.limit_s) from None
