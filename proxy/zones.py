"""Which listeners the zones need, and which zone a caller is in.

Layer 0 (pure). Neighbours: `settings` below; `entrances` opens what is asked for here, `callers`
judges the caller inside the zone that is found here.

A zone with an interface is what arrives through that interface, whatever its address: so two
zones may have the same addresses. Zones without one share the listeners of [listen] and are told
apart by address; the configuration refuses those that overlap. A zone with a network_id is what a
balancer says came from there. Who is in no zone is in NOWHERE: the platform and peers may be, an
agent is a stranger there.
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeAlias

from proxy.settings import Network, Settings, Zone

__all__ = [
    "NOWHERE",
    "Address",
    "Key",
    "inside",
    "is_optional",
    "listeners",
    "zone_of",
    "zone_told",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Key: TypeAlias = tuple[str, str, int]
"""Address, device, port of a listener."""

NOWHERE: Final = Zone("-", "", "", "", (), 0, "")


def listeners(settings: Settings, others: tuple[str, ...] = ()) -> dict[Key, tuple[Zone, ...]]:
    """Return every listener there should be, with the zones whose agents may arrive there.

    The addresses of [listen] are always among them: the platform calls there. As soon as one zone
    has an interface they are opened on each of `others`, the interfaces that no zone has: among
    sockets that share a port (SO_REUSEPORT) the kernel takes the first it finds, and not the one
    that is bound to the interface (seen with IPv6, Linux 6.18, 2026-11).
    """
    port = settings.listen.port
    devices = others if any(zone.interface for zone in settings.zones) else ("",)
    found: dict[Key, tuple[Zone, ...]] = {
        (address, device, port): () for address in settings.listen.addresses for device in devices
    }
    for zone in settings.zones:
        if zone.network_id and not zone.interface and not zone.listen:
            continue  # only a balancer can say that somebody is there
        addresses = (zone.listen,) if zone.listen else settings.listen.addresses
        for address in addresses:
            for device in (zone.interface,) if zone.interface else devices:
                key = (address, device, port)
                found[key] = (*found.get(key, ()), zone)
    return found


def inside(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def is_optional(settings: Settings, key: Key) -> bool:
    """Whether a worker starts without this listener: it is one zone's, or one interface's."""
    return bool(key[1]) or key[0] not in settings.listen.addresses


def zone_of(source: Address, zones: tuple[Zone, ...]) -> Zone:
    """Return the zone, of those that a listener serves, that `source` is in."""
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped  # how a balancer's dual-stack socket spells it
    for zone in zones:
        if zone.interface or inside(source, zone.networks):
            return zone
    return NOWHERE


def zone_told(
    source: Address, zones: tuple[Zone, ...], everywhere: tuple[Zone, ...], told: tuple[str, ...]
) -> Zone:
    """Return the zone of a caller behind a balancer.

    `zones` are those of the listener, `everywhere` all of them, `told` what the PROXY header says
    of the caller's network. Where the balancer names networks and zones are named by them, an
    unknown name is nowhere: another network's addresses mean nothing in ours.
    """
    named = {zone.network_id: zone for zone in everywhere if zone.network_id}
    for name in told:
        if name in named:
            return named[name]
    if told and named:
        return NOWHERE
    return zone_of(source, zones)
