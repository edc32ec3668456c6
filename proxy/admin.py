"""The admin listener on loopback: /live, /ready, /metrics, /status.

Shell. Neighbours: `worker` owns it, `telemetry` fills it. Every worker listens on the same
loopback port and on a UNIX socket of its own; whichever answers asks its siblings, so that one
request shows the whole node.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gevent.pywsgi import WSGIHandler, WSGIServer

from proxy import __version__, lookout, metrics, siblings
from proxy.listener import open_listener
from proxy.local import WATCHDOG_FILE
from proxy.settings import digest

if TYPE_CHECKING:
    from proxy.worker import Worker

_BACKLOG: Final = 64

Start: TypeAlias = Callable[[str, list[tuple[str, str]]], object]


class Handler(WSGIHandler):
    """Reads one request; want of memory goes to the hub, as anywhere else.

    pywsgi takes it for the client's error and prints a traceback past the log.
    """

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes] | None:
        if not isinstance(ex, MemoryError):
            answer: tuple[str, bytes] = super()._handle_client_error(ex)  # type: ignore[misc]
            return answer
        # A context must be given: without one the hub raises it in the main greenlet.
        self.server.loop.handle_error(self, type(ex), ex, ex.__traceback__)
        return None


class Admin:
    """HTTP for operators and their monitoring, never reachable from a network."""

    def __init__(self, worker: Worker) -> None:
        settings = worker.node.settings
        self._worker = worker
        self._address = settings.admin.address
        self._port = settings.admin.port
        self._run_dir = settings.admin.run_dir
        self._path = siblings.own_path(self._run_dir, worker.number)
        self._servers: list[WSGIServer] = []

    def open(self) -> None:
        """Listen. Raises: OSError."""
        os.makedirs(self._run_dir, mode=0o700, exist_ok=True)
        if os.path.exists(self._path):
            os.unlink(self._path)
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.bind(self._path)
        os.chmod(self._path, 0o600)
        local.listen(_BACKLOG)
        shared = open_listener(self._address, self._port, backlog=_BACKLOG)
        for sock, serve in ((local, self._serve_sibling), (_gevent_socket(shared), self._serve)):
            server = WSGIServer(sock, serve, log=None, error_log=None, handler_class=Handler)
            server.start()
            self._servers.append(server)

    def close(self) -> None:
        for server in self._servers:
            server.stop(timeout=1)
        if os.path.exists(self._path):
            os.unlink(self._path)

    def _serve_sibling(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Also what only workers of this node ask: a journal that was read is forgotten."""
        path = environ["PATH_INFO"]
        if path == "/snapshot":
            return _respond(start, 200, self._snapshot())
        if path.startswith("/sightings/"):
            told = lookout.answer(self._worker.sightings, path, environ["QUERY_STRING"])
            return _respond(start, 404 if told is None else 200, told)
        return self._serve(environ, start)

    def _serve(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _respond(start, 405, {"error": "GET only"})
        if path == "/live":
            return _respond(start, 200, self._live())
        if path == "/ready":
            return self._ready(start)
        if path == "/metrics":
            text = metrics.render(self._snapshots(), self._rescues()["counts"])
            return _respond_text(start, metrics.CONTENT_TYPE, text)
        if path == "/status":
            return _respond(start, 200, self._status())
        return _respond(start, 404, {"error": "there are /live /ready /metrics /status"})

    def _live(self) -> dict[str, Any]:
        """Answered by the loop that serves callers: this is what the watchdog goes by."""
        worker = self._worker
        return {
            "live": True,
            "ready": not worker.ready_problems,
            "draining": worker.draining,
            "starved": worker.starved,
        }

    def _rescues(self) -> dict[str, Any]:
        """Return what the watchdog did, as it wrote it down; nothing where none runs."""
        try:
            with open(os.path.join(self._run_dir, WATCHDOG_FILE)) as file:
                content: dict[str, Any] = json.load(file)
                return content
        except (OSError, ValueError):
            return {"counts": {}, "last": []}

    def _ready(self, start: Start) -> Iterable[bytes]:
        """The node is ready while one of its workers is."""
        workers = self._snapshots()
        ready = any(not worker["readyProblems"] for worker in workers)
        content = {
            "ready": ready,
            "workers": {str(item["worker"]): item["readyProblems"] or "ready" for item in workers},
        }
        return _respond(start, 200 if ready else 503, content)

    def _snapshot(self) -> dict[str, Any]:
        worker = self._worker
        connections = tuple(worker.connections)
        return {
            **worker.telemetry.snapshot(),
            "connections": len(connections),
            "connectionsLimit": worker.places.agents_most,
            "certificateEnds": worker.node.tls.expires_at,
            "idleConnections": sum(connection.idle for connection in connections),
            "readyProblems": worker.ready_problems,
            "draining": worker.draining,
            "reloadProblems": worker.reload_problems,
            "configDigest": digest(worker.node.settings),
            "upstream": worker.node.upstream.health(),
            "zones": [
                {**zone, "connections": worker.places.held_by_zone(zone["name"])}
                for zone in worker.entrances.report()
            ],
        }

    def _snapshots(self) -> list[dict[str, Any]]:
        """Return one snapshot per worker that answers, this one's first."""
        own = [self._snapshot()]
        for path in siblings.paths(self._run_dir, self._worker.number):
            snapshot = siblings.ask(path, "/snapshot")
            if snapshot is not None:
                own.append(snapshot)
        return sorted(own, key=lambda item: int(item["worker"]))

    def _status(self) -> dict[str, Any]:
        settings = self._worker.node.settings
        workers = self._snapshots()
        errors = sorted((e for item in workers for e in item["errors"]), key=lambda e: e["time"])
        warnings = self._worker.warnings()
        digests = {item["configDigest"] for item in workers}
        if len(digests) > 1:
            warnings.append("workers run different configurations: reload or restart them")
        return {
            "product": f"agent proxy {__version__}",
            "node": settings.proxy.node,
            "agentProxyId": settings.proxy.id or None,
            "configDigest": digest(settings),
            "certificateSha256": self._worker.node.tls.certificate_sha256,
            "zones": metrics.zones(workers),
            "ready": any(not item["readyProblems"] for item in workers),
            "warnings": warnings,
            "connections": sum(item["connections"] for item in workers),
            "tunnels": sum(item["tunnels"] for item in workers),
            "requests": metrics.totals(workers),
            "upstream": self._worker.node.upstream.health(),
            "workers": [
                {key: item[key] for key in _SHOWN_OF_WORKER if key in item} for item in workers
            ],
            "lastErrors": errors[-20:],
            "lastRescues": self._rescues()["last"],
        }


_SHOWN_OF_WORKER: Final = (
    "worker",
    "pid",
    "started",
    "uptimeSeconds",
    "readyProblems",
    "draining",
    "reloadProblems",
    "configDigest",
    "connections",
    "connectionsLimit",
    "idleConnections",
    "tunnels",
    "inFlight",
    "bytesIn",
    "bytesOut",
    "events",
)


def _gevent_socket(sock: socket.socket) -> socket.socket:
    """Return the patched twin of an unpatched socket: pywsgi waits on it."""
    return socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())


def _respond(start: Start, status: int, content: Any) -> Iterable[bytes]:
    body = json.dumps(content, indent=2).encode() + b"\n"
    phrase = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start(f"{status} {phrase[status]}", headers)
    return [body]


def _respond_text(start: Start, content_type: str, body: bytes) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
