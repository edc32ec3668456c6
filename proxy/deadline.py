"""Deadlines: every wait of a connection has a bound that is set, never forgotten.

Shell. Neighbours: `connection`, `relay` and `tunnel` set them, `worker` runs the sweep.

A deadline is one attribute that moves; one greenlet per worker looks at all of them four times a
second. Setting one costs 0.1 us, a `gevent.Timeout` per wait 2 to 3 us (2026-11), and a wait
never ends more than SWEEP_S late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

import gevent
import greenlet

from proxy.errors import RelayError

SWEEP_S: Final = 0.25


class Expired(BaseException):
    """Raised in a greenlet whose deadline passed; not an Exception, so that no library eats it."""

    def __init__(self, error: RelayError) -> None:
        super().__init__(str(error))
        self.error = error


class Deadline:
    """The time at which the current wait of one greenlet ends, and with which error."""

    __slots__ = ("_detail", "_error", "_greenlet", "_latest", "expires_at")

    def __init__(self, owner: greenlet.greenlet) -> None:
        self._greenlet = owner
        self.expires_at = math.inf
        self._latest = math.inf
        self._error: Callable[[str], RelayError] = RelayError
        self._detail = ""

    def within(self, seconds: float, error: Callable[[str], RelayError], detail: str) -> None:
        """From now on the greenlet gets `error` if it waits beyond `seconds`."""
        self._error = error
        self._detail = detail
        expires_at = time.monotonic() + seconds
        self.expires_at = expires_at if expires_at < self._latest else self._latest

    def left(self) -> float:
        """Return how many seconds are left of what is set."""
        return self.expires_at - time.monotonic()

    def never(self) -> None:
        """No bound but `cap`: the wait that follows has one of its own."""
        self.expires_at = self._latest

    def cap(self, seconds: float) -> None:
        """Nothing lasts beyond `seconds` from now, whatever is set later: drain."""
        self._latest = time.monotonic() + seconds
        self.expires_at = min(self.expires_at, self._latest)

    def hurry(self, seconds: float, error: Callable[[str], RelayError], detail: str) -> None:
        """Like `within`, but never later than what is set."""
        if time.monotonic() + seconds < self.expires_at:
            self.within(seconds, error, detail)

    def retire(self) -> None:
        """Never fire again, not even if the sweep has just found it expired."""
        self.expires_at = self._latest = math.inf

    def fire(self) -> None:
        """Raise Expired in the greenlet if it still waits beyond its time. Runs in the hub."""
        if self.expires_at <= time.monotonic() and not self._greenlet.dead:
            self.expires_at = self._latest = math.inf
            self._greenlet.throw(Expired(self._error(self._detail)))


class Deadlines:
    """All deadlines of one worker."""

    def __init__(self) -> None:
        self._all: set[Deadline] = set()

    def add(self, deadline: Deadline) -> None:
        self._all.add(deadline)

    def discard(self, deadline: Deadline) -> None:
        """Forget `deadline`, whose greenlet goes on with something else."""
        deadline.retire()
        self._all.discard(deadline)

    def sweep_forever(self) -> None:
        """Look at all deadlines until killed; the owner is the worker."""
        run_in_hub = gevent.get_hub().loop.run_callback
        while True:
            gevent.sleep(SWEEP_S)
            now = time.monotonic()
            for deadline in tuple(self._all):
                if deadline.expires_at <= now:
                    run_in_hub(deadline.fire)
