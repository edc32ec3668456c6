"""Which header fields end here, which pass, and which are added, in each direction.

Layer 0 (pure). Neighbours: `heads` below; `policy` chooses the rewrite, `relay` applies it.

Strip first, add afterwards: what a caller wrote can never survive as something that we vouch
for. Names are judged in any case and with every sign counted as `-`, since back ends exist that
do.
Order, case and duplicates of what passes are kept; framing fields are written where they stood.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from proxy.fields import SIGNS_AS_DASH, Header, canonical
from proxy.heads import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

__all__ = [
    "FROM_AGENT",
    "FROM_PEER",
    "TO_AGENT",
    "TO_PEER",
    "Rewrite",
    "field",
    "request_head",
    "response_head",
    "values",
]

# What a field is to us, one bit each. PASS: nothing, it travels on.
_PASS, _HOP, _IDENTITY, _ROUTE, _TRACE, _HOST, _LENGTH, _CODING, _PROXY_STATUS = (
    0, 1, 2, 4, 8, 16, 32, 64, 128,
)  # fmt: skip

FROM_AGENT: Final = _HOP | _PROXY_STATUS | _IDENTITY | _ROUTE | _TRACE
"""Agents vouch for nothing: everything that could be taken for a proxy's word is removed."""
FROM_PEER: Final = _HOP | _PROXY_STATUS | _ROUTE
"""A configured peer's identity fields stay; its return route is rewritten with one hop more."""
TO_AGENT: Final = _HOP | _PROXY_STATUS | _ROUTE
TO_PEER: Final = _HOP | _PROXY_STATUS

_HOP_NAMES: Final = frozenset(
    b"connection keep-alive te trailer upgrade http2-settings proxy-authenticate "
    b"proxy-authorization proxy-connection proxy-authentication-info".split()
)
_TRACE_NAMES: Final = frozenset(b"forwarded via x-real-ip".split())
# A Connection field may not take these away: framing and Host are written by us, and without
# its route a call on the way down would be taken for an agent's request.
_NOT_NOMINATED: Final = frozenset(
    b"close keep-alive upgrade host content-length transfer-encoding agent-route".split()
)


@lru_cache(maxsize=1024)
def _nature(name: bytes) -> int:
    lower = name.lower()
    if lower == b"host":
        return _HOST
    if lower == b"content-length":
        return _LENGTH
    if lower == b"transfer-encoding":
        return _CODING
    name = canonical(name)
    if name == b"proxy-status":
        return _PROXY_STATUS
    if name in _HOP_NAMES or name.startswith(b"proxy-"):
        return _HOP
    if name == b"agent-route":
        return _ROUTE
    if name.startswith(b"agent-proxy-"):
        return _IDENTITY
    if name in _TRACE_NAMES or name.startswith(b"x-forwarded-"):
        return _TRACE
    return _PASS


_RENDERED: Final = 4  # forms of one head that are remembered: next hops differ, but not by much


class Rewrite(NamedTuple):
    """How a request's head changes on its way out."""

    strip: int
    """One of FROM_AGENT, FROM_PEER, TO_AGENT, TO_PEER."""
    keep_host: bool
    """Whether the caller's own Host stays; otherwise it becomes the next hop's authority."""
    added: bytes
    """Whole field lines, each with its CRLF, put after all others."""


def field(headers: list[Header], name: bytes) -> list[bytes]:
    """Return the values of all fields called `name` (lower case), in wire order."""
    return [value for key, value in headers if key.lower() == name]


def values(head: RequestHead, name: bytes) -> list[bytes]:
    """As `field`, of a head that may come again: looked for once."""
    found = head.found.get(name)
    if found is None:
        found = head.found[name] = field(head.headers, name)
    return found


def _without_nominated(headers: list[Header], options: frozenset[bytes]) -> list[Header]:
    nominated = {option.translate(SIGNS_AS_DASH) for option in options} - _NOT_NOMINATED
    return [item for item in headers if canonical(item[0]) not in nominated]


