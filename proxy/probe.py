"""Questions to an upstream: does its name resolve, does it connect, is its TLS right, what time
is it there.

Shell. Neighbours: `check` asks and words the answers. Not `upstream`: that one pools, retries and
says one thing; here each step is tried by itself. Every wait ends with the deadline given.
"""

from __future__ import annotations

import base64
import email.utils
import queue
import socket
import ssl
import threading
import time
from typing import Final, NamedTuple

from proxy.settings import Endpoint, Upstream

__all__ = [
    "REFUSED",
    "Deadline",
    "OutOfTime",
    "ProbeError",
    "Shake",
    "certificate",
    "connect",
    "resolve",
    "shake_hands",
    "through_proxy",
]

_HEAD_LIMIT_BYTES: Final = 16384
REFUSED: Final = "connection refused"
_REASONS: Final = {
    ConnectionRefusedError: REFUSED,
    TimeoutError: "no answer in time",
    ConnectionResetError: "connection reset",
}


class ProbeError(Exception):
    """A step that failed; the text says how. `verify_code` is OpenSSL's, 0 for anything else."""

    def __init__(self, detail: str, verify_code: int = 0) -> None:
        super().__init__(detail)
        self.verify_code = verify_code


class OutOfTime(ProbeError):
    """A step that was not begun, since the time for everything is over."""


class Deadline:
    """A total for many steps; each step may use what is left, but not more than its own bound."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, bound_s: float = 3600.0) -> float:
        """Return the seconds a step may take. Raises: OutOfTime when none are left."""
        left = min(bound_s, self._end - time.monotonic())
        if left <= 0:
            raise OutOfTime("not tried: the time for all checks is over (--deadline)")
        return left


class Shake(NamedTuple):
    """What a handshake showed. Times are seconds since 1970, None: not known."""

    version: str
    expires_at: float | None
    """When the certificate ends; known if it was verified."""
    skew_s: float | None
    """How far our clock is ahead of the other side's `Date`."""


def resolve(endpoint: Endpoint, deadline: Deadline, bound_s: float) -> list[str]:
    """Return the addresses of a host, in the order they are tried. Raises: ProbeError."""
    answers: queue.Queue[list[str] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    # getaddrinfo takes no timeout; a thread that is left behind ends with the process.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left(bound_s))
    except queue.Empty:
        raise ProbeError("the name servers do not answer in time") from None
    if isinstance(answer, OSError):
        raise ProbeError(answer.strerror or str(answer))
    return answer


def connect(address: str, port: int, deadline: Deadline, bound_s: float) -> socket.socket:
    """Return a connected socket; the caller closes it. Raises: ProbeError."""
    try:
        return socket.create_connection((address, port), deadline.left(bound_s))
    except OSError as error:
        raise ProbeError(_reason(error)) from error


def through_proxy(
    sock: socket.socket, endpoint: Endpoint, upstream: Upstream, deadline: Deadline
) -> None:
    """Ask a forward proxy on `sock` for a tunnel to `endpoint`. Raises: ProbeError."""
    lines = [f"CONNECT {endpoint} HTTP/1.1", f"Host: {endpoint}"]
    if upstream.http_proxy_user:
        credentials = f"{upstream.http_proxy_user}:{upstream.http_proxy_password}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials).decode()}")
    head = _ask(sock, lines, deadline)
    status = head.split(b" ", 2)[1:2]
    if not head.startswith(b"HTTP/1.") or not status:
        raise ProbeError("what answers is no HTTP proxy")
    if status[0] != b"200":
        shown = head.split(b"\r\n", 1)[0][:80].decode("ascii", "replace")
        raise ProbeError(f"the forward proxy refuses: {shown}")


def shake_hands(
    sock: socket.socket, context: ssl.SSLContext, endpoint: Endpoint, name: str, deadline: Deadline
) -> Shake:
    """Do TLS on `sock`, checking `name`, and ask for the time by a HEAD. Raises: ProbeError."""
    try:
        sock.settimeout(deadline.left())
        with context.wrap_socket(sock, server_hostname=name) as tls:
            certificate = tls.getpeercert() or {}
            not_after = str(certificate.get("notAfter", ""))
            expires_at = float(ssl.cert_time_to_seconds(not_after)) if not_after else None
            skew_s = _skew(tls, endpoint, deadline)
            return Shake(tls.version() or "TLS", expires_at, skew_s)
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(error.verify_message, error.verify_code) from error
    except ssl.SSLError as error:
        raise ProbeError((error.reason or str(error)).lower().replace("_", " ")) from error
    except (OSError, ValueError) as error:
        raise ProbeError(_reason(error)) from error


def certificate(sock: socket.socket, context: ssl.SSLContext, deadline: Deadline) -> bytes:
    """Do TLS on `sock` and return the certificate that is shown, DER. Raises: ProbeError."""
    try:
        sock.settimeout(deadline.left())
        with context.wrap_socket(sock) as tls:
            return tls.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        raise ProbeError((error.reason or str(error)).lower().replace("_", " ")) from error
    except (OSError, ValueError) as error:
        raise ProbeError(_reason(error)) from error


def _skew(tls: ssl.SSLSocket, endpoint: Endpoint, deadline: Deadline) -> float | None:
    """Return our clock minus the `Date` of an answer; None if there is none."""
    try:
        head = _ask(tls, ["HEAD / HTTP/1.1", f"Host: {endpoint}", "Connection: close"], deadline)
    except ProbeError:
        return None  # a platform that does not answer this is no failure of TLS
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"date":
            try:
                there = email.utils.parsedate_to_datetime(value.decode("latin-1").strip())
            except ValueError:
                return None
            return time.time() - there.timestamp()
    return None


def _ask(sock: socket.socket, lines: list[str], deadline: Deadline) -> bytes:
    """Send a request without a body and return the head of the answer. Raises: ProbeError."""
    head = b""
    try:
        sock.settimeout(deadline.left())
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in head:
            sock.settimeout(deadline.left())
            # A tunnel begins right behind the head: not a byte of it may be read here.
            piece = sock.recv(1)
            if not piece:
                raise ProbeError("closed without an answer")
            head += piece
            if len(head) > _HEAD_LIMIT_BYTES:
                raise ProbeError(f"answered a head of more than {_HEAD_LIMIT_BYTES} bytes")
    except OSError as error:
        raise ProbeError(_reason(error)) from error
    return head


def _reason(error: OSError | ValueError) -> str:
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    return getattr(error, "strerror", None) or str(error)
