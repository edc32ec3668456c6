"""Whether the node works, asked before a change and after it.

Shell. Neighbours: `facts` reads the status, proxy's `check_upstream` and `probe` ask the upstream;
`commit` judges. The names of the outcomes are the same before and after.

The loopback exchange goes through the node's own port like an agent's: TCP, TLS, head, answer.
It carries the node's own ID in Via, so that the node answers 508 by itself and the platform sees
nothing of it.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance import facts, readings
from appliance.system import System
from proxy import certificates, check_upstream
from proxy.errors import ConfigurationProblems
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import Deadline, Shake
from proxy.settings import Settings, digest
from proxy.tls import contexts

__all__ = ["SelfTest", "exchange", "in_force", "ready", "reachable", "roomy"]

_PATIENCE_S: Final = 30.0
_UPSTREAM_S: Final = 6.0
_PAUSE_S: Final = 0.5
_EXCHANGE_S: Final = 5.0
_HEAD_LIMIT_BYTES: Final = 16384
_LOOP_DETECTED: Final = b"508"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Call it with the names that must pass: for these it waits until they do, or time is over."""

    system: System
    conf: str
    stop: Callable[[], bool] = lambda: False  # nobody wants to wait any more

    def __call__(self, expected: frozenset[str]) -> list[Outcome]:
        found, problems = facts.configured(self.system, self.conf)
        if found is None:
            remedy = "See `agent-proxy-appliance settings show`."
            return [failed("settings", problems[0], remedy)]
        system, known = self.system, found
        asked: tuple[tuple[str, Callable[[], Outcome]], ...] = (
            ("ready", lambda: ready(system, known)),
            ("settings in force", lambda: in_force(system, known)),
            ("connection limit", lambda: roomy(system, known)),
            ("upstream", lambda: reachable(known)),
            ("loopback exchange", lambda: exchange(system, known)),
        )
        end = system.uptime() + _PATIENCE_S  # one for all
        return [self._patiently(ask, end if name in expected else 0.0) for name, ask in asked]

    def _patiently(self, ask: Callable[[], Outcome], end: float) -> Outcome:
        """Ask until it passes or the time is over; at least once."""
        while True:
            outcome = ask()
            if outcome.verdict == "PASS" or self.system.uptime() >= end or self.stop():
                return outcome
            self.system.pause(_PAUSE_S)


def ready(system: System, settings: Settings) -> Outcome:
    """Return whether a worker takes traffic."""
    page = system.fetch(settings.admin.address, settings.admin.port, "/ready")
    if page is None:
        return failed("ready", "no worker answers", "See `agent-proxy-appliance services status`.")
    if page.status != 200:
        detail = " ".join(page.body.decode(errors="replace").split())[:200]
        return failed("ready", detail, "Each worker says what it lacks.")
    return passed("ready", "the node takes traffic")


def in_force(system: System, settings: Settings) -> Outcome:
    """Return whether every worker runs with the settings that are in the file."""
    name = "settings in force"
    document = facts.status(system, settings)
    if document is None:
        return failed(name, "no worker answers", "See `agent-proxy-appliance services status`.")
    wrong = [text for one in document.get("workers", ()) for text in one.get("reloadProblems", ())]
    if wrong:
        return failed(name, str(wrong[0]), "The old settings are still in force.")
    digests = {one.get("configDigest") for one in document.get("workers", ())}
    if {document.get("configDigest"), *digests} != {digest(settings)}:
        remedy = "Restart the workers: `agent-proxy-appliance services rolling-restart`."
        return failed(name, "the workers run with other settings than the file has", remedy)
    content = system.read(settings.listen.certificate)
    if content is not None and not _is_shown(content, document.get("certificateSha256")):
        remedy = "Restart the workers: `agent-proxy-appliance services rolling-restart`."
        return failed(name, "the workers show another certificate than the file has", remedy)
    return passed(name, "all workers run with the file's settings")


