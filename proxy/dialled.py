"""The client side of a TLS connection: a socket that urllib3 connected and verified.

Shell. Neighbours: `stream` below, `lease` opens and closes.
"""

from __future__ import annotations

import ssl
from typing import Any

from proxy.stream import RECORD_BYTES, BrokenStream, Stream, tls_reason


class DialledStream(Stream):
    """A connection that the proxy opened. Whoever dialled closes it.

    Reads and writes go to the TLS object under gevent's socket: 2 us a request less (2026-11),
    and an end without close_notify is an error there, never an end of a body.
    """

    __slots__ = ("_tls",)

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0.0)
        super().__init__(sock)
        self._tls = sock._sslobj

    def recv(self) -> bytes | None:
        """Return what arrived; b"": a clean end; None: nothing whole yet.

        Raises: BrokenStream where the end was not clean.
        """
        try:
            data: bytes = self._tls.read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            return None
        except OSError as error:
            raise BrokenStream(tls_reason(error)) from error
        return data

    def queue(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        self.unsent = len(self._rest)

    def flush(self) -> bool:
        """Send what the kernel takes; True: all went. Raises: BrokenStream."""
        rest = self._rest
        while rest:
            try:
                sent = self._tls.write(rest)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
            except OSError as error:
                self._rest = b""
                self.unsent = 0
                raise BrokenStream(f"sending: {tls_reason(error)}") from error
            rest = rest[sent:] if sent < len(rest) else b""
        self._rest = rest
        self.unsent = len(rest)
        return not rest

    def release(self) -> None:
        """Give the watchers back to the loop, before the socket is closed."""
        self._tls = None
        self.stop_watching()
