"""Leases: connected, verified sockets, each given back only with proof that it is clean.

Shell. Neighbours: `stream` below; `upstream` and `agents` open connections, `relay` uses a lease.
The only file that knows urllib3: it owns TLS verification, CONNECT through a forward proxy, and
the pool; we move the bytes. Its exceptions are translated here, once.
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

from proxy.dialled import DialledStream
from proxy.errors import BadAnswer, Blame, RelayError, TimedOut, Unreachable
from proxy.heads import HeadLimits
from proxy.http1 import ResponseReader
from proxy.settings import Endpoint, Settings

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

    def take_useless(self) -> list[Connection]:
        """Remove and return what can carry no request any more."""
        useless = [connection for connection in self._items if not connection.is_connected]
        if useless:
            self._items = [item for item in self._items if item not in useless]
        return useless


class Connection(HTTPSConnection):
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


class Pool(HTTPSConnectionPool):
    ConnectionCls = Connection
    QueueCls = _Stack  # type: ignore[assignment]

    def idle(self) -> Connection | None:
        """Return a kept connection that is still good; the others on the way are closed."""
        stack: Any = self.pool
        while stack.qsize():
            connection: Connection = stack.get()
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
        self, connection: Connection, pool: Pool | None, authority: bytes, address: str
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
) -> Pool:
    """Return a pool for one address of the upstream, through `proxy` where one is configured."""
    name = settings.upstream.server_name or endpoint.host
    options: dict[str, Any] = {
        "maxsize": settings.upstream.connections,
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
    return Pool(address, endpoint.port, **options)


def forward_proxy(settings: Settings) -> ProxyManager | None:
    """Return the way through [upstream] http_proxy; None: there is none."""
    upstream = settings.upstream
    if not upstream.http_proxy:
        return None
    credentials = None
    if upstream.http_proxy_user:
        password = upstream.http_proxy_password
        credentials = make_headers(proxy_basic_auth=f"{upstream.http_proxy_user}:{password}")
    manager = ProxyManager(upstream.http_proxy, proxy_headers=credentials)
    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": Pool}
    return manager


def open_connection(
    connection: Connection, pool: Pool | None, settings: Settings, whom: Blame
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
