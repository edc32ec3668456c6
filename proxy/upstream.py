"""Outgoing connections: verified, pooled to the platform, one per call to agents.

Shell. Neighbours: `tls` gives contexts, `relay` leases. The only file that knows urllib3: it owns
TLS verification, CONNECT through a forward proxy, and the pool; we move the bytes. Its exceptions
are translated here, once.

Rules: a lease is closed unless the relay proved it reusable. Addresses of the upstream are tried
in turn before any byte was sent, those that failed lately last. An address whose connects time
out is left alone for a moment, so that one dead platform does not hold every worker's greenlets.
Connections to agents are never kept: a stale one would cost a command that may not be repeated.
"""

from __future__ import annotations

import errno
import queue
import select
import socket
import ssl
import time
from typing import Any, Final

import gevent
from gevent import monkey
from urllib3 import ProxyManager
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import Timeout, make_headers
from urllib3.util.ssl_match_hostname import CertificateError

from proxy.destinations import Target
from proxy.errors import BadAnswer, Blame, RelayError, TimedOut, Unreachable
from proxy.heads import HeadLimits
from proxy.http1 import ResponseReader
from proxy.settings import Endpoint, Settings
from proxy.stream import DialledStream
from proxy.tls import Contexts

_RESOLVE_EVERY_S: Final = 30.0
_LEAVE_ALONE_S: Final = 2.0
_JUST_USED_S: Final = 0.1
# Unpatched poll: 0.9 us a lease instead of 10 to 16 through gevent's (2026-11).
_poll = monkey.get_original("select", "poll")


class _Stack:
    """The pool's container: last in, first out. No lock: one thread, and nothing here waits."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._items: list[Any] = []

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.pop()

    def put(self, item: Any, block: bool = False) -> None:
        if item is None:
            return  # urllib3 fills new pools with None; an empty stack says the same
        if len(self._items) >= self._maxsize:
            raise queue.Full
        self._items.append(item)

    def qsize(self) -> int:
        return len(self._items)

    def take_useless(self) -> list[_Connection]:
        """Remove and return what can carry no request any more."""
        useless = [connection for connection in self._items if not connection.is_connected]
        if useless:
            self._items = [item for item in self._items if item not in useless]
        return useless


class _Connection(HTTPSConnection):
    """A connection that carries its stream and reader, and knows how long it may lie idle."""

    stream: DialledStream | None = None
    responses: ResponseReader | None = None
    idle_since = 0.0
    idle_until = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the idle connection can carry a request, as far as can be known."""
        now = time.monotonic()
        if self.stream is None or now > self.idle_until or self.stream.readable.unasked:
            return False
        if now < self.idle_since + _JUST_USED_S:
            return True  # the loop would have noticed; asking the kernel costs 2 us (2026-11)
        poll = _poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        return not poll.poll(0)  # readable while idle: closed, or bytes nobody asked for

    def close(self) -> None:
        if self.stream is not None:
            self.stream.release()
            self.stream = None
        super().close()


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection
    QueueCls = _Stack  # type: ignore[assignment]

    def idle(self) -> _Connection | None:
        """Return a kept connection that is still good; the others on the way are closed."""
        stack: Any = self.pool
        while stack.qsize():
            connection: _Connection = stack.get()
            if connection.is_connected:
                return connection
            connection.close()
        return None


