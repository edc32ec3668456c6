"""Sends numbered requests at a fixed rate, and numbered messages through tunnels.

Run as: python -m tests.load.callers OPTIONS (a JSON object, see `Options`)
Each line on standard input is answered with a report of what happened since the line before.
The line "end" is answered when everything under way is through; then the program ends.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import random
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402 (patching comes first)
from gevent.event import Event  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402
from gevent.pool import Pool  # noqa: E402

from tests.load.ledger import frames, raise_descriptors  # noqa: E402

_MOST_AT_ONCE = 400
_KEEP = 32
_KEEP_S = 20.0
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Options(NamedTuple):
    """`sources` share the load; `kept` of the requests reuse a connection, the others end theirs.

    `route` is an Agent-Route to send along. All tunnels are opened within `ramp_s`; each lives
    for about `tunnel_s`, and says something every `message_s`. Whoever must wait longer than
    `answer_s` counts as lost.
    """

    name: str
    host: str
    port: int
    sources: list[str]
    rate: float
    kept: float = 0.5
    route: str = ""
    tunnels: int = 0
    ramp_s: float = 2.0
    tunnel_s: float = 60.0
    message_s: float = 2.0
    answer_s: float = 30.0
    body: int = 200


class _Lost(Exception):
    pass


class _Unseen(Exception):
    """Closed properly before the answer began: the request reached nobody."""


class Callers:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.ending = Event()
        self._numbers = itertools.count()
        self._messages = itertools.count()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self._idle: list[tuple[float, ssl.SSLSocket]] = []
        self._pool = Pool(_MOST_AT_ONCE)
        self._extra = f"Agent-Route: {options.route}\r\n".encode() if options.route else b""
        self._counts: collections.Counter[str] = collections.Counter()
        self._lost: list[str] = []
        self._latencies: list[float] = []
        self._tunnels = [gevent.spawn(self._keep_tunnel) for _ in range(options.tunnels)]
        self.open_tunnels = 0
        self._pace = gevent.spawn(self._keep_pace)

    def report(self) -> dict[str, object]:
        """Return what happened since the last report."""
        times = sorted(self._latencies)
        answer = {
            **self._counts,
            "lost": self._lost[:20],
            "count_lost": len(self._lost),
            "tunnels": self.open_tunnels,
            "p50_ms": _quantile(times, 0.5),
            "p99_ms": _quantile(times, 0.99),
            "max_ms": _quantile(times, 1.0),
        }
        self._counts.clear()
        self._lost.clear()
        self._latencies.clear()
        return answer

    def end(self) -> None:
        """Let everything under way finish, but begin nothing new."""
        self.ending.set()
        self._pace.join()
        self._pool.join()
        gevent.joinall(self._tunnels)

    def _keep_pace(self) -> None:
        """A request is due at a fixed time, however slow the others are."""
        interval = 1 / self.options.rate if self.options.rate else 0
        due = time.monotonic()
        while interval and not self.ending.is_set():
            due += interval
            if (left := due - time.monotonic()) > 0:
                gevent.sleep(left)
            self._pool.spawn(self._request, next(self._numbers), due)

    def _request(self, number: int, due: float) -> None:
        try:
            with gevent.Timeout(self.options.answer_s, _Lost("no answer in time")):
                self._until_seen(number)
            self._counts["done"] += 1
            self._latencies.append(time.monotonic() - due)
        except (OSError, _Lost, ValueError) as fault:
            self._lost.append(f"{number}: {fault!r}")

    def _until_seen(self, number: int) -> None:
        kept = random.random() < self.options.kept
        while True:
            sock, fresh = self._connection(kept)
            try:
                if self._ask(sock, number, kept):
                    self._idle.append((time.monotonic() + _KEEP_S, sock))
                else:
                    sock.close()
                return
            except _Unseen:
                sock.close()
                if fresh:
                    raise _Lost("a new connection was closed without an answer") from None
                self._counts["again"] += 1
            except BaseException:
                sock.close()
                raise

    def _connection(self, kept: bool) -> tuple[ssl.SSLSocket, bool]:
        while kept and self._idle:
            until, sock = self._idle.pop()
            if time.monotonic() < until and len(self._idle) < _KEEP:
                return sock, False
            sock.close()
        return self._dial(), True

    def _dial(self) -> ssl.SSLSocket:
        source = random.choice(self.options.sources)
        address = (self.options.host, self.options.port)
        raw = socket.create_connection(address, source_address=(source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self._context.wrap_socket(raw, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise

    def _ask(self, sock: ssl.SSLSocket, number: int, kept: bool) -> bool:
        """Send one request; True: the connection can carry another. Raises: _Unseen, _Lost."""
        body = b"%d " % number + b"x" * self.options.body
        begun = b""
        try:
            sock.sendall(
                b"POST /numbered HTTP/1.1\r\nHost: load\r\nX-Number: %b-%d\r\n%b"
                b"Content-Length: %d\r\nConnection: %b\r\n\r\n%b"
                % (
                    *(self.options.name.encode(), number, self._extra, len(body)),
                    *(b"keep-alive" if kept else b"close", body),
                )
            )
            while b"\r\n\r\n" not in begun:
                if not (piece := sock.recv(65536)):
                    raise _Unseen if not begun else _Lost("closed in the head")
                begun += piece
        except ssl.SSLZeroReturnError:
            raise _Unseen from None  # a close_notify had come before we sent
        head, _, got = begun.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise _Lost(head[:60].decode("latin-1"))
        while len(got) < len(body):
            if not (piece := sock.recv(65536)):
                raise _Lost("closed in the body")
            got += piece
        if got != body:
            raise _Lost("other bytes came back")
        return kept and b"connection: close" not in head.lower()

    def _keep_tunnel(self) -> None:
        """One tunnel after the other; what was not answered is said again in the next one."""
        gevent.sleep(random.random() * self.options.ramp_s)
        while not self.ending.is_set():
            try:
                with contextlib.closing(self._dial()) as sock:
                    self._talk(sock)
                self._counts["tunnels_ended"] += 1
            except (OSError, _Lost, ValueError) as fault:
                self._lost.append(f"tunnel: {fault!r}")
                gevent.sleep(0.2 + random.random())

    def _talk(self, sock: ssl.SSLSocket) -> None:
        """Open a tunnel and talk until its time is over. Raises: _Lost, OSError."""
        with gevent.Timeout(self.options.answer_s, _Lost("no tunnel in time")):
            sock.sendall(
                b"GET /tunnel HTTP/1.1\r\nHost: load\r\nUpgrade: websocket\r\n%b"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: %b\r\n\r\n" % (self._extra, _KEY)
            )
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := sock.recv(4096)):
                    raise _Lost("closed before the tunnel was open")
                head += piece
        if not head.startswith(b"HTTP/1.1 101 "):
            raise _Lost(head[:60].decode("latin-1"))
        self.open_tunnels += 1
        try:
            self._speak(sock, frames(sock, head.partition(b"\r\n\r\n")[2]))
        finally:
            self.open_tunnels -= 1

    def _speak(self, sock: ssl.SSLSocket, answers: Iterator[bytes]) -> None:
        options = self.options
        end = time.monotonic() + options.tunnel_s * (0.5 + random.random())
        while time.monotonic() < end and not self.ending.is_set():
            text = b"%b-%d" % (options.name.encode(), next(self._messages))
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(text))
            began = time.monotonic()
            with gevent.Timeout(options.answer_s, _Lost("no answer in a tunnel")):
                try:
                    sock.sendall(bytes((0x81, 0x80 | len(text))) + mask + masked)
                    answer = next(answers, b"")
                except OSError:
                    answer = b""  # reset, or closed: what was said here is repeated
            if not answer:
                self._counts["unanswered"] += 1
                return
            if answer != text:
                raise _Lost(f"{answer!r} came back for {text!r}")
            self._counts["messages"] += 1
            self._latencies.append(time.monotonic() - began)
            self.ending.wait(options.message_s * (0.5 + random.random()))


def _quantile(times: list[float], share: float) -> float:
    if not times:
        return 0.0
    return round(times[min(len(times) - 1, int(share * len(times)))] * 1000, 2)


def main() -> None:
    raise_descriptors()
    callers = Callers(Options(**json.loads(sys.argv[1])))
    for line in FileObject(sys.stdin):
        if line.strip() == "end":
            callers.end()
        print(json.dumps(callers.report()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
