"""The `Agent-Route` field: which proxies a call passes, and which agent it ends at.

Layer 0 (pure). Neighbours: `errors` below; `policy` asks for the next hop and mints return routes,
the console asks it to explain a route.

    "45BCEBB32AA9", "7C01D22A90EE", agent;zone="isolated-1";host="10.0.0.2";port=2003;seal=:...:
     nearest to the platform   ^    the last member; its parameters stand in any order, each once
                               farther away, nearer to the agent

A strict subset of an RFC 9651 List. Refused although RFC 9651 would take it: escapes in strings,
leading zeros, base64 without padding or with stray bits, any parameter we do not know, and any
parameter given twice (RFC 9651 lets the last one win; a proxy and a log reader might not agree).
So a decoded route has one meaning, and only white space and parameter order can vary.

What is not judged here: whether the host is an address we may dial. That is `policy`, and there
the operator can be told which rule said no.

The seal says "one of our group of proxies wrote this": HMAC-SHA256, cut to 16 bytes, over the ID
of the last proxy, zone, host and port. It is not encryption, and it does not cover `fp`, which
the platform may add to a route that it was given.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from proxy.errors import BadRoute, Misdirected

__all__ = [
    "MAX_BYTES",
    "MAX_HOPS",
    "AgentHop",
    "Route",
    "mint",
    "next_hop",
    "parse",
    "prepend",
    "seal",
    "seal_is_right",
    "seal_key",
    "serialize",
]

MAX_HOPS: Final = 4
MAX_BYTES: Final = 2048

_SEAL_BYTES: Final = 16
_SEAL_PURPOSE: Final = b"agent-proxy: seal of Agent-Route, version 1"

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_STRING: Final = re.compile(r'"([ !#-\[\]-~]*)"')
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")
_PARAMETER: Final = re.compile(
    r'; *([a-z*][a-z0-9_.*-]*)=("[ !#-\[\]-~]*"|-?[0-9.]+|:[A-Za-z0-9+/=]*:)'
)
# What each parameter of `agent` may hold; the group is the value without its quotes or colons.
_FORMS: Final = {
    "zone": re.compile(r'"([A-Za-z0-9][A-Za-z0-9._-]{0,63})"'),
    "host": re.compile(r'"([0-9A-Za-z.:_-]{1,253})"'),
    "port": re.compile(r"([1-9][0-9]{0,4})"),
    "seal": re.compile(r":([A-Za-z0-9+/]{22}==):"),
    "fp": re.compile(r":([A-Za-z0-9+/]{43}=):"),
}


@dataclass(frozen=True, slots=True)
class AgentHop:
    """The end of a route: an agent's address in a zone, and what vouches for it."""

    zone: str
    host: str
    port: int
    seal: bytes | None = None
    """16 bytes; None: the route is not sealed."""
    fingerprint: bytes | None = None
    """SHA-256 of the agent's certificate, 32 bytes; None: not pinned."""


@dataclass(frozen=True, slots=True)
class Route:
    """The IDs of the proxies on the way, the one nearest to the platform first, and the end."""

    ids: tuple[str, ...]
    agent: AgentHop


def parse(value: bytes) -> Route:
    """Return the route that a field value spells. Linear in time, at most MAX_BYTES.

    Raises: BadRoute.
    """
    if len(value) > MAX_BYTES:
        raise BadRoute(f"Agent-Route is {len(value)} bytes long; at most {MAX_BYTES} are read")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError as old:
        raise BadRoute(f"Agent-Route: byte {old.start + 1} is not ASCII") from old
    ids: list[str] = []
    position = 0
    while match := _STRING.match(text, position):
        ids.append(_checked_id(match[1]))
        comma = _COMMA.match(text, match.end())
        if comma is None:
            raise BadRoute(
                f"Agent-Route: after {match[0]} a comma and the next hop must follow; "
                "the last member is agent"
            )
        position = comma.end()
    if len(ids) > MAX_HOPS:
        raise BadRoute(f"Agent-Route names {len(ids)} proxies; at most {MAX_HOPS} are allowed")
    if not text.startswith("agent", position):
        raise BadRoute(
            f'Agent-Route: neither a quoted ID such as "45BCEBB32AA9" nor agent '
            f"at character {position + 1}"
        )
    return Route(tuple(ids), _agent(text, position + len("agent")))


def _agent(text: str, position: int) -> AgentHop:
    given: dict[str, str] = {}
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise BadRoute(
                f"Agent-Route: no parameter of agent can be read at character {position + 1}"
            )
        name, raw = match.groups()
        if name in given:
            raise BadRoute(f"Agent-Route: {name} is given twice")
        given[name] = _bare(name, raw)
        position = match.end()
    missing = [name for name in ("zone", "host", "port") if name not in given]
    if missing:
        raise BadRoute(f"Agent-Route: agent lacks {', '.join(missing)}")
    port = int(given["port"])
    if port > 65535:
        raise BadRoute(f"Agent-Route: port {port} is above 65535")
    return AgentHop(
        given["zone"],
        given["host"],
        port,
        _binary("seal", given["seal"]) if "seal" in given else None,
        _binary("fp", given["fp"]) if "fp" in given else None,
    )


