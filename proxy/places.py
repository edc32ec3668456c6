"""The places that a worker has for connections, and who holds them.

Shell by its owner only. Neighbours: `worker` asks before it admits a caller, `admin` shows.

Nobody below may take all: a share is kept free of agents for the platform's calls, no source has
more than its own, and where there are several zones none has more than its share, so that one
network full of compromised machines leaves room for the others.
"""

from __future__ import annotations

from collections import Counter

from proxy.callers import Caller
from proxy.settings import Settings

__all__ = ["Places"]


class Places:
    """Counts connections; `most` of them, of which `agents_most` for whoever is below."""

    def __init__(self, settings: Settings, most: int) -> None:
        self._per_source: Counter[tuple[str, str]] = Counter()
        self._per_zone: Counter[str] = Counter()
        self.set_limits(settings, most)

    def set_limits(self, settings: Settings, most: int) -> None:
        """Set what may be held from now on; `most` is what descriptors suffice for."""
        limits = settings.limits
        self.most = most
        self.agents_most = most - max(1, most * limits.platform_share // 100)
        self.source_most = limits.connections_per_source
        several = len(settings.zones) > 1
        self.zone_most = max(1, most * limits.zone_share // 100) if several else most

    def refusal(self, caller: Caller, held: int) -> str:
        """Return why `caller` gets no place while `held` are taken; "" for no reason."""
        if held >= (self.agents_most if caller.is_below else self.most):
            return "over_connection_limit"
        if caller.kind != "agent":
            return ""
        if self._per_source[caller.zone, caller.source] >= self.source_most:
            return "over_source_limit"
        if self._per_zone[caller.zone] >= self.zone_most:
            return "over_zone_limit"
        return ""

    def take(self, caller: Caller) -> None:
        self._per_source[caller.zone, caller.source] += 1
        self._per_zone[caller.zone] += 1

    def give_back(self, caller: Caller) -> None:
        source = (caller.zone, caller.source)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        self._per_zone[caller.zone] -= 1

    def held_by_zone(self, zone: str) -> int:
        return self._per_zone[zone]
