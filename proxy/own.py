"""What the platform may ask the proxy itself: registration, readiness, explain.

Shell (explain connects). Neighbours: `destinations` has the rules, `answers` the words;
`connection` calls `answer`. PROTOCOL.md section 4: nothing is ever sent to an agent from here.
"""

from __future__ import annotations

import time
from typing import Any

from proxy import __version__, destinations, route
from proxy.answers import Answer, document
from proxy.destinations import Target
from proxy.errors import BadRoute, Misdirected, NotReady, RelayError
from proxy.headers import field
from proxy.heads import RequestHead
from proxy.node import Node
from proxy.policy import Own
from proxy.settings import digest


def answer(own: Own, node: Node, head: RequestHead, ready_problems: list[str]) -> Answer:
    """Return the answer to a call to the proxy itself.

    Raises: NotReady, BadRoute, Misdirected.
    """
    if own.name == "registration":
        return registration(node)
    if own.name == "ready":
        content = {"ready": not ready_problems, "problems": ready_problems}
        return document(content, 503 if ready_problems else 200)
    values = field(head.headers, b"agent-route")
    if len(values) != 1:
        raise BadRoute("explain takes exactly one Agent-Route")
    return document(explain(node, values[0]))


def registration(node: Node) -> Answer:
    """Return what the operator compares. Raises: NotReady without an ID, never a default."""
    settings = node.settings
    if not settings.proxy.id:
        raise NotReady("[proxy] id is not set: there is nothing to register")
    return document(
        {
            "agentProxyId": settings.proxy.id,
            "node": settings.proxy.node,
            "version": __version__,
            "zones": [zone.name for zone in settings.zones],
            "configDigest": digest(settings),
            "certificateSha256": node.tls.certificate_sha256,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    )


def explain(node: Node, value: bytes, *, probe: bool = True) -> dict[str, Any]:
    """Return every decision of section 3 for a route, and whether the agent can be reached.

    Raises: NotReady.
    """
    settings = node.settings
    if not settings.proxy.id:
        raise NotReady("[proxy] id is not set: no route can name this proxy")
    decisions: list[dict[str, Any]] = []
    try:
        hop = route.next_hop(route.parse(value), settings.proxy.id)
        decisions.append(_said("0 route", True, f"{settings.proxy.id} is in it, once"))
    except (BadRoute, Misdirected) as error:
        return {"allowed": False, "decisions": [_said("0 route", False, error.detail)]}
    if isinstance(hop, str):
        return _explain_peer(node, hop, decisions, probe=probe)
    node.upstream.refresh()
    for decision in destinations.destination(settings, hop, node.surroundings(), node.keys):
        decisions.append(_said(*decision))
    allowed = all(item["allowed"] for item in decisions)
    result: dict[str, Any] = {"allowed": allowed, "decisions": decisions}
    if allowed and probe:
        result["probe"] = _probe(node, destinations.agent_target(hop))
    return result


def _explain_peer(
    node: Node, peer_id: str, decisions: list[dict[str, Any]], *, probe: bool
) -> dict[str, Any]:
    try:
        target = destinations.peer_target(node.settings, peer_id)
    except (BadRoute, NotReady) as error:
        decisions.append(_said("0 next hop", False, error.detail))
        return {"allowed": False, "decisions": decisions}
    detail = f"{peer_id} is a nearer peer, called at {target.host} port {target.port}"
    decisions.append(_said("0 next hop", True, detail))
    result: dict[str, Any] = {"allowed": True, "decisions": decisions}
    if probe:
        result["probe"] = _probe(node, target)
    return result


def _said(rule: str, allowed: bool, detail: str) -> dict[str, Any]:
    return {"rule": rule, "allowed": allowed, "detail": detail}


def _probe(node: Node, target: Target) -> dict[str, Any]:
    """Connect and shake hands as a call would, and send nothing."""
    started = time.monotonic()
    try:
        with node.lease(target):
            outcome = {"reachable": True, "detail": "TCP and TLS"}
    except RelayError as error:
        outcome = {"reachable": False, "detail": error.detail, "error": error.token}
    return {**outcome, "milliseconds": round((time.monotonic() - started) * 1000, 1)}