def _bare(name: str, raw: str) -> str:
    form = _FORMS.get(name)
    if form is None:
        raise BadRoute(f"Agent-Route: unknown parameter {name[:80]}; known are {', '.join(_FORMS)}")
    match = form.fullmatch(raw)
    if match is None:
        # The value of a seal is not repeated: texts of errors end up in logs.
        shown = f" {raw[:80]}" if name in ("zone", "host", "port") else ""
        raise BadRoute(f"Agent-Route: the value{shown} of {name} has the wrong form")
    return match[1]


def _binary(name: str, text: str) -> bytes:
    value = binascii.a2b_base64(text)
    if binascii.b2a_base64(value, newline=False) != text.encode():
        raise BadRoute(f"Agent-Route: {name} has stray bits in the last base64 character")
    return value


def _checked_id(own_id: str) -> str:
    if _ID.fullmatch(own_id) is None:
        raise BadRoute(
            f'Agent-Route: "{own_id[:80]}" is no proxy ID (4 to 64 letters, digits and ._-)'
        )
    return own_id


def serialize(route: Route) -> bytes:
    """Return the field value for `route`; reading it again gives the same route.

    Raises: BadRoute for a route that could not be read again: nothing slips in by quoting.
    """
    agent = route.agent
    parts = [f'"{own_id}", ' for own_id in route.ids]
    parts.append(f'agent;zone="{agent.zone}";host="{agent.host}";port={agent.port}')
    for name, value in (("seal", agent.seal), ("fp", agent.fingerprint)):
        if value is not None:
            parts.append(f";{name}=:{binascii.b2a_base64(value, newline=False).decode()}:")
    wire = "".join(parts).encode("ascii", "replace")
    if parse(wire) != route:
        raise BadRoute("Agent-Route: an ID, a zone or a host contains what divides members")
    return wire


def next_hop(route: Route, own_id: str) -> str | AgentHop:
    """Return the member after our own ID: another proxy's ID, or the agent.

    Raises: Misdirected when our ID is not in the route, BadRoute when it is there twice.
    """
    count = route.ids.count(own_id)
    if count == 0:
        raise Misdirected(
            f"this proxy is {own_id}, the route names "
            f"{', '.join(route.ids) or 'no proxy'}: check which proxy the call was sent to"
        )
    if count > 1:
        raise BadRoute(f"Agent-Route names {own_id} {count} times: a loop")
    following = route.ids.index(own_id) + 1
    return route.ids[following] if following < len(route.ids) else route.agent


def seal_key(secret: bytes) -> bytes:
    """Return the key for seals that all nodes derive from `[proxy] secret`, 32 bytes.

    Raises: ValueError for an empty secret, with which anybody could seal.
    """
    if not secret:
        raise ValueError("a seal needs a secret: set [proxy] secret")
    return hmac.digest(secret, _SEAL_PURPOSE, hashlib.sha256)


def seal(key: bytes, own_id: str, zone: str, host: str, port: int) -> bytes:
    """Return the 16 bytes that vouch for (zone, host, port) behind proxy `own_id`."""
    # Each part with its length in front: no two sets of parts spell the same message.
    parts = (part.encode("utf-8", "surrogatepass") for part in (own_id, zone, host, str(port)))
    message = b"".join(b"%d:%b," % (len(part), part) for part in parts)
    return hmac.digest(key, message, hashlib.sha256)[:_SEAL_BYTES]


def seal_is_right(hop: AgentHop, own_id: str, keys: tuple[bytes, ...]) -> bool:
    """Return whether one of `keys` made the hop's seal; False without seal or without keys.

    Every key is tried in constant time, so that time tells nothing of seal or key.
    """
    if hop.seal is None:
        return False
    right = False
    for key in keys:
        expected = seal(key, own_id, hop.zone, hop.host, hop.port)
        right |= hmac.compare_digest(expected, hop.seal)
    return right


def mint(own_id: str, zone: str, host: str, port: int, key: bytes) -> bytes:
    """Return the sealed return route to one agent, as it goes onto the wire.

    Raises: BadRoute for parts that do not fit into a route.
    """
    hop = AgentHop(zone, host, port, seal(key, own_id, zone, host, port))
    return serialize(Route((own_id,), hop))


def prepend(own_id: str, value: bytes) -> bytes:
    """Return a peer's return route with our own ID in front; the rest stays byte for byte.

    Raises: BadRoute when it cannot be read, is full, or names us already.
    """
    route = parse(value)
    _checked_id(own_id)
    if own_id in route.ids:
        raise BadRoute(f"Agent-Route names {own_id} already: a loop")
    if len(route.ids) == MAX_HOPS:
        raise BadRoute(f"Agent-Route names {MAX_HOPS} proxies already; no more are allowed")
    longer = b'"%b", %b' % (own_id.encode(), value)
    if len(longer) > MAX_BYTES:
        raise BadRoute(f"Agent-Route would be {len(longer)} bytes long; {MAX_BYTES} are allowed")
    return longer
