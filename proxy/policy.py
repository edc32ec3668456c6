"""Who is calling and what is done about it (PROTOCOL.md sections 1 to 4).

Layer 0 (pure). Neighbours: `settings`, `route`, `headers`, `heads` below; `connection` asks here
and acts. Trust comes from the peer's address and certificate, never from a header; what is not
expressly allowed is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from proxy import headers, route
from proxy.errors import (
    BadMessage,
    BadRoute,
    Forbidden,
    LoopDetected,
    NotReady,
)
from proxy.headers import Rewrite
from proxy.heads import RequestHead
from proxy.settings import Peer, Settings, Zone

__all__ = [
    "Address",
    "Caller",
    "Decision",
    "Forward",
    "Identity",
    "Own",
    "Surroundings",
    "Target",
    "agent_target",
    "classify",
    "decide",
    "destination",
    "identity",
    "peer_target",
    "seal_keys",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
CallerKind: TypeAlias = Literal["platform", "peer", "agent", "balancer", "stranger"]

REGISTRATION: Final = b"/agent-proxy/v1/registration"
EXPLAIN: Final = b"/agent-proxy/v1/explain"
READY: Final = b"/agent-proxy/v1/ready"

# Where clouds answer with a machine's credentials, beside 169.254.169.254 (link-local anyway).
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


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


class Target(NamedTuple):
    """Where a request goes. For `platform` the upstream's endpoints are meant.

    `zone` is an agent's zone or a peer's ID.
    """

    kind: Literal["platform", "agent", "peer"]
    host: str = ""
    port: int = 0
    zone: str = ""
    fingerprint: bytes | None = None


class Forward(NamedTuple):
    """Send the request to `target`, its head changed by `rewrite`."""

    target: Target
    rewrite: Rewrite


class Own(NamedTuple):
    """A call to the proxy itself: PROTOCOL.md section 4."""

    name: Literal["registration", "explain", "ready"]


class Surroundings(NamedTuple):
    """What the rules need to know of the machine: facts, fetched by the shell."""

    is_own: Callable[[Address, str], bool]
    """Whether an address belongs to this machine, as seen through an interface ("": any)."""
    upstream: frozenset[str]
    """The addresses of the upstream endpoints, as far as known."""


class Identity(NamedTuple):
    """What is added to every request of one agent connection, made once."""

    fields: bytes
    by: bytes


class Decision(NamedTuple):
    """One rule of PROTOCOL.md section 3, and what it says of a destination."""

    rule: str
    allowed: bool
    detail: str


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
    if may_be_platform and _inside(source, settings.platform.networks):
        return Caller("platform", text, zone.name)
    for peer in settings.peers:
        if _inside(source, peer.networks):
            return Caller("peer", text, zone.name, peer)
    if _inside(source, zone.networks):
        return Caller("agent", text, zone.name)
    return Caller("stranger", text, zone.name)


def _inside(
    address: Address, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
) -> bool:
    return any(address in network for network in networks)


def _inner(address: Address) -> Address:
    """Return the IPv4 address inside a mapped or translated IPv6 address, else `address`."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


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
    return Identity(fields, f"for={_node(caller.source)};by=_{own_id}".encode())


def decide(
    settings: Settings,
    caller: Caller,
    head: RequestHead,
    known: Identity | None,
    surroundings: Callable[[], Surroundings],
    keys: tuple[bytes, ...],
) -> Forward | Own:
    """Return what is done with a request.

    `known` is the identity of an agent's connection, None for other callers; `surroundings` is
    only asked for routed calls.

    Raises: BadMessage, BadRoute, Misdirected, Forbidden, LoopDetected, NotReady.
    """
    _refuse_loop(settings.proxy.id, head)
    if caller.kind == "agent" and known is not None:
        return _to_platform(settings, head, known)
    if caller.peer is not None and caller.peer.role == "nearer":
        return _from_below(settings, caller, caller.peer, head)
    if caller.kind == "balancer":
        return _health_check(head)
    if caller.kind == "platform" or (
        caller.kind == "peer" and caller.peer is not None and caller.peer.role == "farther"
    ):
        return _from_above(settings, caller, head, surroundings, keys)
    raise Forbidden("this caller may not send requests here")


def _health_check(head: RequestHead) -> Own:
    """A balancer that speaks for itself may ask whether this node wants traffic, nothing else."""
    if head.target.partition(b"?")[0] != READY or head.method not in (b"GET", b"HEAD"):
        raise Forbidden(f"a balancer's own connection may GET {READY.decode()} only")
    return Own("ready")


def _refuse_loop(own_id: str, head: RequestHead) -> None:
    for value in headers.field(head.headers, b"via"):
        for hop in value.decode("latin-1").split(","):
            if own_id and hop.split()[1:2] == [own_id]:
                raise LoopDetected(f"this request passed {own_id} before (Via)")


def _to_platform(settings: Settings, head: RequestHead, known: Identity) -> Forward:
    added = known.fields + _hop(settings, head, known.by)
    keep_host = settings.upstream.host == "preserve" and bool(head.host)
    return Forward(_PLATFORM, Rewrite(headers.FROM_AGENT, keep_host, added))


