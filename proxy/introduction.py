"""Who a balancer has brought: the PROXY header at the beginning of its connections, read.

Shell. Neighbours: `proxyproto` parses, `zones` and `policy` judge, `worker` admits or turns away.
The header comes before TLS and under the same deadline as the handshake.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from greenlet import getcurrent

from proxy import proxyproto
from proxy.callers import Caller
from proxy.deadline import Deadline, Deadlines, Expired
from proxy.errors import BadProxyHeader
from proxy.node import Accepted, Node
from proxy.proxyproto import Header
from proxy.settings import Zone
from proxy.stream import Readiness, wait
from proxy.zones import NOWHERE

_READ = 1


class Introduced(NamedTuple):
    """Whom the balancer speaks for, and what they have sent so far."""

    accepted: Accepted
    early: bytes
    took_s: float


def read(
    sock: socket.socket,
    node: Node,
    zones: tuple[Zone, ...],
    balancer: str,
    deadlines: Deadlines,
) -> Introduced:
    """Return who is behind `balancer`, who connected to a listener of `zones`.

    Waits within [timeouts] tls_handshake. Closes nothing.
    Raises: BadProxyHeader, also when none comes.
    """
    started = time.monotonic()
    deadline = Deadline(getcurrent())
    deadline.within(
        node.settings.timeouts.tls_handshake, BadProxyHeader, "no PROXY header came in time"
    )
    deadlines.add(deadline)
    readable = Readiness(sock.fileno(), _READ)
    try:
        header, data = _header(sock, readable)
    except Expired as expired:
        raise BadProxyHeader(expired.error.detail) from expired
    except OSError as error:
        raise BadProxyHeader(f"reading a PROXY header: {error.strerror}") from error
    finally:
        readable.close()
        deadlines.discard(deadline)
    accepted = _accepted(header, node, zones, balancer)
    return Introduced(accepted, data[header.consumed :], time.monotonic() - started)


def _header(sock: socket.socket, readable: Readiness) -> tuple[Header, bytes]:
    data = b""
    while True:
        wait(readable)
        try:
            more = sock.recv(proxyproto.MAX_BYTES)
        except BlockingIOError:
            continue
        if not more:
            raise BadProxyHeader("a balancer closed before its PROXY header was complete")
        data += more
        header = proxyproto.parse(data)
        if header is not None:
            return header, data


def _accepted(header: Header, node: Node, zones: tuple[Zone, ...], balancer: str) -> Accepted:
    if header.source is None:
        return Accepted(Caller("balancer", balancer, NOWHERE.name), None, None)
    netns = proxyproto.netns(header)
    network_id = proxyproto.network_id(header)
    told = [f"netns:{netns}"] if netns is not None else []
    told += [network_id] if network_id is not None else []
    return node.accept(header.source[0], zones, tuple(told))
