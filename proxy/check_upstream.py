"""The part of `check` that asks the upstream: name, TCP, TLS, clock; with what to do about each.

Shell. Neighbours: `probe` asks, `outcome` is what comes back; `check` above.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from proxy import probe
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import Deadline, OutOfTime, ProbeError, Shake
from proxy.settings import Endpoint, Settings

__all__ = ["clock", "endpoint", "verification"]

_SKEW_MAX_S: Final = 300.0
_DAY_S: Final = 86400.0
_EXPIRES_SOON_DAYS: Final = 15

# OpenSSL's X509_V_ERR_*: the CA is not known; the dates are wrong; the name is another.
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
_DATES: Final = frozenset({9, 10})
_NAMES: Final = frozenset({62, 64})


def verification(settings: Settings) -> Outcome:
    """Return whether the upstream's certificate is verified: `verify = no` is said loudly."""
    upstream = settings.upstream
    if upstream.verify:
        store = upstream.ca_file or "the system's certificates"
        return passed("upstream verification", f"against {store}")
    return skipped(
        "upstream verification",
        "OFF by [upstream] verify = no: whoever is on the way can pose as the platform",
        "Set verify = yes, with ca_file if the platform's CA is a private one.",
    )


def endpoint(
    settings: Settings,
    context: ssl.SSLContext | None,
    place: Endpoint,
    deadline: Deadline,
    shakes: list[Shake],
) -> Iterator[Outcome]:
    """Yield the outcomes for one endpoint; what handshakes showed is appended to `shakes`.

    Through a forward proxy, name and TCP are the forward proxy's. Without `context` TLS is skipped.
    """
    forward = _forward_proxy(settings)
    dialled = forward or place
    label = f"{place}" if forward is None else f"{place} through {forward}"
    bound_s = settings.timeouts.connect
    try:
        addresses = probe.resolve(dialled, deadline, bound_s)
    except ProbeError as error:
        remedy = "Check the name in [upstream] and the name servers in /etc/resolv.conf."
        yield _failed("upstream name", f"{dialled.host}: {error}", remedy, error)
        return
    if addresses != [dialled.host]:
        yield passed("upstream name", f"{dialled.host} is {', '.join(addresses)}")
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        refused: list[str] = []
        last: ProbeError | None = None
        for address in addresses:
            try:
                sock = probe.connect(address, dialled.port, deadline, bound_s)
                sockets.append(opened.enter_context(sock))
            except ProbeError as error:
                refused.append(f"{address}: {error}")
                last = error
        yield _reached(dialled, len(addresses), refused, last)
        for sock in sockets:
            yield _tls(settings, context, place, label, sock, deadline, shakes)


def _forward_proxy(settings: Settings) -> Endpoint | None:
    url = settings.upstream.http_proxy
    if not url:
        return None
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _reached(dialled: Endpoint, count: int, refused: list[str], last: ProbeError | None) -> Outcome:
    name = "upstream TCP"
    if last is None:
        return passed(name, f"{dialled} connects")
    if len(refused) < count:
        return passed(name, f"{dialled} connects, but not by {'; '.join(refused)}")
    remedy = f"Let TCP to port {dialled.port} pass the firewall, or set [upstream] http_proxy."
    if all(text.endswith(probe.REFUSED) for text in refused):
        remedy = "The machine is there, the service is not: check host and port in [upstream]."
    return _failed(name, f"{dialled}: {'; '.join(refused)}", remedy, last)


def _tls(
    settings: Settings,
    context: ssl.SSLContext | None,
    place: Endpoint,
    label: str,
    sock: socket.socket,
    deadline: Deadline,
    shakes: list[Shake],
) -> Outcome:
    name = "upstream TLS"
    address = sock.getpeername()[0]
    shown = label if address == place.host else f"{label} ({address})"
    if context is None:
        return skipped(name, f"{shown}: first put the files right that failed above")
    upstream = settings.upstream
    try:
        if upstream.http_proxy:
            probe.through_proxy(sock, place, upstream, deadline)
        server_name = upstream.server_name or place.host
        shake = probe.shake_hands(sock, context, place, server_name, deadline)
    except ProbeError as error:
        return _failed(name, f"{shown}: {error}", _tls_remedy(error), error)
    shakes.append(shake)
    days = None if shake.expires_at is None else int((shake.expires_at - time.time()) // _DAY_S)
    if days is None:
        return passed(name, f"{shown}: {shake.version}, certificate NOT verified")
    soon = " only" if days < _EXPIRES_SOON_DAYS else ""
    return passed(name, f"{shown}: {shake.version}, certificate valid for {days} days{soon}")


def _tls_remedy(error: ProbeError) -> str:
    code = error.verify_code
    if code in _UNKNOWN_CA:
        return (
            "Give the CA that signed it (or the certificate itself, if self-signed) as "
            "[upstream] ca_file."
        )
    if code in _DATES:
        return "Correct the clock of this machine, or let the platform renew its certificate."
    if code in _NAMES:
        return "Set [upstream] server_name to a name that is in the certificate."
    if "forward proxy" in str(error):
        return (
            "See [upstream] http_proxy, http_proxy_user, http_proxy_password; it must allow this."
        )
    return "Is this the platform's TLS port? An old platform may need [upstream] min_tls."


def _failed(name: str, detail: str, remedy: str, error: ProbeError) -> Outcome:
    if isinstance(error, OutOfTime):
        return skipped(name, detail, "Give more time with --deadline.")
    return failed(name, detail, remedy)


def clock(shakes: list[Shake]) -> Outcome:
    """Return whether the clock is right: against the upstream's, or plausible at least."""
    name, remedy = "clock", "Set up time synchronisation (chrony or systemd-timesyncd)."
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < os.stat(__file__).st_mtime - _DAY_S:
        return failed(name, f"{shown} is before this program was installed", remedy)
    skews = [shake.skew_s for shake in shakes if shake.skew_s is not None]
    if not skews:
        return skipped(name, f"{shown} is plausible; no upstream told its time to compare with")
    skew_s = min(skews, key=abs)
    told = f"{shown}, {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the upstream's"
    if abs(skew_s) > _SKEW_MAX_S:
        return failed(name, told, remedy)
    return passed(name, told)
