"""The server side of a TLS connection, over memory.

Shell. Neighbours: `stream` below, `tls` gives the contexts, `connection` opens and closes.

TLS runs over memory (ssl.MemoryBIO): one recv takes many records, the last flight of a handshake
and the first answer leave in one send.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any, Final

from proxy.stream import RECORD_BYTES, BrokenStream, Stream, flush, tls_reason, wait

_RECV_BYTES: Final = 32768


class AcceptedStream(Stream):
    """The server side of a TLS connection. Closed by `close` or `abort`, one of them, once."""

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_heard_goodbye",
        "_said_goodbye",
        "_tls",
    )

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # What is under ssl.SSLObject, without the calls that it puts around each of its own.
        bare: Any = context
        self._tls = bare._wrap_bio(self._incoming, self._outgoing, True)
        self._heard_goodbye = False
        self._said_goodbye = False

    def handshake(self, early: bytes = b"") -> None:
        """Finish the TLS handshake; `early` are bytes that arrived already.

        Waits; the caller has set a deadline. Raises: BrokenStream.
        """
        if early:
            self._incoming.write(early)
        else:
            self._take_in()
        while True:
            try:
                self._tls.do_handshake()
                if self._outgoing.pending:
                    self.flush()
                return
            except ssl.SSLWantReadError:
                flush(self)
                self._hurry_acknowledgement()
                self._take_in()
            except (ssl.SSLError, OSError) as error:
                self.flush()  # the alert that says why
                raise BrokenStream(f"TLS handshake: {tls_reason(error)}") from error

    def _hurry_acknowledgement(self) -> None:
        """Let the kernel acknowledge the client's next flight by itself, as it arrives.

        Nagle in the client keeps its request back until its last flight is acknowledged, which a
        delayed ACK would put off by 40 ms (2026-11). TLS 1.3 gives nothing to send then, without
        tickets. Asked for before that flight is there, the request mostly comes along with it.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _take_in(self) -> None:
        """Wait for bytes and give them to TLS. Raises: BrokenStream at the end."""
        wait(self.readable)
        raw = self._receive()
        if raw == b"":
            raise BrokenStream("closed during the TLS handshake")
        if raw is not None:
            self._incoming.write(raw)

    def certificate(self) -> bytes | None:
        """Return the peer's certificate (DER) if it showed one that was verified."""
        certificate: bytes | None = self._tls.getpeercert(True)
        return certificate

    def certificate_ends_at(self) -> float:
        """Return when the peer's verified certificate ends, in seconds since 1970; 0: none."""
        shown = self._tls.getpeercert()
        return float(ssl.cert_time_to_seconds(str(shown["notAfter"]))) if shown else 0.0

    def version(self) -> str:
        return self._tls.version() or ""

    def cipher(self) -> str:
        name = self._tls.cipher()
        return name[0] if name is not None else ""

    def resumed(self) -> bool:
        return bool(self._tls.session_reused)

    def recv(self) -> bytes | None:
        """Return what arrived; b"": the peer is done; None: nothing whole yet. Never waits."""
        try:
            raw = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise BrokenStream(f"reading: {error.strerror}") from error
        if not raw:
            self.cut = not self._heard_goodbye
            return raw
        self._incoming.write(raw)
        return self._decrypt(len(raw))

    def recv_early(self) -> bytes | None:
        """Return what came in one piece with the end of the handshake, as `recv` does.

        Asked once, after `handshake`: nothing would make the socket readable for it again.
        """
        pending = self._incoming.pending
        return self._decrypt(pending) if pending else None

    def _decrypt(self, expected: int) -> bytes | None:
        """Return all that can be decrypted; None: no whole record. `expected` is a guess."""
        tls = self._tls
        try:
            data: bytes = tls.read(expected)
            if not data:
                self._heard_goodbye = True
                return data
            if not (self._incoming.pending or tls.pending()):
                return data
            return self._read_on(data)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise BrokenStream(f"TLS: {tls_reason(error)}") from error

    def _read_on(self, data: bytes) -> bytes:
        """Return `data` and what else was decrypted: one recv may bring several records."""
        pieces = [data]
        try:
            while data:
                data = self._tls.read(RECORD_BYTES)
                pieces.append(data)
            self._heard_goodbye = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise BrokenStream(f"reading: {error.strerror}") from error

    def queue(self, data: bytes) -> None:
        """Encrypt `data` for sending; `flush` sends it."""
        write = self._tls.write
        written = write(data)
        if written < len(data):  # one record per write
            view = memoryview(data)
            while written < len(data):
                written += write(view[written:])
        self.unsent += len(data)

    def flush(self) -> bool:
        """Send what the kernel takes; True: all went. Raises: BrokenStream."""
        out = self._outgoing.read()
        if self._rest:
            out = self._rest + out
        if not out:
            return True
        try:
            sent = self._socket.send(out)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._rest = b""
            self.unsent = 0
            raise BrokenStream(f"sending: {error.strerror}") from error
        if sent == len(out):
            self._rest = b""
            self.unsent = 0
            return True
        self._rest = out[sent:]
        self.unsent = len(self._rest)
        return False

    def goodbye(self) -> None:
        """Queue close_notify, so that the client may resume its session; once is enough.

        Queued before the last flush it travels with the last bytes.
        """
        if not self._said_goodbye:
            self._said_goodbye = True
            try:
                self._tls.shutdown()
            except (ssl.SSLError, OSError):
                pass  # it wants the peer's close_notify too; ours is queued by now

    def close(self) -> None:
        """Say goodbye, send what the kernel takes, and close. Never waits."""
        if not self._said_goodbye or self._rest or self._outgoing.pending:
            self.goodbye()
            try:
                self.flush()
            except BrokenStream:
                pass  # nobody is left to be told
        self._release()

    def hang_up(self) -> None:
        """Close after a failed handshake; no reset, which could take our alert along."""
        self._release()

    def close_after_reading(self, limit: int) -> None:
        """Close while the peer may still be sending, so that it gets what was said last.

        A close with unread bytes would reset the connection and take our answer with it, so up
        to `limit` bytes are read and dropped first. Waits; the caller has set a deadline.
        """
        self.goodbye()
        try:
            flush(self)
            self._socket.shutdown(socket.SHUT_WR)  # below TLS, whose goodbye has been said
            while limit > 0:
                wait(self.readable)
                raw = self._receive()
                if raw == b"":
                    break
                limit -= len(raw or b"")
        except (BrokenStream, OSError):
            pass  # gone already
        self._release()

    def abort(self) -> None:
        """Close so that the peer cannot take what it got for complete: reset, no close_notify."""
        linger = struct.pack("ii", 1, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except OSError:
            pass  # already reset by the peer
        self._release()

    def _release(self) -> None:
        self.stop_watching()
        self._socket.close()