def request_head(head: RequestHead, rewrite: Rewrite, authority: bytes) -> bytes:
    """Return the head to send to the next hop, whose host and port is `authority`.

    Always HTTP/1.1, whatever the caller speaks.
    """
    strip, keep_host, added = rewrite
    key = strip, keep_host, authority
    start = head.rendered.get(key)
    if start is None:
        start = _request_head(head, strip, keep_host, authority)
        if len(head.rendered) < _RENDERED:
            head.rendered[key] = start
    return b"".join((start, added, b"\r\n"))


def _request_head(head: RequestHead, strip: int, keep_host: bool, authority: bytes) -> bytes:
    """Return the request line and what passes of the fields."""
    headers = head.headers
    if not head.options <= _NOT_NOMINATED:
        headers = _without_nominated(headers, head.options)
    lines = [b"%b %b HTTP/1.1\r\n" % (head.method, head.target)]
    if not head.host:
        lines.append(b"Host: %b\r\n" % authority)
    for name, value in headers:
        nature = _nature(name)
        if nature == _PASS:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif nature == _LENGTH:
            lines.append(b"%b: %d\r\n" % (name, head.framing))  # 0005 is octal to some
        elif nature & strip:
            continue
        elif nature == _HOST:
            if head.host:
                lines.append(b"%b: %b\r\n" % (name, value if keep_host else authority))
        elif nature == _CODING:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            lines.append(b"%b: %b\r\n" % (name, value))
    if head.upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
    return b"".join(lines)


def response_head(
    head: ResponseHead, *, client_minor: int, keep_alive: bool, keep_status: bool
) -> bytes:
    """Return the head to send to the caller: hop-by-hop fields out, framing afresh, nothing added.

    `keep_alive`: whether this connection goes on. `keep_status`: whether `Proxy-Status` passes.
    That of a proxy further down reaches platform and peers; agents neither get nor say it: no
    origin may (RFC 9209 section 2), and the platform would take it for ours.
    """
    key = client_minor, keep_alive, keep_status
    rendered = head.rendered.get(key)
    if rendered is None:
        rendered = head.rendered[key] = _response_head(head, client_minor, keep_alive, keep_status)
    return rendered


def _response_head(
    head: ResponseHead, client_minor: int, keep_alive: bool, keep_status: bool
) -> bytes:
    status = head.status
    strip = _HOP if keep_status else _HOP | _PROXY_STATUS
    headers = head.headers
    if not head.options <= _NOT_NOMINATED:
        headers = _without_nominated(headers, head.options)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, head.reason)]
    for name, value in headers:
        nature = _nature(name)
        if nature == _PASS:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif nature & strip:
            continue
        elif nature == _CODING:
            if head.framing == CHUNKED and client_minor:
                lines.append(b"Transfer-Encoding: chunked\r\n")
        elif nature == _LENGTH and (status < 200 or status == 204):
            continue  # RFC 9110 8.6: never in these
        elif nature == _LENGTH:
            lines.append(b"%b: %d\r\n" % (name, int(value)))
        else:
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(_connection_lines(head, client_minor, keep_alive))
    lines.append(b"\r\n")
    return b"".join(lines)


def _connection_lines(head: ResponseHead, client_minor: int, keep_alive: bool) -> bytes:
    """Return what the caller is told of its connection; nothing where nothing needs saying."""
    status, framing = head.status, head.framing
    if status == 101:
        return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % (head.upgrade or b"")
    if status < 200:
        return b""
    # HTTP/1.0 knows no chunks: there such a body ends with the connection.
    closing = not keep_alive or framing == UNTIL_CLOSE or (framing == CHUNKED and not client_minor)
    if status == 426 and head.upgrade and client_minor:
        # The only other response in which Upgrade means something (RFC 9110 15.5.22).
        options = b"close, Upgrade" if closing else b"Upgrade"
        return b"Connection: %b\r\nUpgrade: %b\r\n" % (options, head.upgrade)
    if closing:
        return b"Connection: close\r\n"
    return b"" if client_minor else b"Connection: keep-alive\r\n"
