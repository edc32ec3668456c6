"""A peer that records every byte and reads it with h11: a strict reader that is not ours."""

from __future__ import annotations

import threading
from typing import NamedTuple

import h11

from tests.integration.peers import Wire


class Request(NamedTuple):
    """One whole request as h11 read it."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


class Recorder:
    """Answers every whole request with an empty 200. `faults`: what h11 could not read."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.raw: list[bytes] = []
        self.begun = 0
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def script(self, wire: Wire) -> None:
        """Serve one connection until it ends: an `Origin` runs this."""
        reader = h11.Connection(h11.SERVER)
        head: h11.Request | None = None
        body = b""
        while data := wire.some():
            with self._lock:
                self.raw.append(data)
            reader.receive_data(data)
            while True:
                try:
                    event = reader.next_event()
                except h11.RemoteProtocolError as error:
                    self.faults.append(str(error))
                    return
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                if isinstance(event, h11.Request):
                    head, body = event, b""
                    with self._lock:
                        self.begun += 1
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    fields = [(bytes(k), bytes(v)) for k, v in head.headers]
                    with self._lock:
                        self.requests.append(Request(head.method, head.target, fields, body))
                    answer = h11.Response(status_code=200, headers=[("Content-Length", "0")])
                    wire.send(reader.send(answer) or b"", reader.send(h11.EndOfMessage()) or b"")
                    if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                        return
                    reader.start_next_cycle()
