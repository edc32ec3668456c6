"""Everything that one configuration turns into, swapped whole on reload.

Shell. Neighbours: `worker` builds a Node at start and on SIGHUP; each connection keeps the one
it was accepted under, so a reload changes nothing in the middle of an exchange.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import NamedTuple

from proxy import policy
from proxy.errors import NotReady
from proxy.heads import HeadLimits
from proxy.policy import Address, Caller, Identity, Surroundings
from proxy.relay import Patience
from proxy.settings import Settings, Zone
from proxy.tls import Contexts, contexts
from proxy.upstream import Agents, Upstream, head_limits


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
        self.keys = policy.seal_keys(settings)
        self.limits: HeadLimits = head_limits(settings)
        self.upstream = Upstream(settings, self.tls)
        self.agents = Agents(settings, self.tls)
        timeouts = settings.timeouts
        late = "the {0} did not answer within [timeouts] {0}_answer".format
        self.patience_up = Patience(
            timeouts.upstream_answer, timeouts.body_idle, "platform", late("upstream")
        )
        self.patience_down = Patience(
            timeouts.agent_answer, timeouts.body_idle, "agent", late("agent")
        )
        # Minting a return route costs two HMACs; an agent that reconnects needs it once.
        self.accept = functools.lru_cache(maxsize=16384)(self._accept)

    def _accept(self, source: str, zone: Zone) -> Accepted:
        """Classify `source`, an address as the socket gave it."""
        caller = policy.classify(self.settings, ipaddress.ip_address(source), zone)
        if caller.kind != "agent":
            return Accepted(caller, None, None)
        try:
            return Accepted(caller, policy.identity(self.settings, caller, self.keys), None)
        except NotReady as error:
            return Accepted(caller, None, error)

    def surroundings(self) -> Surroundings:
        return Surroundings(is_own_address, self.upstream.addresses)

    def close(self) -> None:
        self.upstream.close()


def is_own_address(address: Address) -> bool:
    """Whether `address` belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True
