"""The platform for tunnels: TLS, a WebSocket upgrade, then every byte comes back.

Frames are not taken apart: for the proxies between, bytes after the 101 are only bytes.
Run as: python -m tests.bench.tunnel_backend HOST PORT CERTIFICATE KEY
"""

from __future__ import annotations

import base64
import hashlib
import sys

from gevent import monkey

monkey.patch_all()

from gevent.server import StreamServer  # noqa: E402 (patching comes first)
from gevent.ssl import SSLSocket  # noqa: E402

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def accept_key(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key value."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def _serve(connection: SSLSocket, _address: tuple[str, int]) -> None:
    try:
        while head := _read_head(connection):
            key = _key(head)
            if key is None:
                connection.sendall(_PLAIN)
                continue
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
            )
            while piece := connection.recv(4096):
                connection.sendall(piece)
            return
    except OSError:
        return  # the client checks what it gets back; here there is nothing to report
    finally:
        connection.close()


def _read_head(connection: SSLSocket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            return b""
        head += piece
    return head


def _key(head: bytes) -> bytes | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return value.strip()
    return None


def main() -> None:
    host, port, certificate, key = sys.argv[1:]
    StreamServer(
        (host, int(port)), _serve, backlog=4096, certfile=certificate, keyfile=key
    ).serve_forever()


if __name__ == "__main__":
    main()
