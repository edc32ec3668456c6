"""Peers that do exactly what a test says, mistakes included: raw bytes over TLS, in threads.

Written without the code under test: nothing here knows proxy.http1 or proxy.headers.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.fakes.certificates import KeyPair

TIMEOUT_S = 10.0
"""How long a peer waits for a byte before the test has failed."""

Script = Callable[["Wire"], None]


class Aborted(Exception):
    """The connection ended without close_notify: what came before it must not be trusted."""


class Message(NamedTuple):
    """One request or response: start line, fields in wire order, body."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    def one(self, name: bytes) -> bytes:
        values = self.all(name)
        assert len(values) == 1, (name, self.fields)
        return values[0]


class Wire:
    """One TLS connection, read as HTTP/1.1 by the simplest means."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.origin: Origin | None = None
        self._buffer = b""
        self._counted = False
        sock.settimeout(TIMEOUT_S)

    def send(self, *pieces: bytes) -> None:
        self.sock.sendall(b"".join(pieces))

    def some(self) -> bytes:
        """Return what comes next; b"": a clean end. Raises: Aborted."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError as error:
            raise Aborted(repr(error)) from error

    def _more(self) -> None:
        data, self._buffer = self._buffer, b""
        more = self.some()
        self._buffer = data + more
        if not more:
            raise EOFError(f"ended cleanly after {data[-80:]!r}")

    def until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        data, _, self._buffer = self._buffer.partition(mark)
        return data

    def exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            if not self._buffer:
                self._more()
            piece = self._buffer[:size]
            self._buffer = self._buffer[size:]
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def to_end(self) -> bytes:
        """Return all until the clean end. Raises: Aborted."""
        pieces = []
        while data := self.some():
            pieces.append(data)
        return b"".join(pieces)

    def chunked(self) -> bytes:
        pieces = []
        while size := int(self.until(b"\r\n"), 16):
            pieces.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n", "the proxy never passes trailers on"
        return b"".join(pieces)

    def head(self) -> Message:
        line, *rest = self.until(b"\r\n\r\n").split(b"\r\n")
        fields = []
        for item in rest:
            name, _, value = item.partition(b":")
            fields.append((name, value.strip(b" ")))
        if self.origin is not None and not self._counted:
            self._counted = True
            self.origin.used += 1
        return Message(line, fields, b"")

    def request(self) -> Message:
        """Return the next request. Raises: EOFError, Aborted."""
        head = self.head()
        body = self._framed(head) or b""
        message = head._replace(body=body)
        if self.origin is not None:
            self.origin.received.append(message)
        return message

    def response(self, method: str = "GET") -> Message:
        """Return the next response, an interim one as well. Raises: EOFError, Aborted."""
        head = self.head()
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return head
        body = self._framed(head)
        return head._replace(body=self.to_end() if body is None else body)

    def _framed(self, head: Message) -> bytes | None:
        if head.all(b"transfer-encoding"):
            assert head.one(b"transfer-encoding").lower() == b"chunked"
            assert not head.all(b"content-length")
            return self.chunked()
        if head.all(b"content-length"):
            return self.exactly(int(head.one(b"content-length")))
        return None

    def ask(self, *pieces: bytes, method: str = "GET") -> Message:
        self.send(*pieces)
        return self.response(method)

    def close(self) -> None:
        """Close properly, with close_notify."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.settimeout(0.5)
            self.sock.unwrap()
        self.sock.close()

    def cut(self) -> None:
        """Close the TCP connection in the middle of TLS: no close_notify."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            option = struct.pack("ii", 1, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.sock.close()

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing at all comes for that long."""
        self.sock.settimeout(seconds)
        try:
            self._buffer += self.some()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(TIMEOUT_S)


def anybody() -> ssl.SSLContext:
    """Return a client context that trusts everybody, TLS 1.2 and up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # or a cut is not told from an end
    return context


