"""The platform: its addresses, tried in turn, and the connections to it that are kept.

Shell. Neighbours: `lease` opens connections, `tls` gives the context, `node` holds this.

Addresses of the upstream are tried in turn before any byte was sent, those that failed lately
last. An address whose connects time out is left alone for a moment, so that one dead platform
does not hold every worker's greenlets.

Names are looked up again every 30 s, beside the traffic, and 2 s after all addresses failed: the
platform may have moved. A look-up that fails takes nothing away that worked.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Any, Final

import gevent

from proxy.errors import RelayError, TimedOut, Unreachable
from proxy.lease import (
    Kept,
    Lease,
    authority,
    forward_proxy,
    head_limits,
    new_pool,
    open_connection,
)
from proxy.resolver import LateLookup
from proxy.settings import Endpoint, Settings
from proxy.tls import Contexts

_log = logging.getLogger(__name__)

_RESOLVE_EVERY_S: Final = 30.0
_RESOLVE_AGAIN_S: Final = 2.0
"""How soon after a look-up the next one may be, where no address works."""
_LEAVE_ALONE_S: Final = 2.0
_SAY_EVERY_S: Final = 10.0


class Place:
    """One address of the upstream: its pool and how it has been doing."""

    def __init__(self, endpoint: Endpoint, address: str, pool: Any, kept: Kept) -> None:
        self.endpoint = endpoint
        self.address = address
        self.authority = authority(endpoint)
        self.pool = pool
        self.kept = kept
        self.last_success = 0.0
        self.last_failure = 0.0
        self.last_error = ""
        self.leave_alone_until = 0.0
        self._said_bad = False
        self._said_at = -_SAY_EVERY_S

    @property
    def healthy(self) -> bool:
        return self.last_failure <= self.last_success

    def succeeded(self) -> None:
        self.last_success = time.monotonic()
        self.leave_alone_until = 0.0
        self._say(bad=False)

    def failed(self, error: RelayError) -> None:
        self.last_failure = time.monotonic()
        self.last_error = error.detail
        if isinstance(error, TimedOut):
            self.leave_alone_until = self.last_failure + _LEAVE_ALONE_S
        self._say(bad=True)

    def _say(self, *, bad: bool) -> None:
        """Log a change, but no more than a pair each 10 s of what changes all the time."""
        now = time.monotonic()
        if bad == self._said_bad or (bad and now - self._said_at < _SAY_EVERY_S):
            return
        self._said_bad = bad
        if bad:
            self._said_at = now
            _log.warning("the platform at %s cannot be used: %s", self.address, self.last_error)
        else:
            _log.info("the platform at %s can be used again", self.address)


class Upstream:
    """The platform: every address of every endpoint, in the order they are tried."""

    def __init__(self, settings: Settings, tls: Contexts) -> None:
        self._settings = settings
        self._limits = head_limits(settings)
        self._context = tls.upstream
        self._places: dict[tuple[Endpoint, str], Place] = {}
        self._order: list[Place] = []
        self._resolved_at = -_RESOLVE_EVERY_S
        self._resolving: Any = None
        self._resolution_error = ""
        self._resolution_late = False
        self._proxy = forward_proxy(settings)

    @property
    def addresses(self) -> frozenset[str]:
        """IP addresses of the upstream, as far as they are known."""
        return frozenset(place.address for place in self._order)

    def health(self) -> list[dict[str, Any]]:
        """Return one entry per address for `/status`; times in seconds ago, None: never."""
        now = time.monotonic()
        return [
            {
                "endpoint": f"{place.endpoint.host}:{place.endpoint.port}",
                "address": place.address,
                "healthy": place.healthy,
                "lastSuccessSecondsAgo": _ago(now, place.last_success),
                "lastFailureSecondsAgo": _ago(now, place.last_failure),
                "lastError": place.last_error if not place.healthy else "",
            }
            for place in self._order
        ]

    @property
    def resolution_error(self) -> str:
        return self._resolution_error

    def lease(self, *, fresh: bool = False) -> Lease:
        """Return a connected socket to the platform; `fresh`: not one that was used before.

        Blocks up to the connect and handshake limits for each address.
        Raises: Unreachable, TimedOut, BadAnswer.
        """
        now = time.monotonic()
        if now - self._resolved_at >= _RESOLVE_EVERY_S:
            self.refresh()
        if self._order and not fresh:
            first = self._order[0]
            if first.healthy and first.leave_alone_until <= now:
                kept = first.kept.take(now)
                if kept is not None:
                    return kept
        return self._lease_from_any(now, fresh=fresh)

    def _lease_from_any(self, now: float, *, fresh: bool) -> Lease:
        """Try all places in turn. Raises: Unreachable, TimedOut, BadAnswer."""
        if not self._order:
            if self._resolution_late:
                raise TimedOut(self._resolution_error, token="dns_timeout")
            raise Unreachable(
                self._resolution_error or "no [upstream] endpoint is configured", token="dns_error"
            )
        ready = [place for place in self._order if place.leave_alone_until <= now]
        if not ready:
            raise TimedOut(
                f"every upstream address timed out lately: {self._order[0].last_error}",
                token="connection_timeout",
            )
        if not ready[0].healthy:
            ready.sort(key=lambda place: not place.healthy)
        for place in ready[:-1]:
            try:
                return self._connect(place, fresh=fresh)
            except RelayError:
                pass  # never kept: an error held by a frame that it passed is a cycle
        try:
            return self._connect(ready[-1], fresh=fresh)
        except RelayError:
            again = time.monotonic() - _RESOLVE_EVERY_S + _RESOLVE_AGAIN_S
            self._resolved_at = min(self._resolved_at, again)
            raise

    def _connect(self, place: Place, *, fresh: bool) -> Lease:
        """Lease from one place. Raises: Unreachable, TimedOut, BadAnswer."""
        kept = None if fresh else place.kept.take(time.monotonic())
        if kept is not None:
            return kept
        # Only one request at a time finds out whether a place that timed out is back.
        if not place.healthy and place.leave_alone_until:
            place.leave_alone_until = time.monotonic() + _LEAVE_ALONE_S
        connection = place.pool._new_conn()
        try:
            open_connection(connection, place.pool, self._settings, "platform")
        except RelayError as failure:
            place.failed(failure)
            raise
        place.succeeded()
        return Lease(connection, self._limits, place.authority, place.address, place.kept)

    def probe(self) -> None:
        """Connect to every address once and close again, for readiness. Never raises."""
        self.refresh()
        for place in list(self._order):
            try:
                with self._connect(place, fresh=True):
                    pass
            except RelayError:
                pass  # recorded in the place, which is what a probe is for

    def close_useless(self) -> None:
        """Close idle connections beyond [timeouts] keepalive_out, or that the platform closed."""
        now = time.monotonic()
        for key, place in tuple(self._places.items()):
            place.kept.close_useless(now)
            if not place.kept.count and place not in self._order:
                place.kept.close()  # what is leased still is closed when it comes back
                del self._places[key]

    def close(self) -> None:
        """Close the idle connections; leased ones are closed by their exchange."""
        for place in self._places.values():
            place.kept.close()

    def refresh(self) -> None:
        """Bring the addresses up to date. The first time it blocks, later it happens beside."""
        now = time.monotonic()
        if now - self._resolved_at < _RESOLVE_EVERY_S:
            return
        if not self._order:
            self._look_up()
        elif self._resolving is None or self._resolving.dead:
            self._resolved_at = now
            self._resolving = gevent.spawn(self._look_up)

    def _look_up(self) -> None:
        """Look all names up at once, so that one that hangs does not hold up the others."""
        looks = [
            (endpoint, gevent.spawn(self._addresses, endpoint))
            for endpoint in self._settings.upstream.endpoints
        ]
        gevent.joinall([look for _, look in looks])
        order: list[Place] = []
        errors: list[str] = []
        late = False
        for endpoint, look in looks:
            found: list[str] | OSError = look.get()
            if isinstance(found, OSError):
                errors.append(f"{endpoint.host}: {found.strerror or found}")
                late = late or isinstance(found, LateLookup)
                # A name server that fails must not take away what worked.
                order += [place for place in self._order if place.endpoint == endpoint]
            else:
                order += [self._place(endpoint, address) for address in found]
        self._note_look_up(order, "; ".join(errors))
        self._resolution_late = late
        self._order = order
        self._resolved_at = time.monotonic() if order else -_RESOLVE_EVERY_S

    def _addresses(self, endpoint: Endpoint) -> list[str] | OSError:
        """Return the addresses behind a name; through a forward proxy the name itself."""
        if self._proxy:
            return [endpoint.host]
        try:
            found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except OSError as error:
            return error
        except UnicodeError:
            return socket.gaierror(socket.EAI_NONAME, "this is no host name")
        return list(dict.fromkeys(str(item[4][0]) for item in found))

    def _note_look_up(self, order: list[Place], error: str) -> None:
        """Log what has changed."""
        if error and error != self._resolution_error:
            kept = ", ".join(place.address for place in order) or "none"
            _log.warning("a name of the platform was not found: %s; known: %s", error, kept)
        elif self._resolution_error and not error:
            _log.info("the platform's names are found again")
        self._resolution_error = error
        if self._order and (left := self.addresses - {place.address for place in order}):
            now = ", ".join(place.address for place in order)
            _log.info("the platform has moved from %s: it is at %s", ", ".join(sorted(left)), now)

    def _place(self, endpoint: Endpoint, address: str) -> Place:
        key = (endpoint, address)
        if key not in self._places:
            pool = new_pool(self._settings, endpoint, address, self._context, self._proxy)
            keepalive_s = self._settings.timeouts.keepalive_out
            kept = Kept(self._settings.upstream.connections, keepalive_s)
            self._places[key] = Place(endpoint, address, pool, kept)
        return self._places[key]


def _ago(now: float, then: float) -> float | None:
    return round(now - then, 1) if then else None
