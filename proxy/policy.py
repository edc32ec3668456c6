"""What is done with a request (PROTOCOL.md sections 1 to 4).

Layer 0 (pure). Neighbours: `callers` says who is calling, `destinations` where a call may go,
`headers` what is rewritten; `connection` asks here and acts. What is not expressly allowed is
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from proxy import headers, route
from proxy.callers import Caller, Identity, forwarded_for
from proxy.destinations import Surroundings, Target, agent_target, destination, peer_target
from proxy.errors import BadMessage, BadRoute, Forbidden, LoopDetected, NotReady
from proxy.fields import canonical
from proxy.headers import Rewrite
from proxy.heads import RequestHead
from proxy.settings import Peer, Settings

__all__ = ["Forward", "Own", "decide"]

REGISTRATION: Final = b"/agent-proxy/v1/registration"
EXPLAIN: Final = b"/agent-proxy/v1/explain"
READY: Final = b"/agent-proxy/v1/ready"


class Forward(NamedTuple):
    """Send the request to `target`, its head changed by `rewrite`."""

    target: Target
    rewrite: Rewrite


class Own(NamedTuple):
    """A call to the proxy itself: PROTOCOL.md section 4."""

    name: Literal["registration", "explain", "ready"]


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
    for value in headers.values(head, b"via"):
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
        (canonical(name), value)
        for name, value in head.headers
        if canonical(name).startswith(b"agent-proxy-")
    ]
    values = headers.values(head, b"agent-route")
    if sorted(name for name, _ in claims) != _CLAIMS or len(values) != 1:
        raise Forbidden(
            f"peer {peer.id}: an agent's request carries Agent-Proxy-Id, -Zone, -Source and "
            "Agent-Route, each once",
            refusal="peer_identity",
        )
    way = route.parse(values[0])
    said = tuple(value.decode("latin-1") for _, value in sorted(claims))
    if not way.ids or (way.ids[-1], way.agent.host, way.agent.zone) != said:
        raise BadRoute(f"peer {peer.id}: the return route does not lead to the agent it names")
    if way.ids[0] != peer.id:
        raise BadRoute(f"peer {peer.id}: the return route does not begin with it")
    longer = b"Agent-Route: %b\r\n" % route.prepend(own_id, values[0])
    by = f"for={forwarded_for(caller.source)};by=_{own_id}".encode()
    keep_host = settings.upstream.host == "preserve" and bool(head.host)
    added = longer + _hop(settings, head, by)
    return Forward(_PLATFORM, Rewrite(headers.FROM_PEER, keep_host, added))


_CLAIMS: Final = [b"agent-proxy-id", b"agent-proxy-source", b"agent-proxy-zone"]


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
    values = headers.values(head, b"agent-route")
    if not values:
        raise BadMessage("no Agent-Route: a call to an agent carries the return route it came with")
    hop = _next_hop(settings, values)
    if isinstance(hop, str):
        via = b"Via: 1.%d %b\r\n" % (head.minor, settings.proxy.id.encode())
        return Forward(peer_target(settings, hop), Rewrite(headers.TO_PEER, False, via))
    for decision in destination(settings, hop, surroundings(), keys):
        if not decision.allowed:
            raise Forbidden(
                f"{decision.rule}: {decision.detail}",
                token="destination_ip_prohibited",
                refusal=decision.refusal,
            )
    return Forward(agent_target(hop), Rewrite(headers.TO_AGENT, False, b""))


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
