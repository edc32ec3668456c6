"""HTTP/1.1 of the stand-ins, both ends, by h11: as strict as the proxy should be."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import h11

from tests.fakes.wire import Address

Fields = list[tuple[str, str]]  # wire order and case
READ_BYTES = 65536
HEAD_LIMIT_BYTES = 65536


class Request(NamedTuple):
    method: str
    target: str
    headers: Fields
    body: Iterator[bytes]
    peer: Address

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def fields(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]

    def field(self, name: str) -> str:
        return ", ".join(self.fields(name))


class Response(NamedTuple):
    """`body` as bytes goes out with Content-Length, as an iterable of bytes it goes out chunked."""

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: Fields = []  # noqa: RUF012

    @classmethod
    def json(cls, status: int, document: object) -> Response:
        body = json.dumps(document).encode() + b"\n"
        return cls(status, body, [("Content-Type", "application/json")])


class Reply(NamedTuple):
    """What a caller gets back."""

    status: int
    headers: Fields
    body: bytes

    def document(self) -> dict[str, object]:
        document = json.loads(self.body)
        if not isinstance(document, dict):
            raise ValueError(f"not a JSON object but {self.body[:80]!r}")
        return document

    def field(self, name: str) -> str:
        return ", ".join(value for field, value in self.headers if field.lower() == name.lower())


Handler = Callable[[Request], Response]
Upgrader = Callable[[socket.socket, Request, bytes], None]


def serve(
    sock: socket.socket, peer: Address, handle: Handler, upgrade: Upgrader | None = None
) -> None:
    """Answer requests on one connection until it ends; a WebSocket request goes to `upgrade`.

    Raises: ValueError for bytes that are not HTTP, after a 400.
    """
    wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)
    try:
        while True:
            event = _next_event(wire, sock)
            if not isinstance(event, h11.Request):
                return
            request = Request(
                event.method.decode("ascii"),
                event.target.decode("ascii"),
                _fields(event),
                _request_body(wire, sock),
                peer,
            )
            if upgrade is not None and request.field("Upgrade").lower() == "websocket":
                upgrade(sock, request, wire.trailing_data[0])
                return
            _answer(wire, sock, request, handle(request))
            if wire.our_state is h11.MUST_CLOSE or wire.their_state is h11.MUST_CLOSE:
                return
            wire.start_next_cycle()
    except h11.RemoteProtocolError as fault:
        if wire.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=400, headers=[("Content-Length", "0")])
            sock.sendall((wire.send(head) or b"") + (wire.send(h11.EndOfMessage()) or b""))
        raise ValueError(f"bad HTTP: {fault}") from fault


def _answer(
    wire: h11.Connection, sock: socket.socket, request: Request, response: Response
) -> None:
    headers = list(response.headers)
    if isinstance(response.body, bytes):
        headers.append(("Content-Length", str(len(response.body))))
        pieces: Iterable[bytes] = (response.body,)
    else:
        headers.append(("Transfer-Encoding", "chunked"))
        pieces = response.body
    head = h11.Response(status_code=response.status, headers=headers)
    data = wire.send(head) or b""
    if request.method == "HEAD" or response.status in (204, 304):
        pieces = ()
    for piece in pieces:
        sock.sendall(data + (wire.send(h11.Data(data=piece)) or b""))
        data = b""
    for _ in request.body:  # what the handler did not read
        pass
    sock.sendall(data + (wire.send(h11.EndOfMessage()) or b""))


def _request_body(wire: h11.Connection, sock: socket.socket) -> Iterator[bytes]:
    while wire.their_state is h11.SEND_BODY:
        if wire.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            sock.sendall(wire.send(go_on) or b"")
        event = _next_event(wire, sock)
        if isinstance(event, h11.Data):
            yield bytes(event.data)


def _next_event(wire: h11.Connection, sock: socket.socket) -> object:
    while True:
        event = wire.next_event()
        if event is not h11.NEED_DATA:
            return event
        wire.receive_data(sock.recv(READ_BYTES))


def _fields(event: h11.Request | h11.Response) -> Fields:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in _raw(event)]


def _raw(event: h11.Request | h11.Response) -> Iterable[tuple[bytes, bytes]]:
    return event.headers.raw_items()


def ask(
    sock: socket.socket,
    method: str,
    target: str,
    headers: Fields,
    body: bytes | Iterable[bytes] = b"",
) -> Reply:
    """Send one request and read its answer; bytes go with Content-Length, an iterable chunked.

    Raises: ConnectionError when the answer broke off or was not HTTP.
    """
    wire = h11.Connection(h11.CLIENT)
    headers = list(headers)
    if not isinstance(body, bytes):
        headers.append(("Transfer-Encoding", "chunked"))
    elif body or method in ("POST", "PUT"):
        headers.append(("Content-Length", str(len(body))))
    head = h11.Request(method=method, target=target, headers=headers)
    data = wire.send(head) or b""
    try:
        for piece in (body,) if isinstance(body, bytes) else body:
            sock.sendall(data + (wire.send(h11.Data(data=piece)) or b""))
            data = b""
        end = wire.send(h11.EndOfMessage())
        if end:
            sock.sendall(end)
    except (BrokenPipeError, ConnectionResetError):
        pass  # an early answer may be waiting to be read
    return _read_reply(wire, sock)


def _read_reply(wire: h11.Connection, sock: socket.socket) -> Reply:
    reply: h11.Response | None = None
    pieces: list[bytes] = []
    try:
        while True:
            event = _next_event(wire, sock)
            if isinstance(event, h11.Response):
                reply = event
            elif isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and reply is not None:
                return Reply(reply.status_code, _fields(reply), b"".join(pieces))
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("closed before an answer")
    except h11.RemoteProtocolError as fault:
        raise ConnectionError(f"broken answer: {fault}") from fault