def roomy(system: System, settings: Settings) -> Outcome:
    """Return whether every worker may hold as many connections as are configured."""
    name = "connection limit"
    document = facts.status(system, settings)
    workers = (document or {}).get("workers") or ()
    if not workers:
        return failed(name, "no worker answers", "See `agent-proxy-appliance services status`.")
    most = settings.limits.connections
    wanted = most - max(1, most * settings.limits.platform_share // 100)
    for one in workers:
        held = one.get("connectionsLimit", wanted)
        if held < wanted:
            detail = f"worker {one.get('worker')} may hold {held} connections of agents"
            remedy = "Lower [limits] connections, or raise LimitNOFILE of the service, restart it."
            return failed(name, f"{detail}, not {wanted}: it has too few descriptors", remedy)
    return passed(name, f"each of {len(workers)} workers may hold {most}")


def _is_shown(content: bytes, sha256: object) -> bool:
    try:
        return certificates.facts(content).sha256 == sha256
    except ValueError:
        return False


def reachable(settings: Settings) -> Outcome:
    """Return whether one upstream endpoint can be reached, TLS included."""
    if not settings.upstream.endpoints:
        return skipped("upstream", "no endpoint is set")
    try:
        context = contexts(settings).upstream
    except ConfigurationProblems as problems:
        first = problems.problems[0]
        return failed("upstream", f"{first.key}: {first.message}", first.remedy)
    deadline, shakes = Deadline(_UPSTREAM_S), list[Shake]()
    worst: Outcome | None = None
    for place in settings.upstream.endpoints:
        for outcome in check_upstream.endpoint(settings, context, place, deadline, shakes):
            if outcome.name == "upstream TLS" and outcome.verdict == "PASS":
                return passed("upstream", outcome.detail)
            worst = outcome if outcome.verdict != "PASS" else worst
    if worst is None:
        return failed("upstream", "no endpoint answers", "See `agent-proxy-appliance diagnose`.")
    return failed("upstream", worst.detail, worst.remedy or "See `agent-proxy-appliance diagnose`.")


def exchange(system: System, settings: Settings) -> Outcome:
    """Return whether the node answers on its own port, asked as an agent from here."""
    name = "loopback exchange"
    if not settings.proxy.id:
        return skipped(name, "no proxy ID is set")
    own = _own_agent_address(system, settings)
    if own is None:
        remedy = "An agent outside will tell; nothing is wrong."
        return skipped(name, "no address of this machine is in the networks of a zone", remedy)
    address, listening = own
    shown = f"{listening} port {settings.listen.port}"
    try:
        status = _ask(address, listening, settings)
    except OSError as error:
        detail = f"{shown}: {error.strerror or error}"
        return failed(name, detail, "See `agent-proxy-appliance services logs`.")
    if status != _LOOP_DETECTED:
        detail = f"{shown} answers {status.decode('latin-1') or 'nothing'} instead of 508"
        return failed(name, detail, "Does another program have this port?")
    return passed(name, f"{shown} answers over TLS")


def _own_agent_address(system: System, settings: Settings) -> tuple[str, str] | None:
    """Return an address of this machine that counts as an agent's, and where to call from it.

    A balancer in front, or zones with interfaces of their own, see no caller from here.
    """
    own = readings.interfaces(system.ask(("ip", "-j", "-d", "addr")).out)
    texts = [text.partition("/")[0] for one in own for text in one.addresses]
    networks = [net for zone in settings.zones if not zone.interface for net in zone.networks]
    if settings.agents.allow_loopback:  # the demonstration
        texts += [str(net[min(1, net.num_addresses - 1)]) for net in networks if net.is_loopback]
    barred = (*settings.platform.networks, *settings.listen.balancers)
    for text in texts:
        address = ipaddress.ip_address(text)
        if any(address in net for net in networks) and not any(address in net for net in barred):
            wild = "::" if address.version == 6 else "0.0.0.0"
            listening = settings.listen.addresses
            if text in listening or wild in listening:
                return text, text
            if settings.agents.allow_loopback and listening:
                return text, listening[0]
    return None


def _ask(source: str, address: str, settings: Settings) -> bytes:
    """Return the status of an answer to a request that has passed this node before."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is our own
    lines = ("GET / HTTP/1.1", "Host: self-test", f"Via: 1.1 {settings.proxy.id}")
    request = "\r\n".join((*lines, "Connection: close", "", "")).encode()
    place = (address, settings.listen.port)
    with socket.create_connection(place, _EXCHANGE_S, (source, 0)) as plain:
        with context.wrap_socket(plain) as sock:
            sock.sendall(request)
            head = b""
            while b"\r\n" not in head and len(head) < _HEAD_LIMIT_BYTES:
                piece = sock.recv(4096)
                if not piece:
                    break
                head += piece
    return b"".join(head.split(b" ", 2)[1:2])
