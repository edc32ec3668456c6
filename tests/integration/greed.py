"""Greedy clients, as a process of their own: they must not slow down those who measure them.

    python -m tests.integration.greed KIND PORT CONNECTIONS SOURCE [SOURCE ...]

A holder keeps CONNECTIONS open, opens what was closed again, and goes on being slow on each. It
stops doing anything, closing included, at the first line on standard input. A flood opens and
resets without a pause, CONNECTIONS at a time, and stops at that line too. What it costs the
attacker is as little as can be: of a handshake it sends the same first message every time and
throws away what the worker has signed. Then one line of figures; the end at EOF.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.integration.peers import anybody

ROOT = Path(__file__).resolve().parents[2]
EVERY_S = 0.1
OPEN_TIMEOUT_S = 5.0
AT_ONCE = 2000
"""So many are opened before the next look at those that are held."""

FIRST_BYTES = {
    "idle": b"",
    "handshake": b"\x16",
    "head": b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "reader": b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
}
ENCRYPTED = ("head", "body", "chunks", "reader")
CHUNKS = b"1\r\nx\r\n" * 5000
"""Bytes that cost the most to read: each round this much, on each connection."""
FLOODS = ("connection_flood", "handshake_flood")


class Greed:
    """The test's side: start with `with`, `freeze()` it, leave: all is closed."""

    def __init__(self, kind: str, port: int, connections: int, sources: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, kind, str(port), str(connections), *sources],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Greed:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise

    def freeze(self) -> dict[str, int]:
        """Stop, with everything left open. Return how many were `opened`, how many are `held`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("freeze\n")
        self._process.stdin.flush()
        figures: dict[str, int] = json.loads(self._process.stdout.readline())
        return figures


class _Opener:
    def __init__(self, kind: str, port: int, sources: list[str]) -> None:
        self._kind = kind
        self._address = ("127.0.0.1", port)
        self._sources: Iterator[str] = itertools.cycle(sources)
        self._context = anybody()
        self._first_bytes = FIRST_BYTES.get(kind) or b""
        if kind == "handshake_flood":
            self._first_bytes = _client_hello(self._context)
        self.opened = 0

    def open(self) -> socket.socket:
        """Raises: OSError."""
        sock = socket.socket()
        try:
            sock.settimeout(OPEN_TIMEOUT_S)
            # The port is chosen when the peer is known: one source may hold more than there are.
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            if self._kind == "reader":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            if self._kind == "chunks":
                # Megabytes in the kernel's buffers are work for a minute after the end.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            sock.bind((next(self._sources), 0))
            sock.connect(self._address)
            if self._kind in ENCRYPTED:
                sock = self._context.wrap_socket(sock)
            sock.sendall(self._first_bytes)
        except BaseException:
            sock.close()
            raise
        self.opened += 1
        return sock


def _client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


def _is_told(timeout_s: float) -> bool:
    return bool(select.select([sys.stdin], [], [], timeout_s)[0])


def _hold(opener: _Opener, kind: str, most: int) -> int:
    """Return how many are held when told to stop."""
    held: dict[int, socket.socket] = {}
    poll = select.poll()
    while not _is_told(EVERY_S):
        for _ in range(min(AT_ONCE, most - len(held))):
            try:
                sock = opener.open()
            except OSError:
                continue  # refused, as it should be; again in the next round
            sock.setblocking(False)
            held[sock.fileno()] = sock
            poll.register(sock, select.POLLRDHUP)
        for fd, _event in poll.poll(0):
            poll.unregister(fd)
            held.pop(fd).close()
        for sock in held.values():
            with contextlib.suppress(OSError):
                _be_slow(sock, kind)
    _held_to_the_end.extend(held.values())
    return len(held)


_held_to_the_end: list[socket.socket] = []


def _be_slow(sock: socket.socket, kind: str) -> None:
    if kind == "reader":
        sock.recv(1024)
    elif kind == "chunks":
        sock.send(CHUNKS)
    elif kind != "idle":
        sock.send(b"\x03" if kind == "handshake" else b"a")


def _flood(opener: _Opener, kind: str, most: int) -> None:
    under_way: deque[socket.socket] = deque()
    while not _is_told(0):
        with contextlib.suppress(OSError):
            under_way.append(opener.open())
        if len(under_way) < most:
            continue
        sock = under_way.popleft()
        with contextlib.suppress(OSError):
            if kind == "handshake_flood":
                sock.recv(1)  # the worker has done its part
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    _held_to_the_end.extend(under_way)


def main(kind: str, port: str, connections: str, *sources: str) -> None:
    opener = _Opener(kind, int(port), list(sources))
    held = 0
    if kind in FLOODS:
        _flood(opener, kind, int(connections))
    else:
        held = _hold(opener, kind, int(connections))
    print(json.dumps({"opened": opener.opened, "held": held}), flush=True)
    sys.stdin.readline()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
