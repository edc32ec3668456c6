"""Whether two different agents seem to share one identity (zone and address).

Shell only by the caller's clock. Neighbours: `connection` tells, `lookout` compares what the
workers of the node have seen, and warns.

Two VMs with one address in one zone get each other's commands, so an operator must know. Bodies
are not looked into; what is left to tell agents apart by is how they call:

    turns        the TLS version, the cipher, the User-Agent or the Host of one identity change and
                 change back within minutes: two programs take turns. A change without a way back
                 is an upgrade.
    two tunnels  of one identity are open, and the older one still brings bytes after the newer
                 one was opened: an agent that reconnects leaves a silent one behind.

The kernel spreads an agent's connections over the workers, so none sees all. Each keeps a journal
of `Sightings`; one of them reads the journals of all every few seconds, off the way of a request,
and makes a `Comparison`. What an agent says of itself is not kept, only a checksum.

Limits: two agents of the same build that call now and then look the same and are not found. Each
node sees its own connections only. A warning is a hint to look, never a reason to refuse.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Set
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from zlib import crc32

WINDOW_S: Final = 600.0
REPEAT_S: Final = 10.0
"""A worker tells of the same manner again after this long: another may have seen another."""
_IDENTITIES: Final = 16384
_JOURNAL: Final = 16384
_BATCH: Final = 64

Identity: TypeAlias = tuple[str, str]
"""Zone and source."""
Manner: TypeAlias = tuple[str, str, int, int]
"""TLS version, cipher, checksums of User-Agent and Host."""
FACTS: Final = ("TLS version", "cipher", "User-Agent", "Host")


class Tunnel(Protocol):
    """What is needed of a tunnel's record."""

    zone: str
    source: str
    bytes_in: int

    @property
    def id(self) -> str: ...


class Living(NamedTuple):
    """A tunnel as one worker describes it to another."""

    zone: str
    source: str
    id: str
    opened_at: float
    bytes_in: int


