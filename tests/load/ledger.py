"""Answers numbered requests and messages, and keeps count of each number.

Run as: python -m tests.load.ledger HOST PORT CERTIFICATE KEY
Says {"port": n} when it listens. Each line on standard input is answered with a report; the end
of input ends it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import socket
import ssl
import sys
from collections import defaultdict
from collections.abc import Iterator

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402 (patching comes first)
from gevent.fileobject import FileObject  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_HANDSHAKE_S = 10.0


def accept_key(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


class Ledger:
    """Which numbers of which caller came, one bit each: a day of them fits into memory."""

    def __init__(self) -> None:
        self._bits: defaultdict[bytes, bytearray] = defaultdict(bytearray)
        self.came = 0
        self.twice: list[str] = []

    def note(self, name: bytes) -> None:
        """`name` is CALLER-NUMBER."""
        caller, _, number = name.rpartition(b"-")
        place, bit = divmod(int(number), 8)
        bits = self._bits[caller]
        if len(bits) <= place:
            bits.extend(bytes(place + 4096 - len(bits)))
        if bits[place] & 1 << bit:
            self.twice.append(name.decode())
        else:
            bits[place] |= 1 << bit
            self.came += 1

    def report(self) -> dict[str, object]:
        return {"came": self.came, "twice": self.twice[:10], "count_twice": len(self.twice)}


class _Origin:
    def __init__(self, host: str, port: int, certificate: str, key: str) -> None:
        self.requests, self.messages = Ledger(), Ledger()
        self.open_tunnels = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._server = StreamServer((host, port), self._connection, backlog=4096, spawn=Pool())
        self._server.start()
        self.port = self._server.socket.getsockname()[1]

    def report(self) -> dict[str, object]:
        return {
            "requests": self.requests.report(),
            "messages": self.messages.report(),
            "tunnels": self.open_tunnels,
        }

    def _connection(self, raw: socket.socket, _address: object) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with gevent.Timeout(_HANDSHAKE_S, TimeoutError):
                sock = self._context.wrap_socket(raw, server_side=True)
            with sock:
                self._serve(sock)
        except (OSError, ValueError):
            pass  # the caller's side judges what it got; here is only counted what came
        finally:
            raw.close()

    def _serve(self, sock: ssl.SSLSocket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (piece := sock.recv(65536)):
                    return
                buffer += piece
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            fields = _fields(head)
            if b"sec-websocket-key" in fields:
                self._tunnel(sock, fields[b"sec-websocket-key"])
                return
            size = int(fields.get(b"content-length", b"0"))
            while len(buffer) < size:
                if not (piece := sock.recv(65536)):
                    return
                buffer += piece
            body, buffer = buffer[:size], buffer[size:]
            if b"x-number" in fields:
                self.requests.note(fields[b"x-number"])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body))

    def _tunnel(self, sock: ssl.SSLSocket, key: bytes) -> None:
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
        )
        self.open_tunnels += 1
        try:
            for payload in frames(sock):
                self.messages.note(payload)
                sock.sendall(bytes((0x81, len(payload))) + payload)
        finally:
            self.open_tunnels -= 1


def _fields(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


def frames(sock: ssl.SSLSocket, buffer: bytes = b"") -> Iterator[bytes]:
    """Yield the payloads of small text frames, masked or not, until the end."""
    while True:
        while len(buffer) >= 2:
            masked, size = buffer[1] & 0x80, buffer[1] & 0x7F
            begin = 6 if masked else 2
            if len(buffer) < begin + size:
                break
            payload, mask = buffer[begin : begin + size], buffer[2:begin]
            if masked:
                payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
            buffer = buffer[begin + size :]
            yield payload
        if not (piece := sock.recv(16384)):
            return
        buffer += piece


def raise_descriptors() -> None:
    """Thousands of tunnels are thousands of descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    host, port, certificate, key = sys.argv[1:]
    raise_descriptors()
    origin = _Origin(host, int(port), certificate, key)
    print(json.dumps({"port": origin.port}), flush=True)
    for _ in FileObject(sys.stdin):
        print(json.dumps(origin.report()), flush=True)
    os._exit(0)  # thousands of sockets: the kernel closes them faster than we do


if __name__ == "__main__":
    main()
