"""Agents, and the next proxy of a route: one connection per call, in the zone of the target.

Shell. Neighbours: `lease` opens connections, `tls` gives the contexts, `node` holds both.

Connections to agents are never kept: a stale one would cost a command that may not be repeated.
"""

from __future__ import annotations

import socket

from proxy.destinations import Target
from proxy.lease import (
    Connection,
    Lease,
    authority,
    head_limits,
    open_connection,
    socket_options,
)
from proxy.settings import Endpoint, Settings
from proxy.tls import Contexts


class Agents:
    """Dials agents: one connection per call, in the zone of the target."""

    def __init__(self, settings: Settings, tls: Contexts) -> None:
        self._settings = settings
        self._limits = head_limits(settings)
        self._context = tls.to_agents
        self._zones = {zone.name: zone for zone in settings.zones}

    def lease(self, target: Target) -> Lease:
        """Return a connected socket to one agent. Raises: Unreachable, TimedOut, BadAnswer."""
        settings = self._settings
        zone = self._zones[target.zone]
        options = socket_options(settings)
        if zone.interface:
            device = zone.interface.encode() + b"\0"
            options.append((socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device))
        connection = Connection(
            target.host,
            target.port,
            timeout=settings.timeouts.connect,
            source_address=(zone.source, 0) if zone.source else None,
            socket_options=options,
            ssl_context=self._context,
            cert_reqs="CERT_REQUIRED" if settings.agents.verify == "ca" else "CERT_NONE",
            assert_hostname=False,
            assert_fingerprint=target.fingerprint.hex() if target.fingerprint else None,
        )
        open_connection(connection, None, settings, "agent")
        host = f"[{target.host}]" if ":" in target.host else target.host
        return Lease(connection, self._limits, f"{host}:{target.port}".encode(), target.host)


class Peers:
    """Dials the next proxy of a route: one connection per call, its certificate compared."""

    def __init__(self, settings: Settings, tls: Contexts) -> None:
        self._settings = settings
        self._limits = head_limits(settings)
        self._context = tls.to_peers

    def lease(self, target: Target) -> Lease:
        """Return a connected socket to one peer. Raises: Unreachable, TimedOut, BadAnswer."""
        settings = self._settings
        assert target.fingerprint, "a peer without a certificate is a configuration problem"
        connection = Connection(
            target.host,
            target.port,
            timeout=settings.timeouts.connect,
            socket_options=socket_options(settings),
            ssl_context=self._context,
            cert_reqs="CERT_NONE",
            assert_hostname=False,
            assert_fingerprint=target.fingerprint.hex(),
        )
        open_connection(connection, None, settings, "peer")
        name = authority(Endpoint(target.host, target.port))
        return Lease(connection, self._limits, name, target.host)
