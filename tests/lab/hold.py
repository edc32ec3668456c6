"""A VM that calls from one source port and keeps its connection, as an agent of either generation.

python -m tests.lab.hold first|last HOST:PORT SOURCE PORT

Prints "up" when the platform has answered; for each line on standard input it asks once more over
the same connection, and prints "200" (first) or "pong" (last) for what comes back.
"""

from __future__ import annotations

import socket
import sys

from tests.fakes.messages import ask
from tests.fakes.websocket import WebSocket
from tests.fakes.wire import client_context, closing, parse_address

PING, PONG = b"\x89\x84\0\0\0\0ping", b"\x8a\x04ping"


def main() -> int:
    generation, proxy, source = sys.argv[1], parse_address(sys.argv[2]), sys.argv[3]
    raw = socket.create_connection(proxy, 10, source_address=(source, int(sys.argv[4])))
    with closing(client_context(None).wrap_socket(raw)) as sock:
        if generation == "last":
            WebSocket.open(sock, "proxy", "/ws", subprotocols=("dcm",))
            again = ping
        else:
            again = call
            assert call(sock) == "200"
        print("up", flush=True)
        for _ in sys.stdin:
            print(again(sock), flush=True)
    return 0


def call(sock: socket.socket) -> str:
    reply = ask(sock, "POST", "/services/agent/alive", [("Host", "proxy")], b"{}")
    return str(reply.status)


def ping(sock: socket.socket) -> str:
    sock.sendall(PING)
    said = sock.recv(len(PONG))
    return "pong" if said == PONG else repr(said)


if __name__ == "__main__":
    raise SystemExit(main())
