"""Leases: connected, verified sockets, each given back only with proof that it is clean.

Shell. Neighbours: `stream` below; `upstream` and `agents` open connections, `relay` uses a lease.
The only file that knows urllib3: it owns TLS verification, CONNECT through a forward proxy, and
the pool; we move the bytes. Its exceptions are translated here, once.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from typing import Any, Final, TypeAlias

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

from proxy.dialled import DialledStream
from proxy.errors import BadAnswer, Blame, RelayError, TimedOut, Unreachable
from proxy.heads import HeadLimits
from proxy.http1 import ResponseReader
from proxy.resolver import LateLookup
from proxy.settings import Endpoint, Settings

Connection: TypeAlias = HTTPSConnection
_JUST_USED_S: Final = 0.1
# Unpatched poll: 0.9 us a lease instead of 10 to 16 through gevent's (2026-11).
_poll = monkey.get_original("select", "poll")


class Lease:
    """One connected socket, for one exchange at a time.

    `reusable` is set by the relay, with evidence; without it giving back closes.
    """

    __slots__ = (
        "_connection",
        "_idle_since",
        "_kept",
        "address",
        "authority",
        "responses",
        "reusable",
        "reused",
        "stream",
    )

    def __init__(
        self,
        connection: Connection,
        limits: HeadLimits,
        authority: bytes,
        address: str,
        kept: Kept | None = None,
    ) -> None:
        """`connection` is open; `kept` is where it may wait for the next exchange."""
        self._connection = connection
        self._kept = kept
        self._idle_since = 0.0
        self.stream = DialledStream(connection.sock)
        self.responses = ResponseReader(limits)
        self.authority = authority
        self.address = address
        self.reusable = False
        self.reused = False

    def take_again(self) -> None:
        self.reused = True
        self.reusable = False

    def give_back(self) -> None:
        """End this exchange: keep the connection if that was proved safe, or close it."""
        if self.reusable and self._kept is not None:
            self._idle_since = time.monotonic()
            self._kept.put(self)
        else:
            self.close()

    def close(self) -> None:
        self.stream.release()
        self._connection.close()

    def is_good(self, now: float, keepalive_s: float) -> bool:
        """Whether the idle connection can carry a request, as far as can be known."""
        idle_s = now - self._idle_since
        if idle_s > keepalive_s or self.stream.readable.unasked:
            return False
        if idle_s < _JUST_USED_S:
            return True  # the loop would have noticed; asking the kernel costs 2 us (2026-11)
        poll = _poll()
        poll.register(self._connection.sock.fileno(), select.POLLIN)
        return not poll.poll(0)  # readable while idle: closed, or bytes nobody asked for

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.give_back()


class Kept:
    """Idle connections to one address, last in, first out; `most` of them, not for ever.

    Not urllib3's own queue, which knows neither a lease nor an age and costs 5 us each time
    (2026-11).
    """

    def __init__(self, most: int, keepalive_s: float) -> None:
        self._most = most
        self._keepalive_s = keepalive_s
        self._leases: list[Lease] = []

    @property
    def count(self) -> int:
        return len(self._leases)

    def take(self, now: float) -> Lease | None:
        """Return a connection that is still good; others on the way to it are closed."""
        while self._leases:
            lease = self._leases.pop()
            if lease.is_good(now, self._keepalive_s):
                lease.take_again()
                return lease
            lease.close()
        return None

    def put(self, lease: Lease) -> None:
        if len(self._leases) < self._most:
            self._leases.append(lease)
        else:
            lease.close()

    def close_useless(self, now: float) -> None:
        """Close what can carry no request any more."""
        good: list[Lease] = []
        for lease in self._leases:
            if lease.is_good(now, self._keepalive_s):
                good.append(lease)
            else:
                lease.close()
        self._leases = good

    def close(self) -> None:
        """Close all, and keep none from now on."""
        self._most = 0
        for lease in self._leases:
            lease.close()
        self._leases = []


def head_limits(settings: Settings) -> HeadLimits:
    limits = settings.limits
    return HeadLimits(limits.head_bytes, limits.fields, limits.request_line_bytes)


def authority(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return (host if endpoint.port == 443 else f"{host}:{endpoint.port}").encode()


def socket_options(settings: Settings) -> list[tuple[int, int, int | bytes]]:
    idle = int(settings.timeouts.tcp_keepalive)
    return [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]


def new_pool(
    settings: Settings,
    endpoint: Endpoint,
    address: str,
    context: ssl.SSLContext,
    proxy: ProxyManager | None,
) -> HTTPSConnectionPool:
    """Return a pool for one address of the upstream, through `proxy` where one is configured."""
    name = settings.upstream.server_name or endpoint.host
    options: dict[str, Any] = {
        "timeout": Timeout(connect=settings.timeouts.connect),
        "ssl_context": context,
        "cert_reqs": "CERT_REQUIRED" if settings.upstream.verify else "CERT_NONE",
        "socket_options": socket_options(settings),
    }
    if name != address:
        options["server_hostname"] = name
    if not settings.upstream.verify:
        options["assert_hostname"] = False
    elif name != address:
        options["assert_hostname"] = name
    if proxy is not None:
        pool: Any = proxy.connection_from_host(
            endpoint.host, endpoint.port, "https", pool_kwargs={
                **proxy.connection_pool_kw, **options
            }
        )  # fmt: skip
        return pool  # type: ignore[no-any-return]
    return HTTPSConnectionPool(address, endpoint.port, **options)


def forward_proxy(settings: Settings) -> ProxyManager | None:
    """Return the way through [upstream] http_proxy; None: there is none."""
    upstream = settings.upstream
    if not upstream.http_proxy:
        return None
    credentials = None
    if upstream.http_proxy_user:
        password = upstream.http_proxy_password
        credentials = make_headers(proxy_basic_auth=f"{upstream.http_proxy_user}:{password}")
    return ProxyManager(upstream.http_proxy, proxy_headers=credentials)


def open_connection(
    connection: Connection, pool: HTTPSConnectionPool | None, settings: Settings, whom: Blame
) -> None:
    """Connect and shake hands under one deadline. Raises: Unreachable, TimedOut, BadAnswer."""
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
        owner = "forward proxy" if proxied else whom
        if isinstance(error.__cause__, LateLookup):
            late = f"the {owner}'s name: {error.__cause__.strerror}"
            return TimedOut(late, token="dns_timeout", blame=whom)
        return Unreachable(f"the {owner}'s name has no address", token="dns_error", blame=whom)
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