def dial_raw(address: tuple[str, int], source: str) -> socket.socket:
    sock = socket.create_connection(address, TIMEOUT_S, source_address=(source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dial(address: tuple[str, int], source: str, context: ssl.SSLContext | None = None) -> Wire:
    """Connect from `source`. Raises: OSError."""
    raw = dial_raw(address, source)
    try:
        return Wire((context or anybody()).wrap_socket(raw, suppress_ragged_eofs=False))
    except BaseException:
        raw.close()
        raise


def echo(wire: Wire) -> None:
    """Answer every request with its own body."""
    while True:
        request = wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body))
        wire.send(request.body)


def answering(*answers: bytes) -> Script:
    """Read one request for each of `answers` and send it; then wait for the end."""

    def script(wire: Wire) -> None:
        for answer in answers:
            wire.request()
            wire.send(answer)
        wire.to_end()

    return script


class Origin:
    """A TLS listener whose connections follow `script`; what they got is in `received`.

    `used` counts connections that carried a request: probes of the worker carry none.
    `faults` are failed expectations inside scripts: a fixture demands that it stays empty.
    """

    def __init__(
        self, host: str, pair: KeyPair | None, script: Script = echo, port: int = 0
    ) -> None:
        self.script = script
        self.received: list[Message] = []
        self.faults: list[BaseException] = []
        self.used = 0
        self._context: ssl.SSLContext | None = None
        if pair is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pair.certificate, pair.key)
        self._listening = socket.create_server((host, port), backlog=256)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def open(self) -> int:
        with self._lock:
            return len(self._open)

    def present(self, pair: KeyPair) -> None:
        """Show another certificate from the next connection on."""
        assert self._context is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._context = context

    def use(self, script: Script) -> None:
        self.script = script

    def disconnect(self) -> None:
        """End every open connection, and wait for its thread."""
        with self._lock:
            connections = list(self._open.items())
        for _, sock in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread, _ in connections:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "a script does not end"

    def reset(self) -> None:
        """Forget one test for the next. Raises what its script found wrong."""
        self.disconnect()
        faults = list(self.faults)
        self.script = echo
        self.received.clear()
        self.faults.clear()
        self.used = 0
        if faults:
            raise faults[0]

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._acceptor.join(TIMEOUT_S)
        self.disconnect()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._connection, args=(sock,), daemon=True)
            with self._lock:
                self._open[thread] = sock
                thread.start()  # under the lock: disconnect() must not meet it unstarted

    def _connection(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                tls = self._context.wrap_socket(
                    sock,
                    server_side=True,
                    suppress_ragged_eofs=False,
                    do_handshake_on_connect=False,
                )
                sock = tls
                with self._lock:  # before the handshake, so that disconnect() can end that too
                    self._open[threading.current_thread()] = tls
                tls.do_handshake()
            wire = Wire(sock)  # type: ignore[arg-type]  # plain for a forward proxy
            wire.origin = self
            self.script(wire)
            wire.close()
        except (OSError, EOFError, Aborted):
            pass  # the worker closed, or the test did
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            sock.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)


def forward_proxy(credentials: bytes, allow: bool = True) -> Script:
    """Return a script that serves CONNECT to whoever gives `credentials` (base64)."""

    def script(wire: Wire) -> None:
        request = wire.request()
        given = request.all(b"proxy-authorization")
        if not allow or given != [b"Basic " + credentials]:
            wire.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        host, _, port = request.line.split(b" ")[1].decode().rpartition(":")
        with socket.create_connection((host, int(port)), TIMEOUT_S) as onward:
            wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pump, args=(onward, wire.sock), daemon=True)
            back.start()
            _pump(wire.sock, onward)
            back.join(TIMEOUT_S)

    return script


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        source.settimeout(None)
        while data := source.recv(65536):
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def eventually(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait for `condition`, or fail saying `what` did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never within {timeout_s:g} s: {what}"
        time.sleep(0.01)


def stands_still(count: Callable[[], int]) -> int:
    """Wait until `count()` has not changed for a third of a second, and return it."""
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        return now > 0 and time.monotonic() - since > 0.35

    eventually(still, "the sender stands still")
    return last
