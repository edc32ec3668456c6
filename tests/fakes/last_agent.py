"""Stand-in agent of the last generation: dials out over a WebSocket and keeps it."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from tests.fakes.first_agent import ANSWER_TIMEOUT_S, Say, silent
from tests.fakes.websocket import Refused, WebSocket
from tests.fakes.wire import Address, client_context, close, dial, show_address

FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 300.0


class LastAgent:
    """Last generation: one WebSocket, kept; commands are acknowledged and replied to.

    Reconnects with a back-off of 0.5 s doubling to 300 s, or of FORCE_BACKOFF when told so.
    """

    def __init__(
        self,
        proxy: Address,
        *,
        address: str = "127.0.0.1",
        name: str = "",
        ca: Path | None = None,
        first_backoff_s: float = FIRST_BACKOFF_S,
        longest_backoff_s: float = LAST_BACKOFF_S,
        say: Say = silent,
    ) -> None:
        self.address = address
        self.name = name or f"agent-{address}"
        self.handshake: dict[str, object] = {}
        self.connected = threading.Event()
        self.return_codes: list[int] = []  # of every handshake so far
        self.commands: list[dict[str, object]] = []
        self._proxy = proxy
        self._context = client_context(ca)
        self._first_backoff_s = first_backoff_s
        self._longest_backoff_s = longest_backoff_s
        self._say = say
        self._token = secrets.token_hex(32)
        self._ending = threading.Event()
        self._websocket: WebSocket | None = None
        self._forced_backoff_s = 0.0

    def start(self) -> None:
        self._runner = threading.Thread(target=self._run, daemon=True)
        self._runner.start()

    def stop(self) -> None:
        self._ending.set()
        websocket = self._websocket
        if websocket is not None:
            websocket.close(1001)
        self._runner.join(ANSWER_TIMEOUT_S)

    def _run(self) -> None:
        backoff_s = self._first_backoff_s
        while not self._ending.is_set():
            self._forced_backoff_s = 0.0
            try:
                if self._connect_once():
                    backoff_s = self._first_backoff_s
            except Refused as refused:
                self._say(f"{self.name}: upgrade answered {refused.status}")
            except (OSError, ValueError) as fault:
                self._say(f"{self.name}: {fault}")
            if not self._ending.is_set():
                wait_s = self._forced_backoff_s or backoff_s
                self._say(f"{self.name}: not connected; again in {wait_s:g} s")
                self._ending.wait(wait_s)
                backoff_s = min(backoff_s * 2, self._longest_backoff_s)

    def _connect_once(self) -> bool:
        """True when there was a session, now over."""
        sock = dial(self._proxy, self._context, source=self.address)
        try:
            host = show_address(self._proxy)
            sock.settimeout(ANSWER_TIMEOUT_S)
            websocket = WebSocket.open(sock, host, "/ws", subprotocols=("dcm",))
            websocket.send(self._first_message())
            if not self._is_accepted(websocket.receive(ANSWER_TIMEOUT_S) or {}):
                return False
            self._websocket = websocket
            if self._ending.is_set():
                return True
            self.connected.set()
            self._obey(websocket)
            return True
        finally:
            self.connected.clear()
            self._websocket = None
            close(sock)

    def _first_message(self) -> dict[str, object]:
        return {
            "ipv4": [self.address],
            "ipv6": [],
            "agent_id": self.handshake.get("agentID"),
            "token": self._token,
            "vm_instance": self.name,
            "injected_id": None,
            "version": "1.2.5",
            "protocol_version": 102,
            "platform": "debian",
            "platform_version": "12",
            "features": ["stand-in"],
        }

    def _is_accepted(self, answer: dict[str, object]) -> bool:
        code = answer.get("return_code")
        self.return_codes.append(code if isinstance(code, int) else 0)
        if code == 200:
            handshake = answer.get("handshake")
            self.handshake = handshake if isinstance(handshake, dict) else {}
            self._say(f"{self.name}: handshake done, agentID {self.handshake.get('agentID')}")
            return True
        if code == 409:
            self._token = secrets.token_hex(32)
        if code == 503:
            self._forced_backoff_s = float(str(answer.get("FORCE_BACKOFF", 0)))
        self._say(f"{self.name}: handshake answered {code}")
        return False

    def _obey(self, websocket: WebSocket) -> None:
        while (message := websocket.receive()) is not None:
            if message.get("type") != "COMMAND":
                continue
            self.commands.append(message)
            payload = message.get("payload")
            command = payload if isinstance(payload, dict) else {}
            self._say(f"{self.name}: command {command.get('command')}")
            request_id = message.get("request_id")
            websocket.send({"type": "ACK", "request_id": request_id})
            answer = {
                "return_code": 0,
                "agent": self.name,
                "command": command.get("command"),
                "arguments": command.get("arguments"),
            }
            websocket.send({"type": "REPLY", "request_id": request_id, "payload": answer})
