"""How the stand-in platform knows its agents, and what it tells them."""

from __future__ import annotations

import json
from typing import NamedTuple

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