class Sightings:
    """What one worker has seen; times are seconds of a clock that all workers share.

    `run` names this process: whoever reads the journal notices when it is another one.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self._seen: OrderedDict[Identity, tuple[Manner, float]] = OrderedDict()
        self._tunnels: dict[Identity, list[tuple[Tunnel, float]]] = {}
        self._journal: deque[list[Any]] = deque(maxlen=_JOURNAL)
        self._told = 0
        self._heard: list[tuple[Identity, str, str, list[bytes], bytes, float]] = []

    def heard(
        self,
        identity: Identity,
        tls_version: str,
        cipher: str,
        agents: list[bytes],
        host: bytes,
        now: float,
    ) -> None:
        """Note a call soon: many in a row cost less than one between two TLS handshakes.

        `agents` are the values of User-Agent.
        """
        self._heard.append((identity, tls_version, cipher, agents, host, now))
        if len(self._heard) >= _BATCH:
            self._settle()

    def _settle(self) -> None:
        heard, self._heard = self._heard, []
        for identity, tls_version, cipher, agents, host, now in heard:
            manner = (tls_version, cipher, crc32(b"".join(agents)), crc32(host))
            self.called(identity, manner, now)

    def called(self, identity: Identity, manner: Manner, now: float) -> None:
        """Note a call."""
        seen = self._seen.get(identity)
        if seen is not None and seen[0] == manner and now - seen[1] < REPEAT_S:
            return
        if seen is None and len(self._seen) >= _IDENTITIES:
            self._seen.popitem(last=False)
        self._seen[identity] = (manner, now)
        self._tell(["call", *identity, manner, now])

    def tunnel_opened(self, tunnel: Tunnel, now: float) -> None:
        identity = (tunnel.zone, tunnel.source)
        tunnels = self._tunnels.setdefault(identity, [])
        tunnels.append((tunnel, now))
        self._tell(["tunnels", *identity, len(tunnels)])

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        identity = (tunnel.zone, tunnel.source)
        left = [item for item in self._tunnels[identity] if item[0] is not tunnel]
        if left:
            self._tunnels[identity] = left
        else:
            del self._tunnels[identity]
        self._tell(["tunnels", *identity, len(left)])

    def _tell(self, event: list[Any]) -> None:
        self._told += 1
        self._journal.append(event)

    def news(self, run: str, since: int) -> dict[str, Any]:
        """Return what was told after the first `since` events of `run`, as JSON can carry it.

        Whoever asks for another run gets all; who asks for what is forgotten, what holds now.
        What a reader has is forgotten: there is one, and the next one begins with what holds.
        """
        self._settle()
        since = since if run == self.run else 0
        kept_from = self._told - len(self._journal)
        if since >= kept_from:
            for _ in range(min(since - kept_from, len(self._journal))):
                self._journal.popleft()
            events = list(self._journal)
            return {"run": self.run, "told": self._told, "whole": since == 0, "events": events}
        events = [["call", *identity, *seen] for identity, seen in self._seen.items()]
        events += [["tunnels", *identity, len(open_)] for identity, open_ in self._tunnels.items()]
        return {"run": self.run, "told": self._told, "whole": True, "events": events}

    def living(self, identities: Iterable[Identity]) -> list[Living]:
        """Return the tunnels that are open under `identities`."""
        return [
            Living(*identity, tunnel.id, opened_at, tunnel.bytes_in)
            for identity in identities
            for tunnel, opened_at in self._tunnels.get(identity, ())
        ]


class _Turn(NamedTuple):
    manner: Manner
    before: Manner | None
    changed_at: float
    seen_at: float


class Comparison:
    """Puts together what all workers of a node have seen."""

    def __init__(self) -> None:
        self._turns: OrderedDict[Identity, _Turn] = OrderedDict()
        self._read: dict[str, tuple[str, int]] = {}
        self._open: dict[str, dict[Identity, int]] = {}
        self._bytes: dict[str, tuple[Identity, int]] = {}
        self._calls: list[tuple[float, Identity, Manner]] = []
        self._warned: OrderedDict[Identity, float] = OrderedDict()  # the oldest first

    def read(self, worker: str) -> tuple[str, int]:
        """Return the run and how much of its journal has been added."""
        return self._read.get(worker, ("", 0))

    def add(self, worker: str, news: dict[str, Any]) -> None:
        """Add what `worker` has told."""
        tunnels = self._open.setdefault(worker, {})
        if news["whole"]:
            tunnels.clear()
        for kind, zone, source, *rest in news["events"]:
            identity = (zone, source)
            if kind == "call":
                manner, at = rest
                self._calls.append((at, identity, tuple(manner)))
            elif rest[0]:
                tunnels[identity] = rest[0]
            else:
                tunnels.pop(identity, None)
        self._read[worker] = (news["run"], news["told"])

    def keep_only(self, workers: Iterable[str]) -> None:
        """Forget workers that are no more."""
        alive = set(workers)
        for worker in [worker for worker in self._read if worker not in alive]:
            del self._read[worker], self._open[worker]

    def turns(self, now: float) -> list[tuple[Identity, str]]:
        """Return identities that two programs take turns with, and by what these differ.

        Each is told once in a while.
        """
        found = []
        calls, self._calls = self._calls, []
        for at, identity, manner in sorted(calls):
            before = self._note(identity, manner, at)
            if before is not None and self._is_news(identity, now):
                differ = [name for name, a, b in zip(FACTS, manner, before, strict=True) if a != b]
                found.append((identity, ", ".join(differ)))
        return found

    def _note(self, identity: Identity, manner: Manner, at: float) -> Manner | None:
        """Return the manner between, if this one is back within the window."""
        turn = self._turns.get(identity)
        if turn is None:
            if len(self._turns) >= _IDENTITIES:
                self._turns.popitem(last=False)
            self._turns[identity] = _Turn(manner, None, at, at)
            return None
        if at <= turn.seen_at:
            return None  # told again by a worker whose journal was read anew
        if manner == turn.manner:
            self._turns[identity] = turn._replace(seen_at=at)
            return None
        self._turns[identity] = _Turn(manner, turn.manner, at, at)
        is_back = manner == turn.before and at - turn.changed_at < WINDOW_S
        return turn.manner if is_back else None

    def crowded(self) -> list[Identity]:
        """Return identities with more than one tunnel: `living` is to be asked about these."""
        counts: dict[Identity, int] = {}
        for tunnels in self._open.values():
            for identity, count in tunnels.items():
                counts[identity] = counts.get(identity, 0) + count
        crowded = [identity for identity, count in counts.items() if count > 1]
        known = set(crowded)
        self._bytes = {key: item for key, item in self._bytes.items() if item[0] in known}
        return crowded

    def living(self, tunnels: Iterable[Living], now: float) -> list[Identity]:
        """Return identities whose older tunnels still bring bytes, each told once in a while."""
        found = []
        newest: dict[Identity, Living] = {}
        ordered = sorted(tunnels, key=lambda tunnel: tunnel.opened_at)
        for tunnel in ordered:
            newest[tunnel.zone, tunnel.source] = tunnel
        for tunnel in ordered:
            identity = (tunnel.zone, tunnel.source)
            if newest[identity] is tunnel:
                continue
            _, then = self._bytes.setdefault(tunnel.id, (identity, tunnel.bytes_in))
            if tunnel.bytes_in > then and self._is_news(identity, now):
                found.append(identity)
        self._forget_ended({tunnel.id for tunnel in ordered}, newest.keys())
        return found

    def _forget_ended(self, alive: Set[str], asked: Set[Identity]) -> None:
        """Forget the tunnels of identities that were asked about which are not alive any more.

        An identity behind a translating gateway is crowded for ever, and its tunnels change.
        """
        self._bytes = {
            key: item for key, item in self._bytes.items() if key in alive or item[0] not in asked
        }

    def _is_news(self, identity: Identity, now: float) -> bool:
        warned = self._warned
        # Only as many are looked at as go: one VM may have thousands of addresses to play with.
        while warned and now - next(iter(warned.values())) >= WINDOW_S:
            warned.popitem(last=False)
        if identity in warned:
            return False
        if len(warned) >= _IDENTITIES:
            warned.popitem(last=False)
        warned[identity] = now
        return True
