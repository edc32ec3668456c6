"""The part of `check` that looks at zones, peers and balancers; with what to do about each.

Shell. Neighbours: `interfaces` asks the kernel, `probe` connects, `outcome` is what comes back;
`check` above. One line for each zone, peer and balancer, and one more where something is amiss.
"""

from __future__ import annotations

import errno
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

from proxy import interfaces, probe
from proxy.check_listeners import can_bind
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import Deadline, OutOfTime, ProbeError
from proxy.settings import Peer, Settings, Zone

__all__ = ["balancers", "peers", "zones"]


def zones(settings: Settings) -> Iterator[Outcome]:
    """Yield whether agents of each zone can arrive, and be called."""
    for zone in settings.zones:
        name = f"zone {zone.name}"
        if zone.interface:
            yield _interface(settings, zone, name)
            if any(network.version == 4 for network in zone.networks):
                yield _filter(zone, name)
        elif zone.network_id:
            yield skipped(name, f"is what a balancer calls {zone.network_id}: ask it")
        elif len(settings.zones) > 1:
            yield passed(name, f"by address: {_networks(zone)}")
        yield from _addresses(settings, zone, name)


def _networks(zone: Zone) -> str:
    return ", ".join(map(str, zone.networks))


def _interface(settings: Settings, zone: Zone, name: str) -> Outcome:
    device = zone.interface
    state = interfaces.state(device)
    where = f"[zones/{zone.name}] interface"
    if state == "missing":
        remedy = f"Create it, or correct {where}: see `ip link`. It is used when it appears."
        return failed(name, f"interface {device} is missing", remedy)
    if state == "down":
        remedy = f"`ip link set {device} up`, and see that its cable or network is there."
        return failed(name, f"interface {device} is down", remedy)
    own = interfaces.addresses(device)
    if not own:
        remedy = f"`ip address add ADDRESS/LENGTH dev {device}`: agents must have one to dial."
        return failed(name, f"interface {device} has no address", remedy)
    twins = [
        other.name
        for other in settings.zones
        if other is not zone
        and any(
            one.version == two.version and one.overlaps(two)
            for one in zone.networks
            for two in other.networks
        )
    ]
    shared = f", told apart by interface from {', '.join(twins)}" if twins else ""
    detail = f"{device} is up with {', '.join(own)}; agents in {_networks(zone)}{shared}"
    return passed(name, detail)


def _filter(zone: Zone, name: str) -> Outcome:
    """The reverse path filter drops what it would answer by another interface, if strict (1)."""
    device = zone.interface
    try:
        values = [
            int(Path(f"/proc/sys/net/ipv4/conf/{one}/rp_filter").read_text())
            for one in ("all", device)
        ]
    except (OSError, ValueError):
        return skipped(f"{name} rp_filter", f"of {device} cannot be read")
    if max(values) == 1:  # the larger one counts
        remedy = f"`sysctl -w net.ipv4.conf.{device}.rp_filter=2`, and a file in /etc/sysctl.d."
        text = f"1 for {device}: agents whose addresses another interface has too are dropped"
        return failed(f"{name} rp_filter", text, remedy)
    return passed(f"{name} rp_filter", f"{max(values)} for {device}")


def _addresses(settings: Settings, zone: Zone, name: str) -> Iterator[Outcome]:
    """Yield what is wrong with the addresses that a zone names; nothing where all is well."""
    if zone.interface and interfaces.state(zone.interface) == "missing":
        return
    for key, address, port in (
        ("listen", zone.listen, settings.listen.port),
        ("source", zone.source, 0),
    ):
        if not address:
            continue
        try:
            can_bind(address, port, zone.interface)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue  # it is ours, and in use: `listener` says by whom
            remedy = f"Give one of this machine's addresses as [zones/{zone.name}] {key}."
            yield failed(f"{name} {key}", f"{address}: {error.strerror}", remedy)


def balancers(settings: Settings) -> Iterator[Outcome]:
    """Yield that nothing can be said of balancers: they call us."""
    for network in settings.listen.balancers:
        yield skipped(
            f"balancer {network}",
            "it calls this node and cannot be asked from here",
            "See its health checks, and caller=balancer in the access log.",
        )


def peers(
    settings: Settings, context: ssl.SSLContext | None, deadline: Deadline
) -> Iterator[Outcome]:
    """Yield whether each nearer peer is there, and is who [peers] says."""
    for peer in settings.peers:
        name = f"peer {peer.id}"
        if not (peer.certificate and peer.certificate_file):
            remedy = f"Copy it here: `agent-proxy register-info` on {peer.id} prints its SHA-256."
            yield failed(name, "certificate or certificate_file is not set: refused", remedy)
        elif peer.endpoint is None:
            yield skipped(name, "it calls this node and cannot be asked from here")
        elif context is None:
            yield skipped(name, "first put the files right that failed above")
        else:
            yield _peer(settings, peer, name, context, deadline)


def _peer(
    settings: Settings, peer: Peer, name: str, context: ssl.SSLContext, deadline: Deadline
) -> Outcome:
    assert peer.endpoint is not None
    place, bound_s = peer.endpoint, settings.timeouts.connect
    try:
        address = probe.resolve(place, deadline, bound_s)[0]
        with probe.connect(address, place.port, deadline, bound_s) as sock:
            shown = hashlib.sha256(probe.certificate(sock, context, deadline)).hexdigest()
    except OutOfTime as error:
        return skipped(name, f"{place}: {error}", "Give more time with --deadline.")
    except ProbeError as error:
        remedy = f"Is {peer.id} running, and does TCP to port {place.port} pass the firewall?"
        return failed(name, f"{place}: {error}", remedy)
    if shown != peer.certificate:
        remedy = f"If {peer.id} has a new one, set certificate to what its register-info prints."
        return failed(name, f"{place} shows another certificate, SHA-256 {shown}", remedy)
    return passed(name, f"{place} is there and shows the certificate in [peers]")