def _hop(settings: Settings, head: RequestHead, by: bytes) -> bytes:
    """Return what every proxy adds on the way up: one more hop of Forwarded and of Via."""
    host = b';host="%b"' % head.host if head.host else b""
    own_id = settings.proxy.id.encode()
    return b"Forwarded: %b%b;proto=https\r\nVia: 1.%d %b\r\n" % (by, host, head.minor, own_id)


def _from_below(settings: Settings, caller: Caller, peer: Peer, head: RequestHead) -> Forward:
    """Pass on an agent's request whose identity a nearer peer vouches for.

    Raises: NotReady, Forbidden, BadRoute.
    """
    own_id = settings.proxy.id
    if not own_id:
        raise NotReady("[proxy] id is not set: no return route can lead through this proxy")
    claims = [
        (headers.canonical(name), value)
        for name, value in head.headers
        if headers.canonical(name).startswith(b"agent-proxy-")
    ]
    values = headers.field(head.headers, b"agent-route")
    if sorted(name for name, _ in claims) != _CLAIMS or len(values) != 1:
        raise Forbidden(
            f"peer {peer.id}: an agent's request carries Agent-Proxy-Id, -Zone, -Source and "
            "Agent-Route, each once"
        )
    way = route.parse(values[0])
    said = tuple(value.decode("latin-1") for _, value in sorted(claims))
    if not way.ids or (way.ids[-1], way.agent.host, way.agent.zone) != said:
        raise BadRoute(f"peer {peer.id}: the return route does not lead to the agent it names")
    if way.ids[0] != peer.id:
        raise BadRoute(f"peer {peer.id}: the return route does not begin with it")
    longer = b"Agent-Route: %b\r\n" % route.prepend(own_id, values[0])
    by = f"for={_node(caller.source)};by=_{own_id}".encode()
    keep_host = settings.upstream.host == "preserve" and bool(head.host)
    added = longer + _hop(settings, head, by)
    return Forward(_PLATFORM, Rewrite(headers.FROM_PEER, keep_host, added))


_CLAIMS: Final = [b"agent-proxy-id", b"agent-proxy-source", b"agent-proxy-zone"]


def _node(source: str) -> str:
    """Return an address as Forwarded spells it (RFC 7239 section 6)."""
    return f'"[{source}]"' if ":" in source else source


_PLATFORM: Final = Target("platform")


def _from_above(
    settings: Settings,
    caller: Caller,
    head: RequestHead,
    surroundings: Callable[[], Surroundings],
    keys: tuple[bytes, ...],
) -> Forward | Own:
    if caller.kind == "platform":
        own = _own_call(head)
        if own is not None:
            return own
    values = headers.field(head.headers, b"agent-route")
    if not values:
        raise BadMessage("no Agent-Route: a call to an agent carries the return route it came with")
    hop = _next_hop(settings, values)
    if isinstance(hop, str):
        via = b"Via: 1.%d %b\r\n" % (head.minor, settings.proxy.id.encode())
        return Forward(peer_target(settings, hop), Rewrite(headers.TO_PEER, False, via))
    for decision in destination(settings, hop, surroundings(), keys):
        if not decision.allowed:
            raise Forbidden(
                f"{decision.rule}: {decision.detail}", token="destination_ip_prohibited"
            )
    return Forward(agent_target(hop), Rewrite(headers.TO_AGENT, False, b""))


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


def agent_target(hop: route.AgentHop) -> Target:
    """Return where a hop that passed `destination` is dialled: the address inside a mapped one."""
    host = str(_inner(ipaddress.ip_address(hop.host)))
    return Target("agent", host, hop.port, hop.zone, hop.fingerprint)


def _own_call(head: RequestHead) -> Own | None:
    path = head.target.partition(b"?")[0]
    if path == REGISTRATION:
        name: Literal["registration", "explain", "ready"] = "registration"
    elif path == EXPLAIN:
        return Own("explain") if head.method == b"GET" else _only_get()
    elif path == READY:
        name = "ready"
    else:
        return None
    return Own(name) if head.method in (b"GET", b"HEAD") else _only_get()


def _only_get() -> Own:
    raise BadMessage("the proxy's own paths answer GET only")


def _next_hop(settings: Settings, values: list[bytes]) -> str | route.AgentHop:
    """Return the member after our own ID. Raises: BadRoute, Misdirected, NotReady."""
    if not settings.proxy.id:
        raise NotReady("[proxy] id is not set: no route can name this proxy")
    if len(values) > 1:
        raise BadRoute("Agent-Route is given twice")
    return route.next_hop(route.parse(values[0]), settings.proxy.id)


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
    named = zone is not None and _inside(address, zone.networks)
    yield Decision("3 zone", named, f"{address} inside the networks of zone {hop.zone}")
    ports = {*settings.agents.ports, *([zone.port] if zone is not None else [])}
    yield Decision("3 port", hop.port in ports, f"port {hop.port} is one of [agents] ports")
    yield _sealed(settings, hop, keys)


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
        ("a metadata service", address in _METADATA),
        ("the upstream", str(address) in surroundings.upstream),
        ("denied by [agents] deny", _inside(address, settings.agents.deny)),
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
