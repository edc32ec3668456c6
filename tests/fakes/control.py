"""Orders to a stand-in platform in another process: HTTP with JSON on a UNIX socket.

GET  /journal?after=N    entries after number N
GET  /agents             what handshakes left: identity, return route, connected or not
POST /register           -> the proxy's answer
POST /call               {"agent": ADDRESS, "method", "target", "body"} -> status, body, ms
POST /proxy               "HOST:PORT" of the proxy that is called from now on
POST /route               {"route": a return route, wrong ones too} -> status, Proxy-Status
POST /command            {"agent": ADDRESS, "command", "arguments"}     -> reply, ms
POST /return-codes       [401, 503, ...] for the next handshakes

curl --unix-socket var/demo/platform.sock http://platform/agents
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: documents of JSON

from tests.fakes.known import KnownAgent
from tests.fakes.messages import Request, Response, ask, serve
from tests.fakes.wire import Listener, parse_address

if TYPE_CHECKING:
    from tests.fakes.platform import Platform


class Control:
    """start(), stop(); does what it is told on one Platform."""

    def __init__(self, platform: Platform, path: Path) -> None:
        self._platform = platform
        self._listener = Listener(path, lambda sock, _: serve(sock, ("control", 0), self._handle))

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()

    def _handle(self, request: Request) -> Response:
        try:
            body = json.loads(b"".join(request.body) or b"{}")
            return Response.json(200, self._act(request, body))
        except (OSError, ValueError, LookupError) as fault:
            return Response.json(502, {"error": f"{type(fault).__name__}: {fault}"})

    def _act(self, request: Request, order: Any) -> object:
        match request.method, request.path:
            case "GET", "/journal":
                after = request.target.partition("after=")[2]
                return self._platform.journal.after(int(after or 0))
            case "GET", "/agents":
                return self._agents()
            case "POST", "/register":
                return self._platform.register()
            case "POST", "/call":
                return self._call(order)
            case "POST", "/proxy":
                self._platform.proxy = parse_address(order)
                return order
            case "POST", "/route":
                return self._route(order)
            case "POST", "/command":
                return self._command(order)
            case "POST", "/return-codes":
                self._platform.return_codes.extend(int(code) for code in order)
                return list(self._platform.return_codes)
        raise LookupError(f"no such order: {request.method} {request.path}")

    def _agents(self) -> list[dict[str, object]]:
        return [
            {
                "address": identity.source,
                "zone": identity.zone,
                "proxy_id": identity.proxy_id,
                "route": known.route,
                "agent_id": known.agent_id,
                "name": known.name,
                "generation": known.generation,
                "connected": self._platform.is_connected(identity),
            }
            for identity, known in list(self._platform.agents.items())
        ]

    def _call(self, order: Any) -> object:
        known = self._known(order)
        begun = time.monotonic()
        reply = self._platform.call(
            known.identity,
            order.get("method", "POST"),
            order.get("target", "/agent/instruction"),
            order.get("body", "").encode(),
        )
        took_ms = (time.monotonic() - begun) * 1000
        body = reply.body.decode("utf-8", "replace")
        return {
            "status": reply.status,
            "proxy_status": reply.field("Proxy-Status"),
            "body": body,
            "route": known.route,
            "ms": took_ms,
        }

    def _known(self, order: Any) -> KnownAgent:
        return self._platform.find(order["agent"], order.get("zone", ""), order.get("proxy_id", ""))

    def _route(self, order: Any) -> object:
        reply = self._platform.call_route(order["route"], "GET", "/agent/instruction")
        body = reply.body.decode("utf-8", "replace")
        return {"status": reply.status, "proxy_status": reply.field("Proxy-Status"), "body": body}

    def _command(self, order: Any) -> object:
        known = self._known(order)
        begun = time.monotonic()
        reply = self._platform.command(known.identity, order["command"], order.get("arguments", {}))
        return {"reply": reply, "ms": (time.monotonic() - begun) * 1000}


def order(path: Path, method: str, target: str, document: object = None) -> Any:
    """Give an order to the Control on that socket and return its JSON.

    Raises: OSError when nobody is there; RuntimeError with what went wrong over there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(60)
        sock.connect(str(path))
        body = b"" if document is None else json.dumps(document).encode()
        reply = ask(sock, method, target, [("Host", "platform"), ("Connection", "close")], body)
    answer = json.loads(reply.body)
    if reply.status != 200:
        raise RuntimeError(answer.get("error", reply.status))
    return answer
