"""HTTP over a UNIX socket: how the processes of one node ask each other.

Shell. Neighbours: `siblings` and `watchdog` ask, `admin` answers.
"""

from __future__ import annotations

import http.client
import socket
from typing import Final

WATCHDOG_FILE: Final = "watchdog.json"
"""In the run directory: what the watchdog did."""


class LocalConnection(http.client.HTTPConnection):
    """A connection to the UNIX socket at `path`; nothing of it waits longer than `timeout_s`."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("worker")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)
