"""Where lines of a log go: a descriptor, written without ever waiting for whoever reads it.

Shell. Neighbours: `telemetry` and `logs` write to one each.

Logs go through pipes to supervisord, which hold 64 KiB. When it stops reading (stopped, swapped
out, waiting for a dead disk) a write would wait as well, and with it every connection of the
worker. So the pipe is made non-blocking, a bounded rest is kept here, and what does not fit is
dropped and counted. Files do not do that to us: a full disk is an error, not a wait.
"""

from __future__ import annotations

import os
import stat
from typing import Final

_MOST_BYTES: Final = 4 << 20
"""What waits for a reader: 20,000 lines, 40 s of 500 requests a second."""


class Outlet:
    """Owns nothing; the descriptor is open as long as the process lives."""

    def __init__(self, fd: int, most_bytes: int = _MOST_BYTES) -> None:
        self._fd = fd
        self._most_bytes = most_bytes
        self._rest = bytearray()  # grows and shrinks in place: it may be megabytes
        self.lost = 0
        """Lines that were dropped, ever."""
        self._told = 0
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            os.set_blocking(fd, False)  # this end of it, not the reader's

    def write(self, text: bytes) -> None:
        """Write whole lines, or keep them, or drop and count them."""
        if self._rest and not self.flush():
            if len(self._rest) + len(text) > self._most_bytes:
                self.lost += text.count(b"\n")
            else:
                self._rest += text
            return
        self._rest += text
        self.flush()

    def flush(self) -> bool:
        """Write what was kept, as far as there is room; True: nothing is left."""
        while self._rest:
            try:
                written = os.write(self._fd, self._rest)
            except BlockingIOError:
                return False
            except OSError:  # disk full, or the reader is gone: what cannot be written is lost
                self.lost += self._rest.count(b"\n")
                self._rest.clear()
                return False
            del self._rest[:written]
        return True

    def untold(self) -> int:
        """Return how many lines were lost since this was asked; 0 as long as that goes on."""
        if self._rest:
            return 0
        lost, self._told = self.lost - self._told, self.lost
        return lost
