"""Everything that one configuration turns into, swapped whole on reload.

Shell. Neighbours: `worker` builds a Node at start and on SIGHUP; each connection keeps the one
it was accepted under, so a reload changes nothing in the middle of an exchange.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple

from proxy import callers, interfaces
from proxy.agents import Agents, Peers
from proxy.callers import Caller, Identity
from proxy.destinations import Surroundings, Target
from proxy.errors import NotReady
from proxy.heads import HeadLimits
from proxy.lease import Lease, head_limits
from proxy.patience import Patience, patience
from proxy.settings import Settings, Zone
from proxy.tls import Contexts, contexts
from proxy.upstream import Upstream
from proxy.zones import Address, zone_told


class Accepted(NamedTuple):
    """A classified source: who it is and, for agents, what is added to its requests."""

    caller: Caller
    identity: Identity | None
    not_ready: NotReady | None


class Node:
    """Settings and what was made of them. Never changes but for the caches inside."""

    def __init__(self, settings: Settings) -> None:
        """Raises: ConfigurationProblems with every file that cannot be used."""
        self.settings = settings
        self.tls: Contexts = contexts(settings)
        self.keys = callers.seal_keys(settings)
        self.limits: HeadLimits = head_limits(settings)
        self.upstream = Upstream(settings, self.tls)
        self.agents = Agents(settings, self.tls)
        self.peers = Peers(settings, self.tls)
        self.patience_up = patience(settings, "platform")
        self.patience_down = patience(settings, "agent")
        self.patience_peer = patience(settings, "peer")
        # Minting a return route costs two HMACs; an agent that reconnects needs it once.
        self.accept = functools.lru_cache(maxsize=16384)(self._accept)

    def _accept(self, source: str, zones: tuple[Zone, ...], told: tuple[str, ...] = ()) -> Accepted:
        """Classify `source`, an address as the socket or a balancer gave it.

        `zones` are those of the listener, `told` is what a balancer says of the network.
        """
        address = ipaddress.ip_address(source)
        zone = zone_told(address, zones, self.settings.zones, told)
        caller = callers.classify(self.settings, address, zone)
        if caller.kind != "agent":
            return Accepted(caller, None, None)
        try:
            return Accepted(caller, callers.identity(self.settings, caller, self.keys), None)
        except NotReady as error:
            return Accepted(caller, None, error)

    def lease(self, target: Target, fresh: bool = False) -> Lease:
        """Return a connected socket to `target`; `fresh`: not one that was used before.

        Raises: Unreachable, TimedOut, BadAnswer.
        """
        if target.kind == "platform":
            return self.upstream.lease(fresh=fresh)
        if target.kind == "peer":
            return self.peers.lease(target)
        return self.agents.lease(target)

    def patience(self, target: Target) -> Patience:
        if target.kind == "platform":
            return self.patience_up
        return self.patience_peer if target.kind == "peer" else self.patience_down

    def is_balancer(self, source: str) -> bool:
        """Whether connections from `source` begin with a PROXY header, which is believed."""
        balancers = self.settings.listen.balancers
        if not balancers:
            return False
        address = ipaddress.ip_address(source)
        return any(address in network for network in balancers)

    def surroundings(self) -> Surroundings:
        return Surroundings(_is_own, self.upstream.addresses)

    def problems(self, now: float) -> list[str]:
        """Return why nobody should be sent here; `now` in seconds since 1970."""
        settings = self.settings
        problems = []
        if self.tls.expires_at <= now:
            problems.append("the certificate has expired or is not valid yet")
        if not settings.proxy.id:
            problems.append("[proxy] id is not set")
        if not settings.proxy.secret:
            problems.append("[proxy] secret is not set")
        if not settings.upstream.endpoints:
            problems.append("no [upstream] endpoint is configured")
        else:
            health = self.upstream.health()
            if not any(
                place["healthy"] and place["lastSuccessSecondsAgo"] is not None for place in health
            ):
                reasons = [place["lastError"] for place in health if place["lastError"]]
                why = reasons[0] if reasons else self.upstream.resolution_error
                problems.append(f"the upstream cannot be reached: {why or 'not tried yet'}")
        return problems

    def close(self) -> None:
        self.upstream.close()


def _is_own(address: Address, interface: str) -> bool:
    return interfaces.is_own(str(address), interface)
