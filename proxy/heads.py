"""Heads of HTTP/1.x messages: bytes that end at the empty line into values (RFC 9112).

Layer 0 (pure). Neighbours: `fields` below; `reader`, `http1` and `headers` above.

Strict where two readers could differ, as `fields` is, and nothing is ever repaired:

* exactly one `Host` in an HTTP/1.1 request (3.2); targets are origin-form or `*` for OPTIONS:
  only open-proxy probes send the others
* an `Upgrade` with a body is refused (what follows could be read as either), so is `h2c`
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from proxy.errors import (
    BadAnswer,
    BadMessage,
    ExpectationFailed,
    MethodRefused,
    VersionRefused,
)
from proxy.fields import Header, read_framing, split_fields

__all__ = [
    "CHUNKED",
    "NO_BODY",
    "NO_STATUS_LINE",
    "UNTIL_CLOSE",
    "Framing",
    "HeadLimits",
    "RequestHead",
    "ResponseHead",
    "parse_request",
    "parse_response",
    "read_request",
    "read_response",
]

Framing: TypeAlias = int
"""A length in bytes, or one of the three constants below."""

_K = TypeVar("_K", bound=tuple[Any, ...])
_V = TypeVar("_V")

NO_BODY: Final = -1
CHUNKED: Final = -2
UNTIL_CLOSE: Final = -3

NO_STATUS_LINE: Final = "the status line is not 'HTTP/1.1 200 reason'"

_REMEMBERED: Final = 128
_REMEMBERED_BYTES: Final = 1024


class HeadLimits(NamedTuple):
    """Bounds of one head: bytes of the whole head, number of fields, bytes of the first line."""

    head_bytes: int = 32768
    fields: int = 100
    line_bytes: int = 8192


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body. `headers` are (name, value) in wire order and case."""

    method: bytes
    target: bytes
    minor: int
    headers: list[Header]
    framing: Framing
    keep_alive: bool
    options: frozenset[bytes]
    upgrade: bytes | None
    expects_continue: bool
    host: bytes
    rendered: dict[tuple[int, bool, bytes], bytes] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What `headers` made of it lately, for the next request with this head."""
    found: dict[bytes, list[bytes]] = field(default_factory=dict, compare=False, repr=False)
    """What `headers` was asked for lately: values by lower-case name."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response without its body; status 100-199 but 101 is interim and has no END."""

    status: int
    reason: bytes
    minor: int
    headers: list[Header]
    framing: Framing
    keep_alive: bool
    options: frozenset[bytes]
    upgrade: bytes | None
    rendered: dict[tuple[int, bool, bool], bytes] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What `headers` made of it lately, for the next answer with this head."""


_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])"
)
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?"
)
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9.\-_~%]+)?\])(?::[0-9]*)?"
)


class _Remembered(dict[_K, _V]):
    """What `parse` made of the heads that came lately; those that fit, without credentials."""

    def __init__(self, parse: Callable[..., _V]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, key: _K) -> _V:
        head, *others = key
        parsed = self._parse(head, *others)
        if len(head) <= _REMEMBERED_BYTES:
            lower = head.lower()  # `in` costs ten times as much as `find` (Python 3.11, 2026-11)
            if lower.find(b"authorization") < 0 and lower.find(b"cookie") < 0:
                if len(self) >= _REMEMBERED:
                    del self[next(iter(self))]
                self[key] = parsed
        return parsed


def read_request(head: bytes, limits: HeadLimits) -> RequestHead:
    """As `parse_request`, which see; a head that came lately is not parsed again.

    Agents of one kind send the same head over and over, and parsing is a function of its bytes.
    """
    return _requests[head, limits]


def read_response(head: bytes, limits: HeadLimits, method: bytes, upgrading: bool) -> ResponseHead:
    """As `parse_response`; answers within one second share their head, Date included."""
    return _responses[head, limits, method, upgrading]


def parse_request(head: bytes, limits: HeadLimits) -> RequestHead:
    """Return the request head; `head` ends with the CRLF of its last line.

    Raises: BadMessage and its children.
    """
    line_end = head.find(b"\r\n")
    line = _REQUEST_LINE.fullmatch(head, 0, line_end)
    if line is None:
        raise BadMessage("the request line is not 'METHOD target HTTP/1.1'")
    method, target, major, minor_digit = line.groups()
    if major != b"1" or minor_digit not in b"01":
        raise VersionRefused("only HTTP/1.0 and HTTP/1.1 are spoken here")
    minor = minor_digit[0] - 48
    if method in (b"CONNECT", b"TRACE"):
        raise MethodRefused(f"{method.decode()} is not relayed")
    if target[0] != 47 and not (target == b"*" and method == b"OPTIONS"):
        raise BadMessage("the target does not begin with '/': absolute and authority forms")
    headers = split_fields(head[line_end + 2 :], limits.fields, BadMessage)
    framed = read_framing(headers, BadMessage)
    if framed.host is None:
        if minor:
            raise BadMessage("no Host (RFC 9112 3.2)")
    elif not _HOST.fullmatch(framed.host):
        raise BadMessage("Host is not a host and port (RFC 9110 7.2)")
    if framed.chunked and not minor:
        raise BadMessage("Transfer-Encoding in an HTTP/1.0 request (RFC 9112 6.1)")
    framing = CHUNKED if framed.chunked else framed.length if framed.length >= 0 else NO_BODY
    upgrade = framed.upgrade if b"upgrade" in framed.options else None
    if upgrade is not None:
        if framing not in (NO_BODY, 0):
            raise BadMessage("an Upgrade with a body")
        if not minor:
            upgrade = None  # RFC 9110 7.8: ignored, but llhttp would have taken a body for a tunnel
        elif b"h2c" in upgrade.lower():
            raise BadMessage("an Upgrade to h2c")
    expects = bool(minor) and framed.expect is not None
    if expects and framed.expect is not None and framed.expect.lower() != b"100-continue":
        raise ExpectationFailed("the only expectation that is known is 100-continue")
    options = framed.options
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    return RequestHead(
        method,
        target,
        minor,
        headers,
        framing,
        keep_alive,
        options,
        upgrade,
        expects,
        framed.host or b"",
    )


def parse_response(head: bytes, limits: HeadLimits, method: bytes, upgrading: bool) -> ResponseHead:
    """Return the head of the response to a request with `method`.

    Raises: BadAnswer.
    """
    line_end = head.find(b"\r\n")
    line = _STATUS_LINE.fullmatch(head, 0, line_end)
    if line is None:
        raise BadAnswer(NO_STATUS_LINE)
    minor = line[1][0] - 48
    status = int(line[2])
    headers = split_fields(head[line_end + 2 :], limits.fields, BadAnswer)
    framed = read_framing(headers, BadAnswer)
    if framed.chunked and not minor:
        raise BadAnswer("Transfer-Encoding in an HTTP/1.0 response (RFC 9112 6.1)")
    if status == 101:
        if not upgrading:
            raise BadAnswer("101 to a request that asked for no upgrade")
        if framed.upgrade is None:
            raise BadAnswer("101 without Upgrade (RFC 9110 15.2.2)")
    if status < 200 or status in (204, 304) or method == b"HEAD":
        framing = NO_BODY
    elif framed.chunked:
        framing = CHUNKED
    else:
        framing = framed.length if framed.length >= 0 else UNTIL_CLOSE
    options = framed.options
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    if framing == UNTIL_CLOSE:
        keep_alive = False
    reason = line[3] or b""
    return ResponseHead(
        status, reason, minor, headers, framing, keep_alive, options, framed.upgrade
    )


_requests: Final = _Remembered[tuple[bytes, HeadLimits], RequestHead](parse_request)
_responses: Final = _Remembered[tuple[bytes, HeadLimits, bytes, bool], ResponseHead](parse_response)
