"""Whether two different agents seem to share one identity (zone and address).

Shell only by the caller's clock. Neighbours: `connection` and `tunnel`'s records tell, `worker`
looks and warns.

Two VMs with one address in one zone get each other's commands, so an operator must know. Bodies
are not looked into; what is left to tell agents apart by is how they call:

    alternation  the User-Agent and TLS version of one identity change and change back within
                 minutes: two programs take turns. A change without a way back is an upgrade.
    two tunnels  of one identity are open, and the older one still brings bytes after the newer
                 one was opened: an agent that reconnects leaves a silent one behind.

Limits: two first-generation agents of the same build look the same and are not found. Each
worker and node sees its own connections only, so it may take a few calls until one worker has
seen both. A warning is a hint to look, never a reason to refuse.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple, Protocol

WINDOW_S: Final = 600.0
_IDENTITIES: Final = 16384

Identity = tuple[str, str]
"""Zone and source."""


class Tunnel(Protocol):
    """What is needed of a tunnel's record."""

    zone: str
    source: str
    bytes_in: int


class _Seen(NamedTuple):
    manner: bytes
    before: bytes
    changed_at: float


class _Pair(NamedTuple):
    older: Tunnel
    newer: Tunnel
    bytes_then: int


class Duplicates:
    """Remembers how identities called lately; times are seconds of any clock that only grows."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Identity, _Seen] = OrderedDict()
        self._tunnels: dict[Identity, list[Tunnel]] = {}
        self._pairs: list[_Pair] = []
        self._warned: dict[Identity, float] = {}

    def called(self, identity: Identity, manner: bytes, now: float) -> bool:
        """Note a call in some `manner`; True: two agents take turns, and nobody was told lately."""
        seen = self._seen.get(identity)
        if seen is not None and seen.manner == manner:
            return False
        if len(self._seen) >= _IDENTITIES and seen is None:
            self._seen.popitem(last=False)
        if seen is None:
            self._seen[identity] = _Seen(manner, b"", now)
            return False
        self._seen[identity] = _Seen(manner, seen.manner, now)
        is_back = manner == seen.before and now - seen.changed_at < WINDOW_S
        return is_back and self._is_news(identity, now)

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        tunnels = self._tunnels.setdefault((tunnel.zone, tunnel.source), [])
        if tunnels:
            self._pairs.append(_Pair(tunnels[-1], tunnel, tunnels[-1].bytes_in))
        tunnels.append(tunnel)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        identity = (tunnel.zone, tunnel.source)
        tunnels = self._tunnels[identity]
        tunnels.remove(tunnel)
        if not tunnels:
            del self._tunnels[identity]
        self._pairs = [
            pair for pair in self._pairs if pair.older is not tunnel and pair.newer is not tunnel
        ]

    def look(self, now: float) -> list[Identity]:
        """Return identities of which two tunnels live, each told once in a while."""
        found = []
        for pair in self._pairs:
            identity = (pair.older.zone, pair.older.source)
            if pair.older.bytes_in > pair.bytes_then and self._is_news(identity, now):
                found.append(identity)
        return found

    def _is_news(self, identity: Identity, now: float) -> bool:
        self._warned = {key: at for key, at in self._warned.items() if now - at < WINDOW_S}
        if identity in self._warned:
            return False
        self._warned[identity] = now
        return True
