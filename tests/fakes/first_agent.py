"""Stand-in agent of the first generation: a web service with a self-signed certificate."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from tests.fakes.certificates import self_signed
from tests.fakes.messages import Reply, Request, Response, ask, serve
from tests.fakes.websocket import WebSocket
from tests.fakes.wire import (
    Address,
    Listener,
    client_context,
    closing,
    dial,
    server_context,
    show_address,
)

ANSWER_TIMEOUT_S = 30.0
SHOWN_BODY_BYTES = 200
Say = Callable[[str], None]


def silent(_line: str) -> None:
    pass


class FirstAgent:
    """First generation: listens; retries its handshake until it succeeds; then calls now and then.

    It answers an instruction with its own name and what it was asked; `/echo` sends the body back
    as it comes, a WebSocket echoes JSON messages. `requests` keeps what it was asked, for tests.
    """

    def __init__(
        self,
        proxy: Address,
        *,
        address: str = "127.0.0.1",
        port: int = 2003,
        name: str = "",
        ca: Path | None = None,
        retry_s: float = 300.0,
        period_s: float = 300.0,
        minimum_tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        say: Say = silent,
    ) -> None:
        self.address = address
        self.name = name or f"agent-{address}"
        self.handshake: dict[str, object] = {}
        self.shaken = threading.Event()  # the handshake succeeded
        self.requests: list[Request] = []
        self._proxy = proxy
        self._context = client_context(ca)
        self._retry_s = retry_s
        self._period_s = period_s
        self._say = say
        self._token = secrets.token_hex(32)
        self._key = secrets.token_hex(32)
        self._ending = threading.Event()
        with tempfile.TemporaryDirectory() as directory:
            own = self_signed(Path(directory), "agent", (address,), days=3650)
            context = server_context(own.certificate, own.key, minimum=minimum_tls)
        self._listener = Listener((address, port), self._serve, context)

    def start(self) -> None:
        self._listener.start()
        self._caller = threading.Thread(target=self._run, daemon=True)
        self._caller.start()

    def stop(self) -> None:
        self._ending.set()
        self._listener.stop()
        self._caller.join(ANSWER_TIMEOUT_S)

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def faults(self) -> list[str]:
        return self._listener.faults

    def _run(self) -> None:
        while not self._ending.is_set():
            wait_s = self._period_s
            try:
                if self.shaken.is_set():
                    self._post("/services/agent/alive", {"agent_id": self.handshake.get("agentID")})
                elif not self._shake_hands():
                    wait_s = self._retry_s
            except (OSError, ValueError) as fault:
                wait_s = min(wait_s, self._retry_s)
                self._say(f"{self.name}: no answer: {fault}; again in {wait_s:g} s")
            self._ending.wait(wait_s)

    def _shake_hands(self) -> bool:
        reply = self._post(
            "/services/agent/handshake",
            {
                "token": self._token,
                "key": self._key,
                "addresses": [self.address],
                "instance_id": None,
                "name": self.name,
            },
        )
        if reply.status == 200:
            answer = reply.document().get("handshake")
            self.handshake = answer if isinstance(answer, dict) else {}
            self.shaken.set()
            self._say(f"{self.name}: handshake done, agentID {self.handshake.get('agentID')}")
            return True
        if reply.status == 409:
            self._token = secrets.token_hex(32)
        self._say(f"{self.name}: handshake answered {reply.status}; again in {self._retry_s:g} s")
        return False

    def _post(self, target: str, document: dict[str, object]) -> Reply:
        body = json.dumps(document).encode()
        headers = [
            ("Host", show_address(self._proxy)),
            ("User-Agent", "Java/1.6.0_45"),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ]
        with closing(dial(self._proxy, self._context, source=self.address)) as sock:
            sock.settimeout(ANSWER_TIMEOUT_S)
            return ask(sock, "POST", target, headers, body)

    def _serve(self, sock: socket.socket, peer: Address) -> None:
        serve(sock, peer, self._answer, self._upgrade)

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        self._say(f"{self.name}: asked {request.method} {request.path}")
        if request.path == "/echo":
            return Response(200, request.body)
        digest, size, text = hashlib.sha256(), 0, b""
        for piece in request.body:
            digest.update(piece)
            size += len(piece)
            text += piece[: SHOWN_BODY_BYTES - len(text)]
        answer: dict[str, object] = {
            "agent": self.name,
            "asked": f"{request.method} {request.target}",
            "body": text.decode("utf-8", "replace"),
            "bytes": size,
            "sha256": digest.hexdigest(),
            "headers": request.headers,
        }
        return Response.json(200, answer)

    def _upgrade(self, sock: socket.socket, request: Request, rest: bytes) -> None:
        self.requests.append(request)
        websocket = WebSocket.accept(sock, request, rest)
        while (message := websocket.receive()) is not None:
            websocket.send(message)
