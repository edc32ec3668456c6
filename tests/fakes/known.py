"""How the stand-in platform knows its agents, and what it tells them."""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.fakes.messages import Request

IDENTITY_FIELDS = ("Agent-Proxy-Id", "Agent-Proxy-Zone", "Agent-Proxy-Source", "Agent-Route")
FIRST_MESSAGE_FIELDS = frozenset(
    "ipv4 ipv6 agent_id token vm_instance injected_id version protocol_version platform "
    "platform_version features".split()
)


class Identity(NamedTuple):
    """Names one VM, even where addresses repeat."""

    proxy_id: str
    zone: str
    source: str


class KnownAgent(NamedTuple):
    identity: Identity
    route: str  # Agent-Route as it came, sent back verbatim
    agent_id: str
    name: str
    generation: str  # first | last


def repeated_fields(request: Request) -> list[str]:
    """Identity fields that came more than once: somebody's spoofed one got through."""
    return [name for name in IDENTITY_FIELDS if len(request.fields(name)) > 1]


def shown_fields(request: Request) -> dict[str, str]:
    """What the journal shows of a request's head."""
    return {name: request.field(name) for name in (*IDENTITY_FIELDS, "Forwarded", "Via")}


def find(
    agents: dict[Identity, KnownAgent], source: str, zone: str = "", proxy_id: str = ""
) -> KnownAgent:
    """The one agent with that address. Raises: KeyError for none and for several."""
    found = [
        agent
        for key, agent in list(agents.items())
        if key.source == source and zone in ("", key.zone) and proxy_id in ("", key.proxy_id)
    ]
    if len(found) != 1:
        raise KeyError(f"{len(found)} agents with address {source!r}")
    return found[0]


def document_of(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def handshake_answer(known: KnownAgent) -> dict[str, object]:
    return {
        "version": "1.0",
        "agentID": known.agent_id,
        "cloudId": "1",
        "customerId": "100",
        "regionId": "200",
        "zoneId": "300",
        "serverId": f"server-{known.agent_id}",
        "serverName": known.name,
    }