class Lease:
    """One connected socket for one exchange. `reusable` is set by the relay, with evidence."""

    __slots__ = (
        "_connection",
        "_keepalive_s",
        "_pool",
        "address",
        "authority",
        "responses",
        "reusable",
        "reused",
        "stream",
    )

    def __init__(
        self, connection: _Connection, pool: _Pool | None, authority: bytes, address: str
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._keepalive_s = 0.0
        self.stream: DialledStream
        self.responses: ResponseReader
        self.authority = authority
        self.address = address
        self.reusable = False
        self.reused = connection.stream is not None

    def start(self, limits: HeadLimits, keepalive_s: float) -> None:
        connection = self._connection
        if connection.stream is None:
            connection.stream = DialledStream(connection.sock)
            connection.responses = ResponseReader(limits)
        self.stream = connection.stream
        assert connection.responses is not None
        self.responses = connection.responses
        self._keepalive_s = keepalive_s

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.reusable and self._pool is not None:
            self._connection.idle_since = time.monotonic()
            self._connection.idle_until = self._connection.idle_since + self._keepalive_s
            self._pool._put_conn(self._connection)
        else:
            self._connection.close()


class Place:
    """One address of the upstream: its pool and how it has been doing."""

    def __init__(self, endpoint: Endpoint, address: str, pool: _Pool) -> None:
        self.endpoint = endpoint
        self.address = address
        self.authority = _authority(endpoint)
        self.pool = pool
        self.last_success = 0.0
        self.last_failure = 0.0
        self.last_error = ""
        self.leave_alone_until = 0.0

    @property
    def healthy(self) -> bool:
        return self.last_failure <= self.last_success


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
        self._proxy = _forward_proxy(settings, self._context)

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
        self.refresh()
        if not self._order:
            raise Unreachable(
                self._resolution_error or "no [upstream] endpoint is configured", token="dns_error"
            )
        now = time.monotonic()
        ready = [place for place in self._order if place.leave_alone_until <= now]
        if not ready:
            raise TimedOut(
                f"every upstream address timed out lately: {self._order[0].last_error}",
                token="connection_timeout",
            )
        if not ready[0].healthy:
            ready.sort(key=lambda place: not place.healthy)
        error: RelayError | None = None
        for place in ready:
            try:
                return self._connect(place, fresh=fresh)
            except RelayError as failure:
                error = failure
        assert error is not None
        raise error

    def _connect(self, place: Place, *, fresh: bool) -> Lease:
        """Lease from one place. Raises: Unreachable, TimedOut, BadAnswer."""
        pool = place.pool
        kept = None if fresh else pool.idle()
        connection: Any = kept or pool._new_conn()
        lease = Lease(connection, pool, place.authority, place.address)
        if kept is not None:
            lease.start(self._limits, self._settings.timeouts.keepalive_out)
            return lease
        # Only one request at a time finds out whether a place that timed out is back.
        if not place.healthy and place.leave_alone_until:
            place.leave_alone_until = time.monotonic() + _LEAVE_ALONE_S
        try:
            _open(connection, pool, self._settings, "platform")
        except RelayError as failure:
            place.last_failure = time.monotonic()
            place.last_error = failure.detail
            if isinstance(failure, TimedOut):
                place.leave_alone_until = place.last_failure + _LEAVE_ALONE_S
            raise
        place.last_success = time.monotonic()
        place.leave_alone_until = 0.0
        lease.reused = False
        lease.start(self._limits, self._settings.timeouts.keepalive_out)
        return lease

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
        for place in self._places.values():
            stack: Any = place.pool.pool
            for connection in stack.take_useless() if stack is not None else ():
                connection.close()

    def close(self) -> None:
        """Close the idle connections; leased ones are closed by their exchange."""
        for place in self._places.values():
            place.pool.close()

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
        order: list[Place] = []
        errors: list[str] = []
        for endpoint in self._settings.upstream.endpoints:
            try:
                addresses = [endpoint.host] if self._proxy else _addresses(endpoint)
            except OSError as error:
                errors.append(f"{endpoint.host}: {error.strerror or error}")
                # A name server that fails must not take away what worked.
                order += [place for place in self._order if place.endpoint == endpoint]
                continue
            order += [self._place(endpoint, address) for address in addresses]
        self._resolution_error = "; ".join(errors)
        self._order = order
        self._resolved_at = time.monotonic() if order else -_RESOLVE_EVERY_S

    def _place(self, endpoint: Endpoint, address: str) -> Place:
        key = (endpoint, address)
        if key not in self._places:
            self._places[key] = Place(endpoint, address, self._new_pool(endpoint, address))
        return self._places[key]

    def _new_pool(self, endpoint: Endpoint, address: str) -> _Pool:
        settings = self._settings
        name = settings.upstream.server_name or endpoint.host
        options: dict[str, Any] = {
            "maxsize": settings.upstream.connections,
            "timeout": Timeout(connect=settings.timeouts.connect),
            "ssl_context": self._context,
            "cert_reqs": "CERT_REQUIRED" if settings.upstream.verify else "CERT_NONE",
            "socket_options": _socket_options(settings),
        }
        if name != address:
            options["server_hostname"] = name
        if not settings.upstream.verify:
            options["assert_hostname"] = False
        elif name != address:
            options["assert_hostname"] = name
        if self._proxy is not None:
            pool: Any = self._proxy.connection_from_host(
                endpoint.host, endpoint.port, "https", pool_kwargs={
                    **self._proxy.connection_pool_kw, **options
                }
            )  # fmt: skip
            return pool  # type: ignore[no-any-return]
        return _Pool(address, endpoint.port, **options)


class Agents:
    """Dials agents: one connection per call, in the zone of the target."""

    def __init__(self, settings: Settings, tls: Contexts) -> None:
        self._settings = settings
        self._limits = head_limits(settings)
        self._context = tls.to_agents
        self._zones = {zone.name: zone for zone in settings.zones}

    def lease(self, target: Target) -> Lease:
        """Return a connected socket to one agent. Raises: Unreachable, TimedOut, BadAnswer."""
        settings = self._settings
        zone = self._zones[target.zone]
        options = _socket_options(settings)
        if zone.interface:
            device = zone.interface.encode() + b"\0"
            options.append((socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device))
        connection = _Connection(
            target.host,
            target.port,
            timeout=settings.timeouts.connect,
            source_address=(zone.source, 0) if zone.source else None,
            socket_options=options,
            ssl_context=self._context,
            cert_reqs="CERT_REQUIRED" if settings.agents.verify == "ca" else "CERT_NONE",
            assert_hostname=False,
            assert_fingerprint=target.fingerprint.hex() if target.fingerprint else None,
        )
        _open(connection, None, settings, "agent")
        host = f"[{target.host}]" if ":" in target.host else target.host
        lease = Lease(connection, None, f"{host}:{target.port}".encode(), target.host)
        lease.start(self._limits, 0.0)
        return lease


class Peers:
    """Dials the next proxy of a route: one connection per call, its certificate compared."""

    def __init__(self, settings: Settings, tls: Contexts) -> None:
        self._settings = settings
        self._limits = head_limits(settings)
        self._context = tls.to_peers

    def lease(self, target: Target) -> Lease:
        """Return a connected socket to one peer. Raises: Unreachable, TimedOut, BadAnswer."""
        settings = self._settings
        assert target.fingerprint, "a peer without a certificate is a configuration problem"
        connection = _Connection(
            target.host,
            target.port,
            timeout=settings.timeouts.connect,
            socket_options=_socket_options(settings),
            ssl_context=self._context,
            cert_reqs="CERT_NONE",
            assert_hostname=False,
            assert_fingerprint=target.fingerprint.hex(),
        )
        _open(connection, None, settings, "peer")
        authority = _authority(Endpoint(target.host, target.port))
        lease = Lease(connection, None, authority, target.host)
        lease.start(self._limits, 0.0)
        return lease


def head_limits(settings: Settings) -> HeadLimits:
    limits = settings.limits
    return HeadLimits(limits.head_bytes, limits.fields, limits.request_line_bytes)


def _ago(now: float, then: float) -> float | None:
    return round(now - then, 1) if then else None


def _authority(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return (host if endpoint.port == 443 else f"{host}:{endpoint.port}").encode()


def _addresses(endpoint: Endpoint) -> list[str]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def _socket_options(settings: Settings) -> list[tuple[int, int, int | bytes]]:
    idle = int(settings.timeouts.tcp_keepalive)
    return [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]


def _forward_proxy(settings: Settings, context: ssl.SSLContext) -> ProxyManager | None:
    upstream = settings.upstream
    if not upstream.http_proxy:
        return None
    credentials = None
    if upstream.http_proxy_user:
        password = upstream.http_proxy_password
        credentials = make_headers(proxy_basic_auth=f"{upstream.http_proxy_user}:{password}")
    manager = ProxyManager(upstream.http_proxy, proxy_headers=credentials)
    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _Pool}
    return manager


def _open(connection: _Connection, pool: _Pool | None, settings: Settings, whom: Blame) -> None:
    """Connect and shake hands under one total deadline. Raises: as `_translate` says."""
    total = settings.timeouts.connect + settings.timeouts.tls_handshake
    proxied = pool is not None and pool.proxy is not None
    try:
        with gevent.Timeout(total):
            if pool is not None and proxied:
                pool._prepare_proxy(connection)
            else:
                connection.connect()
    except gevent.Timeout as error:
        connection.close()
        raise TimedOut(
            f"no TLS connection to the {whom} within {total:g} s",
            token="connection_timeout",
            blame=whom,
        ) from error
    except (HTTPError, CertificateError, ssl.SSLError, OSError) as error:
        connection.close()
        raise _translate(error, whom, proxied=proxied) from error
    except BaseException:
        connection.close()
        raise


def _translate(error: Exception, whom: Blame, *, proxied: bool) -> RelayError:
    """Return the error that says to an operator what urllib3, ssl or the system said."""
    # urllib3's NewConnectionError (refused, no such name) is a ConnectTimeoutError by descent
    timed_out = isinstance(error, ConnectTimeoutError | TimeoutError)
    if timed_out and not isinstance(error, NewConnectionError):
        return TimedOut(
            f"no answer from the {whom} to a connect", token="connection_timeout", blame=whom
        )
    if isinstance(error, NameResolutionError):
        return Unreachable(f"the {whom}'s name has no address", token="dns_error", blame=whom)
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadAnswer(
            f"the {whom}'s certificate was refused: {error.verify_message}",
            token="tls_certificate_error",
            blame=whom,
        )
    if isinstance(error, ssl.SSLError):
        return BadAnswer(
            f"TLS with the {whom} failed: {error.reason or type(error).__name__}",
            token="tls_protocol_error",
            blame=whom,
        )
    cause = error.__cause__ if isinstance(error, NewConnectionError) else error
    if proxied and isinstance(cause, OSError):  # refused, or anything but 200 to our CONNECT
        return Unreachable(
            f"the forward proxy ([upstream] http_proxy) does not let us through: "
            f"{str(cause)[:160]}",
            blame="proxy",
        )
    number = cause.errno if isinstance(cause, OSError) else None
    if number == errno.ECONNREFUSED:
        return Unreachable(
            f"the {whom} refused the connection", token="connection_refused", blame=whom
        )
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return Unreachable(
            f"no route to the {whom}: {errno.errorcode[number]}",
            token="destination_ip_unroutable",
            blame=whom,
        )
    if isinstance(error, HTTPError | CertificateError) and not isinstance(
        error, NewConnectionError
    ):
        # urllib3's own: a pinned fingerprint or a host name that does not match
        return BadAnswer(
            f"the {whom}'s certificate was refused: {str(error)[:160]}",
            token="tls_certificate_error",
            blame=whom,
        )
    return Unreachable(f"connecting to the {whom}: {str(cause or error)[:160]}", blame=whom)
