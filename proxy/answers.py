"""Everything that the proxy says in its own voice.

Layer 0 (pure). Neighbours: `errors`, `settings` below; `policy` and `connection` above.

To the platform: problem documents (RFC 9457) with `Proxy-Status` (RFC 9209), registration,
readiness. To an agent: as terse as a web server, no topology (PROTOCOL.md section 5).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from proxy.errors import RelayError

__all__ = ["Answer", "answer_bytes", "document", "problem", "terse"]

_JSON: Final = b"application/json"
_PROBLEM: Final = b"application/problem+json"


class Answer(NamedTuple):
    """A whole response: `headers` are field lines without framing, `body` the bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def document(content: dict[str, Any], status: int = 200) -> Answer:
    """Return `content` as JSON."""
    body = json.dumps(content, indent=2).encode() + b"\n"
    return Answer(status, [(b"Content-Type", _JSON), (b"Cache-Control", b"no-store")], body)


def problem(error: RelayError, proxy_id: str, *, retry_after_s: int = 0) -> Answer:
    """Return `error` for the platform or a peer: what happened, whose fault, what to do."""
    content = {
        "type": f"urn:agent-proxy:{error.token}",
        "title": _reason(error.status),
        "status": error.status,
        "detail": error.detail,
        "blame": error.blame,
    }
    headers = [
        (b"Content-Type", _PROBLEM),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", _proxy_status(error, proxy_id)),
    ]
    if retry_after_s:
        headers.append((b"Retry-After", b"%d" % retry_after_s))
    return Answer(error.status, headers, json.dumps(content).encode() + b"\n")


def _proxy_status(error: RelayError, proxy_id: str) -> bytes:
    who = proxy_id or "agent-proxy"
    if not who[0].isalpha():
        who = f'"{who}"'  # RFC 9651 3.3.4: a token begins with a letter, a string with anything
    quoted = "".join(c for c in error.detail if " " <= c <= "~" and c not in '"\\')
    return f'{who}; error={error.token}; details="{quoted}"'.encode()


def terse(error: RelayError, proxy_id: str = "", *, retry_after_s: int = 0) -> Answer:
    """Return `error` for an agent: the status, when to come back, and nothing else.

    With `proxy_id` for a peer that passes it on to an agent: it removes the Proxy-Status.
    """
    headers = [(b"Content-Type", b"text/plain")]
    if proxy_id:
        headers.append((b"Proxy-Status", _proxy_status(error, proxy_id)))
    if retry_after_s:
        headers.append((b"Retry-After", b"%d" % retry_after_s))
    return Answer(error.status, headers, f"{error.status} {_reason(error.status)}\n".encode())


def answer_bytes(answer: Answer, *, method: bytes, keep_alive: bool, client_minor: int) -> bytes:
    """Return `answer` as it goes over the wire; a HEAD gets no body."""
    lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}\r\n".encode()]
    lines += [b"%b: %b\r\n" % item for item in answer.headers]
    lines.append(b"Content-Length: %d\r\n" % len(answer.body))
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif not client_minor:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if method != b"HEAD":
        lines.append(answer.body)
    return b"".join(lines)
