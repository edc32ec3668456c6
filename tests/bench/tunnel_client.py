"""Open TLS WebSocket tunnels, hold them, and say whether each of them still works.

Told what to do by lines on standard input, answers each with one line of JSON:
`open` opens all and sends one message through each, `check` sends another through each; the
end of input ends it. Run as: python -m tests.bench.tunnel_client HOST PORT COUNT
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterable

from gevent import Timeout, monkey

monkey.patch_all()

from gevent.pool import Pool  # noqa: E402 (patching comes first)

from .tunnel_backend import accept_key  # noqa: E402

_AT_ONCE = 32
_DEADLINE_S = 20.0
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
# A masked text frame of RFC 6455 5.2: "Hello", as in its own example.
_MESSAGE = bytes.fromhex("818537fa213d7f9f4d5158")


class _Tunnels:
    def __init__(self, host: str, port: int, count: int) -> None:
        self._address = (host, port)
        self._count = count
        self._open: list[ssl.SSLSocket] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def open(self) -> dict[str, object]:
        return self._each(self._open_one, range(self._count))

    def check(self) -> dict[str, object]:
        return self._each(_echo, self._open)

    def _open_one(self, _number: int) -> None:
        raw = socket.create_connection(self._address)
        tunnel = self._context.wrap_socket(raw)
        tunnel.sendall(
            f"GET /agent/websocket HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {_KEY.decode()}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            piece = tunnel.recv(4096)
            if not piece:
                raise OSError(f"closed before the answer was complete: {head[:100]!r}")
            head += piece
        if not head.startswith(b"HTTP/1.1 101 ") or accept_key(_KEY) not in head:
            raise OSError(f"not upgraded: {head[:100]!r}")
        _echo(tunnel)
        self._open.append(tunnel)

    def _each(self, act: Callable[..., None], items: Iterable[object]) -> dict[str, object]:
        errors: list[str] = []

        def act_once(item: object) -> None:
            try:
                with Timeout(_DEADLINE_S):
                    act(item)
            except (OSError, Timeout) as error:
                errors.append(f"{type(error).__name__}: {error}"[:200])

        pool = Pool(_AT_ONCE)
        for item in items:
            pool.spawn(act_once, item)
        pool.join()
        return {"open": len(self._open), "errors": len(errors), "first": errors[:3]}


def _echo(tunnel: ssl.SSLSocket) -> None:
    tunnel.sendall(_MESSAGE)
    back = b""
    while len(back) < len(_MESSAGE):
        piece = tunnel.recv(4096)
        if not piece:
            raise OSError("tunnel closed")
        back += piece
    if back != _MESSAGE:
        raise OSError(f"other bytes came back: {back!r}")


def main() -> None:
    host, port, count = sys.argv[1:]
    tunnels = _Tunnels(host, int(port), int(count))
    for line in sys.stdin:
        step = {"open": tunnels.open, "check": tunnels.check}[line.strip()]
        print(json.dumps(step()), flush=True)
    os._exit(0)  # thousands of sockets: the kernel closes them faster than we do


if __name__ == "__main__":
    main()
