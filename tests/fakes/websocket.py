"""WebSocket of the stand-ins, both ends, by wsproto: JSON messages over one TLS socket."""

from __future__ import annotations

import json
import select
import ssl
import threading
from socket import socket

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    TextMessage,
)
from wsproto.events import Request as Opening
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from tests.fakes.messages import Fields, Request

READ_BYTES = 65536


class Refused(ConnectionError):
    """The other end answered the upgrade with something else than 101."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"upgrade answered with {status}")
        self.status = status
        self.body = body


class WebSocket:
    """One open WebSocket; receive() in one thread, send() in any. Does not own its socket."""

    def __init__(self, sock: socket, wire: WSConnection) -> None:
        self.subprotocol = ""
        self.close_code = 0  # 0: still open; 1006: ended without a close frame
        self._sock = sock
        self._wire = wire
        self._lock = threading.Lock()  # an SSL object must not be used by two threads at once
        self._events: list[Event] = []
        self._text = ""

    @classmethod
    def accept(
        cls, sock: socket, request: Request, rest: bytes, *, subprotocol: str = ""
    ) -> WebSocket:
        """Answer an upgrade request with 101.

        Raises: ConnectionError when the request is not a proper opening handshake.
        """
        wire = WSConnection(ConnectionType.SERVER)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in request.headers]
        self = cls(sock, wire)
        try:
            wire.initiate_upgrade_connection(headers, request.target)
            opening = next(wire.events())
            assert isinstance(opening, Opening)
            self.subprotocol = subprotocol if subprotocol in opening.subprotocols else ""
            self._send(AcceptConnection(subprotocol=self.subprotocol or None))
        except (RemoteProtocolError, LocalProtocolError) as fault:
            raise ConnectionError(f"bad opening handshake: {fault}") from fault
        if rest:
            wire.receive_data(rest)
        return self

    @classmethod
    def open(
        cls,
        sock: socket,
        host: str,
        target: str,
        *,
        subprotocols: tuple[str, ...] = (),
        headers: Fields = [],  # noqa: B006
    ) -> WebSocket:
        """Ask for an upgrade and wait for the 101.

        Raises: Refused, ConnectionError, OSError.
        """
        extra = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        self = cls(sock, WSConnection(ConnectionType.CLIENT))
        self._send(
            Opening(host=host, target=target, subprotocols=list(subprotocols), extra_headers=extra)
        )
        event = self._next(None)
        if isinstance(event, AcceptConnection):
            self.subprotocol = event.subprotocol or ""
            return self
        if isinstance(event, RejectConnection):
            raise Refused(event.status_code, self._rejection() if event.has_body else b"")
        raise ConnectionError("ended during the opening handshake")

    def send(self, document: object) -> None:
        """Raises: ConnectionError once closed, OSError."""
        self._send(TextMessage(data=json.dumps(document)))

    def receive(self, timeout_s: float | None = None) -> dict[str, object] | None:
        """The next JSON object; None when the other end closed (see close_code).

        Raises: TimeoutError, OSError, ValueError for anything but a JSON object.
        """
        while True:
            event = self._next(timeout_s)
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    document = json.loads(text)
                    if not isinstance(document, dict):
                        raise ValueError("not a JSON object")
                    return document
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, CloseConnection):
                if not self.close_code:
                    self.close_code = int(event.code)
                    self._answer_close(event)
                return None

    def close(self, code: int = 1000) -> None:
        try:
            self._send(CloseConnection(code=code))
        except OSError:
            pass  # the other end was faster

    def _answer_close(self, event: CloseConnection) -> None:
        try:
            self._send(event.response())
        except OSError:
            pass  # the other end is gone already

    def _send(self, event: Event) -> None:
        with self._lock:
            try:
                self._sock.sendall(self._wire.send(event))
            except LocalProtocolError as fault:
                raise ConnectionError(f"closed: {fault}") from fault

    def _rejection(self) -> bytes:
        body = b""
        while True:
            event = self._next(None)
            if not isinstance(event, RejectData):
                return body
            body += event.data
            if event.body_finished:
                return body

    def _next(self, timeout_s: float | None) -> Event:
        while not self._events:
            self._events = list(self._wire.events())
            if not self._events:
                self._read(timeout_s)
        return self._events.pop(0)

    def _read(self, timeout_s: float | None) -> None:
        pending = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
        if not pending:
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            if not poll.poll(None if timeout_s is None else timeout_s * 1000):
                raise TimeoutError(f"nothing came for {timeout_s} s")
        with self._lock:
            try:
                data = self._sock.recv(READ_BYTES)
            except (ConnectionResetError, ssl.SSLError):
                data = b""
            try:
                self._wire.receive_data(data or None)
            except (LocalProtocolError, RemoteProtocolError):
                self._events.append(CloseConnection(code=1006))
            if not data and not self._events:
                self._events = [*self._wire.events()] or [CloseConnection(code=1006)]
