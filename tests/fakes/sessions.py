"""One last-generation agent connected to the stand-in platform.

A command and its answers are tied by `request_id`:  COMMAND ->  <- ACK  <- REPLY  ACK ->
"""

from __future__ import annotations

import queue
import time
import uuid

from tests.fakes.websocket import WebSocket

Document = dict[str, object]


class Session:
    """run() reads in the connection's thread, command() waits in any other."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._waiting: dict[str, queue.Queue[Document | None]] = {}

    @property
    def close_code(self) -> int:
        return self._websocket.close_code

    def run(self) -> None:
        """Until the agent closes."""
        try:
            while (message := self._websocket.receive()) is not None:
                waiting = self._waiting.get(str(message.get("request_id")))
                if waiting is not None:
                    waiting.put(message)
        finally:
            for waiting in list(self._waiting.values()):
                waiting.put(None)

    def command(self, name: str, arguments: Document, timeout_s: float) -> Document:
        """The payload of the agent's reply. Raises: TimeoutError, ConnectionError."""
        request_id = str(uuid.uuid4())
        waiting: queue.Queue[Document | None] = queue.Queue()
        self._waiting[request_id] = waiting
        deadline = time.monotonic() + timeout_s
        try:
            payload = {"command": name, "arguments": arguments}
            self._websocket.send({"type": "COMMAND", "request_id": request_id, "payload": payload})
            self._expect(waiting, "ACK", deadline)
            reply = self._expect(waiting, "REPLY", deadline)
            self._websocket.send({"type": "ACK", "request_id": request_id})
        finally:
            del self._waiting[request_id]
        answer = reply.get("payload")
        return answer if isinstance(answer, dict) else {}

    def _expect(
        self, waiting: queue.Queue[Document | None], kind: str, deadline: float
    ) -> Document:
        try:
            message = waiting.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"no {kind} in time") from None
        if message is None:
            raise ConnectionError(f"agent went away before its {kind}")
        if message.get("type") != kind:
            raise ConnectionError(f"expected {kind}, got {message.get('type')}")
        return message
