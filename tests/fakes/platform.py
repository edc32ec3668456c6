"""Stand-in platform: what the proxy's upstream is, and who calls agents back through it.

It knows an agent by (Agent-Proxy-Id, Agent-Proxy-Zone, Agent-Proxy-Source) and keeps the return
route of each; to call one it sends that route back to the proxy, byte for byte. Like the real one
it accepts nothing that an unregistered proxy relays (`admit_unregistered` turns that off).

    POST /services/agent/handshake   first generation: {"token", "key", "addresses", ...}
    POST /services/agent/alive       first generation, periodic
    GET  /ws                         last generation: WebSocket, subprotocol dcm
    *    /echo                       the body comes back as it arrives

    python -m tests.fakes.platform --listen 127.0.2.1:3302 --proxy 127.0.0.1:2002 \\
        --certificate platform.crt --key platform.key --journal journal.txt --control platform.sock
"""

from __future__ import annotations

import argparse
import socket
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from tests.fakes.control import Control
from tests.fakes.journal import Journal
from tests.fakes.known import (
    FIRST_MESSAGE_FIELDS,
    Identity,
    KnownAgent,
    document_of,
    find,
    handshake_answer,
    repeated_fields,
    shown_fields,
)
from tests.fakes.messages import Fields, Reply, Request, Response, ask, serve
from tests.fakes.sessions import Session
from tests.fakes.websocket import WebSocket
from tests.fakes.wire import (
    Address,
    Listener,
    client_context,
    closing,
    dial,
    parse_address,
    run_until_signal,
    server_context,
    show_address,
)

__all__ = ["Identity", "KnownAgent", "Platform"]

REGISTRATION = "/agent-proxy/v1/registration"
HANDSHAKE = "/services/agent/handshake"
ALIVE = "/services/agent/alive"
WEBSOCKET = "/ws"
SUBPROTOCOL = "dcm"
FORCE_BACKOFF_S = 1.0
ANSWER_TIMEOUT_S = 30.0


