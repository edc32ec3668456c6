"""The part of a diagnosis that asks the network, outwards: to name servers, platform and agents.

Shell. Neighbours: `diagnosis` words what was found; proxy's `probe` does the steps that `check`
does not show: which way, how fast, how large.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Final

from appliance.diagnosis import Case, route_to, ticket
from proxy import probe
from proxy.errors import ConfigurationProblems
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import OutOfTime, ProbeError
from proxy.settings import Endpoint, Zone
from proxy.tls import contexts

__all__ = ["agents", "outwards", "surroundings"]

_DNS_S: Final = 2.0
_TRIES: Final = 3
_AGENT_S: Final = 3.0
_AGENTS_PER_ZONE: Final = 3
_LARGE_BYTES: Final = 3000
_LARGE_S: Final = 6.0
_SLOW_MS: Final = 500.0
_ROOT: Final = b"\0\0\2\0\1"  # the root, NS, IN: every name server knows it


def surroundings(case: Case) -> Iterator[Outcome]:
    """Yield what this machine is connected to: interfaces, default route, name servers."""
    for one in case.facts.interfaces:
        name = f"interface {one.name}"
        shown = ", ".join(one.addresses) or "no address"
        if one.state == "no carrier":
            yield failed(name, "no carrier", "Plug it in, or connect the virtual card.")
        elif one.state != "up":
            yield skipped(name, f"{one.state}, {shown}")
        else:
            yield passed(name, f"up, {shown}, MTU {one.mtu}")
    default = [route for route in case.facts.routes if route.to == "default"]
    if default:
        shown = ", ".join(f"{one.via or 'direct'} by {one.interface}" for one in default)
        yield passed("default route", shown)
    else:
        remedy = "Set one: network set INTERFACE --gateway4 ADDRESS, or let DHCP give it."
        yield skipped("default route", "none: only networks with a route are reached", remedy)
    if not case.facts.dns:
        remedy = "Set some: network dns --server ADDRESS."
        yield skipped("name server", "none is configured", remedy)
    for server in case.facts.dns:
        yield _name_server(case, server)


def _name_server(case: Case, server: str) -> Outcome:
    """Ask one name server for itself: the resolver hides which one is silent."""
    name = f"name server {server}"
    number = secrets.token_bytes(2)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    began = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(case.deadline.left(_DNS_S))
            sock.connect((server, 53))
            sock.send(number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + _ROOT)
            while not sock.recv(4096).startswith(number):
                sock.settimeout(case.deadline.left(_DNS_S))
    except OutOfTime as error:
        return skipped(name, str(error))
    except OSError as error:
        finding = "nothing came back" if isinstance(error, TimeoutError) else error.strerror
        remedy = "Let UDP and TCP port 53 to it pass, or set another: network dns --server."
        return failed(name, f"port 53/udp: {finding}", remedy)
    return passed(name, f"answers in {_ms(began)}")


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.1f} ms"


def outwards(case: Case) -> Iterator[Outcome]:
    """Yield for each address of the platform: the way, the latency, and whether much passes."""
    for place in _dialled(case):
        try:
            addresses = probe.resolve(place, case.deadline, case.settings.timeouts.connect)
        except ProbeError:
            continue  # `upstream name` says it
        for address in addresses:
            yield from _towards(case, place, address)


def _dialled(case: Case) -> tuple[Endpoint, ...]:
    """Return what is connected to: the forward proxy if there is one, else the platform."""
    upstream = case.settings.upstream
    if not upstream.http_proxy:
        return upstream.endpoints
    host, _, port = upstream.http_proxy.removeprefix("http://").rstrip("/").rpartition(":")
    return (Endpoint(host.strip("[]"), int(port)),)


def _towards(case: Case, place: Endpoint, address: str) -> Iterator[Outcome]:
    name = "way to the platform"
    way = route_to(case.system, address)
    if way is None:
        remedy = "Set a route or a gateway: network set INTERFACE --route or --gateway4."
        yield failed(name, f"no route to {address}", remedy)
        return
    source = f"{way.source or 'this node'}{f' ({way.interface})' if way.interface else ''}"
    times: list[float] = []
    try:
        for _ in range(_TRIES):
            began = time.monotonic()
            probe.connect(
                address, place.port, case.deadline, case.settings.timeouts.connect
            ).close()
            times.append((time.monotonic() - began) * 1000)
    except OutOfTime as error:
        yield skipped(name, str(error))
        return
    except ProbeError as error:
        finding = "nothing came back" if "no answer" in str(error) else str(error)
        remedy = f"Open this in the firewall: TCP to {address}, port {place.port}."
        yield failed(name, ticket(source, address, place.port, finding), remedy)
        return
    median = sorted(times)[len(times) // 2]
    finding = f"answered in {min(times):.1f} to {max(times):.1f} ms"
    text = ticket(source, address, place.port, finding)
    if median > _SLOW_MS:
        yield failed(name, text, "The line is slow or loses packets: ask whoever runs it.")
    else:
        yield passed(name, text)
    if not case.settings.upstream.http_proxy:
        yield _large(case, place, address)


def _large(case: Case, place: Endpoint, address: str) -> Outcome:
    """Send a head larger than a packet: where small ones pass only, the MTU on the way is wrong."""
    name = "packet size"
    try:
        context = contexts(case.settings).upstream
    except ConfigurationProblems as problems:
        return skipped(name, f"needs TLS: {problems.problems[0].message}")
    lines = ("HEAD / HTTP/1.1", f"Host: {place}", f"X-Padding: {'x' * _LARGE_BYTES}")
    request = "\r\n".join((*lines, "Connection: close", "", "")).encode()
    segment = 0
    server_name = case.settings.upstream.server_name or place.host
    try:
        plain = probe.connect(address, place.port, case.deadline, case.settings.timeouts.connect)
        plain.settimeout(case.deadline.left(_LARGE_S))
        with plain, context.wrap_socket(plain, server_hostname=server_name) as sock:
            segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            sock.sendall(request)
            sock.recv(1)
    except OutOfTime as error:
        return skipped(name, str(error))
    except (TimeoutError, ConnectionResetError) as error:
        if segment:
            remedy = "Lower it: network set INTERFACE --mtu 1400; or let ICMP of type 3.4 pass."
            text = f"{_LARGE_BYTES} bytes to {address} are lost, with {segment} to a packet"
            return failed(name, f"{text}: {error.strerror or error}", remedy)
        return skipped(name, f"no TLS with {address}")
    except (ProbeError, ssl.SSLError, OSError):
        return skipped(name, f"no TLS with {address}: see `upstream TLS`")
    return passed(name, f"{_LARGE_BYTES} bytes reach {address}, {segment} to a packet")


def agents(case: Case) -> Iterator[Outcome]:
    """Yield for each zone whether agents that called lately can be called: a few of each."""
    for zone in case.settings.zones:
        name = f"agents of {zone.name}"
        recent = _recent(case, zone)
        if not recent:
            remedy = "Agents with a WebSocket need no call; older ones must have called once."
            yield skipped(name, "none that can be called is in the access log", remedy)
        for address in recent:
            yield _call(case, zone, name, address)


def _recent(case: Case, zone: Zone) -> list[str]:
    """Return the agents that called last, without those of the last generation (tunnels)."""
    last = {one.source: one for one in case.log if one.caller == "agent" and one.zone == zone.name}
    callable_ones = [one for one in last.values() if not one.is_tunnel]
    ordered = sorted(callable_ones, key=lambda one: one.time, reverse=True)
    return [one.source for one in ordered[:_AGENTS_PER_ZONE]]


def _call(case: Case, zone: Zone, name: str, address: str) -> Outcome:
    """Connect as the proxy would, through the zone's interface, and send nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    source = zone.source or f"this node{f' ({zone.interface})' if zone.interface else ''}"
    began = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(case.deadline.left(_AGENT_S))
            if zone.interface:
                device = zone.interface.encode() + b"\0"
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            if zone.source:
                sock.bind((zone.source, 0))
            sock.connect((address, zone.port))
    except OutOfTime as error:
        return skipped(name, str(error))
    except OSError as error:
        silent = isinstance(error, TimeoutError)
        finding = "nothing came back" if silent else error.strerror or str(error)
        remedy = f"Open this in the firewall between: TCP to {address}, port {zone.port}."
        if isinstance(error, ConnectionRefusedError):
            remedy = "The machine is there, its agent is not: start it, or set [agents] ports."
        return failed(name, ticket(source, address, zone.port, finding), remedy)
    finding = f"answered in {_ms(began)}"
    return passed(name, ticket(source, address, zone.port, finding))
