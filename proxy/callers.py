"""Who is calling, and what the platform is told of an agent (PROTOCOL.md sections 1 and 2).

Layer 0 (pure). Neighbours: `zones` finds the zone, `policy` decides what a caller may do. Trust
comes from the peer's address and certificate, never from a header; what is not expressly allowed
is a stranger.
"""

from __future__ import annotations

import ipaddress
from typing import Literal, NamedTuple, TypeAlias

from proxy import route
from proxy.errors import NotReady
from proxy.settings import Peer, Settings, Zone
from proxy.zones import Address, inside

__all__ = ["Caller", "Identity", "classify", "forwarded_for", "identity", "seal_keys"]

CallerKind: TypeAlias = Literal["platform", "peer", "agent", "balancer", "stranger"]


class Caller(NamedTuple):
    """One accepted connection: what it may do, from where, in which zone."""

    kind: CallerKind
    source: str
    zone: str
    peer: Peer | None = None

    @property
    def is_below(self) -> bool:
        """Whether it brings agents' requests: it must leave room for the platform's calls."""
        return self.kind == "agent" or (self.peer is not None and self.peer.role == "nearer")


class Identity(NamedTuple):
    """What is added to every request of one agent connection, made once."""

    fields: bytes
    by: bytes


def classify(settings: Settings, source: Address, zone: Zone) -> Caller:
    """Return the class of a connection that arrived in `zone` from `source`.

    A certificate that the class requires is demanded by TLS itself, with the class's own context:
    failing there closes the connection, it never changes the class.
    """
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped  # a dual-stack socket's spelling; others are not believed
    text = str(source)
    if source.is_link_local:
        return Caller("stranger", text, zone.name)  # means something on one wire only
    # Behind a zone's own interface anybody may take the platform's address, and would get the
    # answers: there it takes a certificate as well.
    may_be_platform = not zone.interface or bool(settings.platform.client_ca)
    if may_be_platform and inside(source, settings.platform.networks):
        return Caller("platform", text, zone.name)
    for peer in settings.peers:
        if inside(source, peer.networks):
            return Caller("peer", text, zone.name, peer)
    if inside(source, zone.networks):
        return Caller("agent", text, zone.name)
    return Caller("stranger", text, zone.name)


def seal_keys(settings: Settings) -> tuple[bytes, ...]:
    """Return the keys that seals are checked with, the one to mint with first."""
    secrets = (settings.proxy.secret, settings.proxy.previous_secret)
    return tuple(route.seal_key(secret) for secret in secrets if secret)


def identity(settings: Settings, caller: Caller, keys: tuple[bytes, ...]) -> Identity:
    """Return the fields that tell the platform who `caller`, an agent, is (section 2).

    Raises: NotReady without an ID or a secret: an agent that cannot be named is not let through.
    """
    own_id = settings.proxy.id
    if not own_id or not keys:
        missing = "[proxy] id" if not own_id else "[proxy] secret"
        raise NotReady(f"{missing} is not set: agents cannot be told apart, none is let through")
    zone = next(zone for zone in settings.zones if zone.name == caller.zone)
    return_route = route.mint(own_id, caller.zone, caller.source, zone.port, keys[0])
    fields = (
        f"Agent-Proxy-Id: {own_id}\r\n"
        f"Agent-Proxy-Zone: {caller.zone}\r\n"
        f"Agent-Proxy-Source: {caller.source}\r\n"
    ).encode() + b"Agent-Route: %b\r\n" % return_route
    return Identity(fields, f"for={forwarded_for(caller.source)};by=_{own_id}".encode())


def forwarded_for(source: str) -> str:
    """Return an address as Forwarded spells it (RFC 7239 section 6)."""
    return f'"[{source}]"' if ":" in source else source