class Platform:
    """start(), stop(); register(), call(), command() act on what the agents' handshakes left."""

    def __init__(
        self,
        *,
        certificate: Path,
        key: Path,
        listen: Address = ("127.0.0.1", 0),
        proxy: Address | None = None,
        source: str = "",
        proxy_ca: Path | None = None,
        journal: Journal | None = None,
        admit_unregistered: bool = True,
    ) -> None:
        self.proxy = proxy
        self.journal = journal or Journal()
        self.agents: dict[Identity, KnownAgent] = {}
        self.registered: dict[str, dict[str, object]] = {}
        self.return_codes: deque[int] = deque()  # for the next handshakes; then 200
        self._sessions: dict[Identity, Session] = {}
        self._source = source
        self._proxy_context = client_context(proxy_ca)
        self._admit_unregistered = admit_unregistered
        self._listener = Listener(listen, self._serve, server_context(certificate, key))

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()

    @property
    def address(self) -> Address:
        assert isinstance(self._listener.address, tuple)
        return self._listener.address

    @property
    def faults(self) -> list[str]:
        return self._listener.faults

    # What the platform does to the proxy ---------------------------------------------------------

    def register(self) -> dict[str, object]:
        """Ask the proxy who it is and accept what it relays from now on.

        Raises: OSError; ValueError when it has no ID.
        """
        reply = self._ask_proxy("GET", REGISTRATION, [])
        answer = reply.document() if reply.body.startswith(b"{") else {}
        proxy_id = answer.get("agentProxyId")
        self.journal.add(
            "registration", self.proxy, REGISTRATION, {}, f"{reply.status} {proxy_id or ''}"
        )
        if reply.status != 200 or not isinstance(proxy_id, str) or not proxy_id:
            raise ValueError(f"registration answered {reply.status}: {reply.body[:200]!r}")
        self.registered[proxy_id] = answer
        return answer

    def call(
        self,
        identity: Identity,
        method: str = "POST",
        target: str = "/agent/instruction",
        body: bytes | Iterable[bytes] = b"",
        headers: Fields = [],  # noqa: B006
    ) -> Reply:
        """One routed call by the return route of that agent. Raises: KeyError, OSError."""
        return self.call_route(self.agents[identity].route, method, target, body, headers)

    def call_route(
        self,
        route: str,
        method: str = "POST",
        target: str = "/agent/instruction",
        body: bytes | Iterable[bytes] = b"",
        headers: Fields = [],  # noqa: B006
    ) -> Reply:
        """One routed call by any route, also a wrong one. Raises: OSError."""
        reply = self._ask_proxy(method, target, [("Agent-Route", route), *headers], body)
        self.journal.add("call", self.proxy, target, {"Agent-Route": route}, str(reply.status))
        return reply

    def command(
        self, identity: Identity, name: str, arguments: dict[str, object], timeout_s: float = 10.0
    ) -> dict[str, object]:
        """Send a command over the agent's WebSocket; its reply, once acknowledged.

        Raises: KeyError when it is not connected; TimeoutError; OSError.
        """
        session = self._sessions[identity]
        begun = time.monotonic()
        reply = session.command(name, arguments, timeout_s)
        took = f"replied in {(time.monotonic() - begun) * 1000:.1f} ms"
        self.journal.add("command", None, WEBSOCKET, identity._asdict(), took)
        return reply

    def find(self, source: str, zone: str = "", proxy_id: str = "") -> KnownAgent:
        """The one known agent with that address. Raises: KeyError for none and for several."""
        return find(self.agents, source, zone, proxy_id)

    def is_connected(self, identity: Identity) -> bool:
        return identity in self._sessions

    def disconnect(self) -> None:
        """Break every open connection, as a restart of the platform would."""
        self._listener.disconnect()

    def _ask_proxy(
        self, method: str, target: str, headers: Fields, body: bytes | Iterable[bytes] = b""
    ) -> Reply:
        if self.proxy is None:
            raise ValueError("no proxy configured")
        host = ("Host", show_address(self.proxy))
        with closing(dial(self.proxy, self._proxy_context, source=self._source)) as sock:
            sock.settimeout(ANSWER_TIMEOUT_S)
            return ask(sock, method, target, [host, *headers, ("Connection", "close")], body)

    # What comes to the platform ------------------------------------------------------------------

    def _serve(self, sock: socket.socket, peer: Address) -> None:
        serve(sock, peer, self._handle, self._upgrade)

    def _note(self, what: str, request: Request, result: str) -> None:
        shown = shown_fields(request)
        self.journal.add(what, request.peer, f"{request.method} {request.path}", shown, result)

    def _refusal(self, request: Request) -> Response | None:
        repeated = repeated_fields(request)
        if repeated:
            self._note("refused", request, f"400 {repeated[0]} repeated")
            return Response(400)
        if not self._admit_unregistered and request.field("Agent-Proxy-Id") not in self.registered:
            self._note("refused", request, "403 proxy not registered")
            return Response(403)
        return None

    def _handle(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        match request.method, request.path:
            case "POST", _ if request.path == HANDSHAKE:
                return self._handshake(request)
            case "POST", _ if request.path == ALIVE:
                self._note("periodic", request, "200")
                return Response.json(200, {"return_code": 200})
            case _, "/echo":
                self._note("request", request, "200")
                return Response(200, request.body)
        self._note("request", request, "404")
        return Response(404)

    def _handshake(self, request: Request) -> Response:
        document = document_of(b"".join(request.body))
        missing = {"token", "key", "addresses"} - document.keys()
        code = 400 if missing else self._next_return_code()
        self._note("handshake", request, str(code))
        if code != 200:
            return Response.json(code, {"return_code": code})
        known = self._remember(request, str(document.get("name", "")), "first")
        return Response.json(200, {"return_code": 200, "handshake": handshake_answer(known)})

    def _upgrade(self, sock: socket.socket, request: Request, rest: bytes) -> None:
        refusal = self._refusal(request)
        if refusal is None and request.path != WEBSOCKET:
            refusal = Response(404)
            self._note("refused", request, "404")
        if refusal is not None:
            head = f"HTTP/1.1 {refusal.status} Refused\r\nContent-Length: 0\r\n\r\n"
            sock.sendall(head.encode())
            return
        websocket = WebSocket.accept(sock, request, rest, subprotocol=SUBPROTOCOL)
        first = websocket.receive(ANSWER_TIMEOUT_S) or {}
        missing = ", ".join(sorted(FIRST_MESSAGE_FIELDS - first.keys()))
        code = 400 if missing or not websocket.subprotocol else self._next_return_code()
        self._note("handshake", request, f"{code} {'without ' + missing if missing else ''}")
        if code != 200:
            refused: dict[str, object] = {"return_code": code}
            websocket.send(refused | ({"FORCE_BACKOFF": FORCE_BACKOFF_S} if code == 503 else {}))
            websocket.close()
            return
        known = self._remember(request, str(first["vm_instance"] or ""), "last")
        websocket.send({"return_code": 200, "handshake": handshake_answer(known)})
        self._run_session(known.identity, Session(websocket), request)

    def _run_session(self, identity: Identity, session: Session, request: Request) -> None:
        self._sessions[identity] = session
        self._note("connected", request, "101")
        try:
            session.run()
        finally:
            if self._sessions.get(identity) is session:
                del self._sessions[identity]
            self._note("disconnected", request, f"code {session.close_code}")

    def _next_return_code(self) -> int:
        return self.return_codes.popleft() if self.return_codes else 200

    def _remember(self, request: Request, name: str, generation: str) -> KnownAgent:
        identity = Identity(
            request.field("Agent-Proxy-Id"),
            request.field("Agent-Proxy-Zone"),
            request.field("Agent-Proxy-Source") or request.peer[0],
        )
        before = self.agents.get(identity)
        agent_id = before.agent_id if before else f"{len(self.agents) + 1:04d}"
        known = KnownAgent(identity, request.field("Agent-Route"), agent_id, name, generation)
        self.agents[identity] = known
        return known


def main() -> int:
    parser = argparse.ArgumentParser(description="Stand-in platform")
    parser.add_argument("--listen", type=parse_address, default=("127.0.2.1", 3302))
    parser.add_argument("--proxy", type=parse_address, default=("127.0.0.1", 2002))
    parser.add_argument("--source", default="", help="calls from; default: the listen address")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--proxy-ca", type=Path, help="verify the proxy against this")
    parser.add_argument("--journal", type=Path, help="append what is seen to this file")
    parser.add_argument("--control", type=Path, help="UNIX socket for orders, see control.py")
    parser.add_argument("--return-codes", default="", help="of the first handshakes: 401,409,503")
    parser.add_argument("--admit-unregistered", action="store_true")
    options = parser.parse_args()
    platform = Platform(
        certificate=options.certificate,
        key=options.key,
        listen=options.listen,
        proxy=options.proxy,
        source=options.source or options.listen[0],
        proxy_ca=options.proxy_ca,
        journal=Journal(options.journal),
        admit_unregistered=options.admit_unregistered,
    )
    platform.return_codes.extend(int(code) for code in options.return_codes.split(",") if code)
    if options.control is None:
        return run_until_signal(platform)
    return run_until_signal(platform, Control(platform, options.control))


if __name__ == "__main__":
    raise SystemExit(main())
