"""Where a call may go: the rules of PROTOCOL.md section 3 for agents, and for peers.

Layer 0 (pure). Neighbours: `zones`, `route` below; `policy` asks for each routed call, `own`
for explain. What is not expressly allowed is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from proxy import route
from proxy.errors import BadRoute, NotReady
from proxy.settings import Settings
from proxy.zones import Address, inside

__all__ = ["Decision", "Surroundings", "Target", "agent_target", "destination", "peer_target"]

# Where clouds answer with a machine's credentials, beside 169.254.169.254 (link-local anyway).
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
    )
)
_AWS_SERVICES: Final = ipaddress.IPv6Network("fd00:ec2::/32")  # ::254 metadata, ::253 DNS, more
_REFUSALS: Final = {
    "1 address": "route_address",
    "2 forbidden": "route_forbidden",
    "3 zone": "route_zone",
    "3 port": "route_port",
    "4 seal": "route_seal",
}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1, with :: and ::1 in it
_SIIT: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765: "IPv4-translated"
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: an IPv4 address behind these 32 bits


class Target(NamedTuple):
    """Where a request goes. For `platform` the upstream's endpoints are meant.

    `zone` is an agent's zone or a peer's ID.
    """

    kind: Literal["platform", "agent", "peer"]
    host: str = ""
    port: int = 0
    zone: str = ""
    fingerprint: bytes | None = None


class Surroundings(NamedTuple):
    """What the rules need to know of the machine: facts, fetched by the shell."""

    is_own: Callable[[Address, str], bool]
    """Whether an address belongs to this machine, as seen through an interface ("": any)."""
    upstream: frozenset[str]
    """The addresses of the upstream endpoints, as far as known."""


class Decision(NamedTuple):
    """One rule of PROTOCOL.md section 3, and what it says of a destination."""

    rule: str
    allowed: bool
    detail: str

    @property
    def refusal(self) -> str:
        """Return what a refusal by this rule is counted as."""
        return _REFUSALS[self.rule]


def destination(
    settings: Settings,
    hop: route.AgentHop,
    surroundings: Surroundings,
    keys: tuple[bytes, ...],
) -> Iterator[Decision]:
    """Yield every rule of section 3 for the last hop, in order; all must allow.

    The first is about the form: where it refuses, the others cannot be asked.
    """
    try:
        literal = ipaddress.ip_address(hop.host)
        canonical = _text(literal) == hop.host and "%" not in hop.host
    except ValueError:
        canonical = False
    yield Decision("1 address", canonical, f"{hop.host} as an IP literal in canonical form")
    if not canonical:
        return
    address = _inner(literal)
    zone = next((zone for zone in settings.zones if zone.name == hop.zone), None)
    yield _never(settings, address, surroundings, zone.interface if zone is not None else "")
    named = zone is not None and inside(address, zone.networks)
    yield Decision("3 zone", named, f"{address} inside the networks of zone {hop.zone}")
    ports = {*settings.agents.ports, *([zone.port] if zone is not None else [])}
    yield Decision("3 port", hop.port in ports, f"port {hop.port} is one of [agents] ports")
    yield _sealed(settings, hop, keys)


def _inner(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, compatible or translated one, else `address`."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _SIIT or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _hides(address: Address) -> bool:
    """Whether a tunnel or a translator would make another address of it, one nobody judged."""
    if isinstance(address, ipaddress.IPv4Address):
        return False
    isatap = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    return isatap or address.teredo is not None or address in _NAT64_LOCAL


def _text(address: Address) -> str:
    """Return the canonical form (RFC 5952); a mapped address in hexadecimal on every Python."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        low = int(address) & 0xFFFFFFFF
        return f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}"
    return str(address)


def _never(
    settings: Settings, address: Address, surroundings: Surroundings, interface: str
) -> Decision:
    rule = "2 forbidden"
    loopback = address.is_loopback
    if loopback and not settings.agents.allow_loopback:
        return Decision(rule, False, f"{address} is a loopback address")
    for name, applies in (
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("unspecified", address.is_unspecified or str(address).startswith("0.")),
        ("the broadcast address", str(address) == "255.255.255.255"),
        ("a cloud's own service", address in _METADATA or address in _AWS_SERVICES),
        ("a tunnel's or translator's address", _hides(address)),
        ("the upstream", str(address) in surroundings.upstream),
        ("denied by [agents] deny", inside(address, settings.agents.deny)),
        ("this proxy itself", not loopback and surroundings.is_own(address, interface)),
    ):
        if applies:
            return Decision(rule, False, f"{address} is {name}")
    return Decision(rule, True, f"{address} is none of the addresses that are never dialled")


def _sealed(settings: Settings, hop: route.AgentHop, keys: tuple[bytes, ...]) -> Decision:
    rule = "4 seal"
    if hop.seal is None:
        allowed = settings.platform.routes == "any"
        return Decision(rule, allowed, f"no seal, [platform] routes = {settings.platform.routes}")
    right = route.seal_is_right(hop, settings.proxy.id, keys)
    return Decision(rule, right, "the seal is ours" if right else "the seal is not ours")


def agent_target(hop: route.AgentHop) -> Target:
    """Return where a hop that passed `destination` is dialled: the address inside a mapped one."""
    host = str(_inner(ipaddress.ip_address(hop.host)))
    return Target("agent", host, hop.port, hop.zone, hop.fingerprint)


def peer_target(settings: Settings, peer_id: str) -> Target:
    """Return where the next proxy of a route is called. Raises: BadRoute, NotReady."""
    for peer in settings.peers:
        if peer.id != peer_id or peer.role != "nearer" or peer.endpoint is None:
            continue
        if peer.certificate:
            pinned = bytes.fromhex(peer.certificate)
            return Target("peer", peer.endpoint.host, peer.endpoint.port, peer.id, pinned)
        raise NotReady(f"[peers/{peer_id}] certificate is not set: anybody could be that proxy")
    raise BadRoute(f"the next hop {peer_id} is not among the nearer [peers]")
