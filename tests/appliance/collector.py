"""A log collector: takes syslog over TCP or TLS, octet-counted (RFC 6587, 5425), one line each.

Run as: python -m tests.appliance.collector LOG PORT [CERTIFICATE KEY]
LOG gets a line of "connected" or "refused: why" for each connection, then each message. Nothing is
taken from a sender that does not complete the handshake.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from pathlib import Path


def _messages(sock: socket.socket, note: Path) -> None:
    buffer = b""
    while piece := sock.recv(65536):
        buffer += piece
        while b" " in buffer:
            count, _, rest = buffer.partition(b" ")
            if not count.isdigit():
                raise ValueError(f"not octet-counted: {buffer[:40]!r}")
            if len(rest) < int(count):
                break
            _write(note, rest[: int(count)].decode(errors="replace"))
            buffer = rest[int(count) :]


def _write(note: Path, line: str) -> None:
    with open(note, "a") as file:
        file.write(line.rstrip("\n").replace("\n", "\\n") + "\n")


def _serve(raw: socket.socket, context: ssl.SSLContext | None, note: Path) -> None:
    try:
        raw.settimeout(600)
        sock = context.wrap_socket(raw, server_side=True) if context else raw
        with sock:
            _write(note, "connected")
            _messages(sock, note)
            _write(note, "closed")
    except (OSError, ValueError) as error:
        _write(note, f"refused: {error}")
    finally:
        raw.close()


def main() -> None:
    note, port, *pair = sys.argv[1:]
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    with socket.create_server(("", int(port))) as listener:
        _write(Path(note), "listening")
        while True:
            raw, _ = listener.accept()
            words = (raw, context, Path(note))
            threading.Thread(target=_serve, args=words, daemon=True).start()


if __name__ == "__main__":
    main()
