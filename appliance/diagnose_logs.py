"""The part of a diagnosis that asks whether log lines reach the collector they are sent to.

Shell. Neighbours: `model` says where to, `syslog` has set rsyslog up; proxy's `probe` connects. The
collector is connected to as rsyslog does, with the same authorities and name; not a byte is sent,
which it would take for a line.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from appliance import fields, model, overview
from appliance.diagnosis import Case, route_to, ticket
from appliance.errors import Problems
from appliance.model import Syslog
from proxy import probe
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import OutOfTime, ProbeError
from proxy.settings import Endpoint

__all__ = ["outcomes"]

_NAME: Final = "log collector"
_RSYSLOG: Final = ("systemctl", "is-active", "rsyslog.service")
_SPOOL: Final = "/var/spool/rsyslog"
_SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
_CONNECT_S: Final = 5.0
_RENEW_DAYS: Final = 15
_DAY_S: Final = 86_400.0


def outcomes(case: Case) -> Iterator[Outcome]:
    """Yield whether rsyslog runs, and whether the collector would take what it sends."""
    try:
        wanted = model.from_json(case.system.read(model.PATH)).syslog
    except Problems as problems:
        yield skipped(_NAME, str(problems.problems[0]))
        return
    if not wanted.target:
        yield skipped(_NAME, "none is set: log lines are kept here only")
        return
    said = case.system.ask(_RSYSLOG).out.strip()
    if said not in ("active", ""):
        remedy = "Set it anew: `syslog set`; or restart the machine."
        yield failed(_NAME, f"rsyslog, which sends the lines, is {said}", remedy)
    place = Endpoint(*fields.endpoint(wanted.target))
    try:
        addresses = probe.resolve(place, case.deadline, _CONNECT_S)
    except OutOfTime as error:
        yield skipped(_NAME, str(error))
        return
    except ProbeError as error:
        remedy = "See `name server` above, or give its address: `syslog set`."
        yield failed(_NAME, f"{place.host}: {error}", remedy)
        return
    yield _sent(case, wanted, place, addresses)


def _sent(case: Case, wanted: Syslog, place: Endpoint, addresses: list[str]) -> Outcome:
    """Try one address after the other, as rsyslog does; return the first that answers."""
    answer: Outcome | None = None
    for address in addresses:
        try:
            plain = probe.connect(address, place.port, case.deadline, _CONNECT_S)
        except OutOfTime as error:
            return answer or skipped(_NAME, str(error))
        except ProbeError as error:
            finding = "nothing came back" if "no answer" in str(error) else str(error)
            text = _told(case, address, place, finding)
            remedy = f"Open this in the firewall: TCP to {address}, port {place.port}."
            answer = failed(_NAME, f"{text}{_waits(case)}", remedy)
            continue
        with plain:
            if wanted.protocol != "tls":
                found = _told(case, address, place, "answers, not encrypted")
                return passed(_NAME, f"{found}{_waits(case)}")
            return _encrypted(case, wanted, place, address, plain)
    assert answer is not None, "a name without an address is a ProbeError"
    return answer


def _encrypted(
    case: Case, wanted: Syslog, place: Endpoint, address: str, plain: socket.socket
) -> Outcome:
    name = wanted.server_name or place.host
    remedy = f"Give the authority that signed {name}'s certificate: `syslog set`, ca."
    try:
        # Not create_default_context: since Python 3.13 it is stricter than rsyslog.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if wanted.ca:
            context.load_verify_locations(cadata=wanted.ca)
        else:
            context.load_verify_locations(cafile=_SYSTEM_CA)
        context.hostname_checks_common_name = True  # rsyslog looks there, too
        plain.settimeout(case.deadline.left(_CONNECT_S))
        with context.wrap_socket(plain, server_hostname=name) as sock:
            version, shown = sock.version(), sock.getpeercert() or {}
    except OutOfTime as error:
        return skipped(_NAME, str(error))
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message.rstrip(".")
        if "mismatch" in why or "not valid for" in why:
            remedy = "Give the name that is in its certificate: `syslog set`, server name."
        elif "expired" in why or "not yet valid" in why:
            remedy = "Its certificate must be renewed, or the clock here set: `time show`."
        said = f"{address}, port {place.port}: {why}; no line is sent"
        return failed(_NAME, f"{said}{_waits(case)}", remedy)
    except (OSError, ValueError) as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        remedy = "Does it speak TLS on this port? If not: `syslog set`, protocol tcp."
        shown_why = str(why).lower().replace("_", " ")
        return failed(_NAME, f"{address}, port {place.port}: no TLS: {shown_why}", remedy)
    left = (ssl.cert_time_to_seconds(str(shown["notAfter"])) - case.system.now()) / _DAY_S
    text = f"{address}, port {place.port}: {version} with {name}, certificate ends in"
    text = f"{text} {left:.0f} days{_waits(case)}"
    if left < _RENEW_DAYS:
        return failed(_NAME, text, "Have it renewed: without it no line is sent any more.")
    return passed(_NAME, text)


def _told(case: Case, address: str, place: Endpoint, finding: str) -> str:
    way = route_to(case.system, address)
    source = (way.source if way is not None else "") or "this node"
    return ticket(source, address, place.port, finding)


def _waits(case: Case) -> str:
    """Say how much was not sent yet: rsyslog keeps it on the disk, up to a bound."""
    entries = (
        case.system.entry(f"{_SPOOL}/{name}")
        for name in case.system.list(_SPOOL)
        if name.startswith("agent-proxy-") and not name.endswith(".qi")
    )
    waiting = sum(entry.size for entry in entries if entry is not None)
    return f"; {overview.size(waiting)} of lines wait here" if waiting else ""
