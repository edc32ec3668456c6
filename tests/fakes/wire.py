"""Sockets and TLS of the stand-ins.

Threads, not gevent: tests use the stand-ins from programs that are not patched. Where the process
is patched, the threads are greenlets and everything works the same.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

Address = tuple[str, int]
HANDSHAKE_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 5.0


def parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def show_address(address: object) -> str:
    if not isinstance(address, tuple) or not address:
        return "local"
    return (
        f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    )


def server_context(
    certificate: Path | str,
    key: Path | str,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.load_cert_chain(certificate, key)
    return context


def client_context(ca: Path | str | None) -> ssl.SSLContext:
    """Verify against `ca`, host name included; without it trust anybody (environment=staging)."""
    if ca:
        return ssl.create_default_context(cafile=str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial(
    address: Address,
    context: ssl.SSLContext,
    *,
    source: str = "",
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> ssl.SSLSocket:
    """A connected TLS socket from `source`; the caller closes it with close()."""
    raw = socket.create_connection(
        address, timeout_s, source_address=(source, 0) if source else None
    )
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname=address[0])
    except BaseException:
        raw.close()
        raise


def close(sock: socket.socket) -> None:
    """Say close_notify (or the session cannot be resumed), then close."""
    if isinstance(sock, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            sock.settimeout(1.0)
            sock.unwrap()
    sock.close()


@contextlib.contextmanager
def closing(sock: ssl.SSLSocket) -> Iterator[ssl.SSLSocket]:
    try:
        yield sock
    finally:
        close(sock)


class Listener:
    """Accepts on one address, one thread per connection; stop() ends and joins all of them.

    `faults` collects what was wrong with connections, so that a test can demand that it is empty.
    """

    def __init__(
        self,
        address: Address | Path,
        serve: Callable[[socket.socket, Address], None],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.faults: list[str] = []
        self._serve = serve
        self._context = context
        self._socket: socket.socket | None = None
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def start(self) -> None:
        if isinstance(self.address, Path):
            self.address.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(self.address))
            self.address.chmod(0o600)
            self._socket.listen(16)
        else:
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            self._socket = socket.create_server(self.address, family=family, backlog=512)
            self.address = self._socket.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        assert isinstance(self.address, tuple)
        return self.address[1]

    def stop(self) -> None:
        if self._socket is None:
            return
        self._stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._acceptor.join(JOIN_TIMEOUT_S)
        self._socket.close()
        self._socket = None
        self.disconnect()
        if isinstance(self.address, Path):
            self.address.unlink(missing_ok=True)

    def disconnect(self) -> None:
        """End every connection that is open now."""
        with self._lock:
            connections = list(self._open.items())
        for thread, sock in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            thread.join(JOIN_TIMEOUT_S)

    def _accept(self, listening: socket.socket) -> None:
        while not self._stopping:
            try:
                sock, peer = listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._connection, args=(sock, peer), daemon=True)
            with self._lock:
                self._open[thread] = sock
                thread.start()  # under the lock: disconnect() must not meet it unstarted

    def _connection(self, sock: socket.socket, peer: Address) -> None:
        try:
            if self._context is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(HANDSHAKE_TIMEOUT_S)
                tls = self._context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
                sock = tls
                with self._lock:  # before the handshake, so that disconnect() can end that too
                    self._open[threading.current_thread()] = tls
                tls.do_handshake()
            sock.settimeout(None)
            self._serve(sock, peer)
        except (OSError, ValueError) as fault:
            if not self._stopping:
                self.faults.append(f"{show_address(peer)}: {fault!r}"[:300])
        finally:
            close(sock)
            with self._lock:
                self._open.pop(threading.current_thread(), None)


class Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


def run_until_signal(*services: Service) -> int:
    """Start all, wait for SIGTERM or SIGINT, stop all in reverse order."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    started: list[Service] = []
    try:
        for service in services:
            service.start()
            started.append(service)
        signal.sigwait(ends)
    finally:
        for service in reversed(started):
            service.stop()
    return 0
