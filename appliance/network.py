"""Interfaces, routes, name servers and the host name, by systemd-networkd and -resolved.

Values. Neighbours: `model` holds what is wanted, `readings` what is there; `network_verbs` above.
Each interface named in the settings gets a .network file of ours that comes before Debian's and the
image's; one that is not named is left alone. A VLAN is a .netdev and a .network.

Two interfaces may have the same networks and addresses: that is what zones are for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from appliance import fields, readings
from appliance.errors import Problem
from appliance.model import Interface, Network
from appliance.plan import Action, Plan, Write, rendered

__all__ = ["plan", "render", "validate"]

_RELOAD: Final = ("networkctl", "reload")
_FOLDER: Final = "/etc/systemd/network"
_RESOLVED: Final = "/etc/systemd/resolved.conf.d/50-agent-proxy.conf"
_MIN_MTU: Final = 576  # RFC 791; RFC 8200 wants 1280 for IPv6
_MIN_MTU_6: Final = 1280
_ETHERNET_MTU: Final = 1500


def validate(wanted: Network, there: Sequence[readings.Interface]) -> list[Problem]:
    """Return everything that is wrong; `there` are the interfaces of this machine."""
    problems = list(_of_names(wanted, there))
    for number, text in enumerate(wanted.dns, 1):
        problems += _checked(f"network.dns.{number}", text, fields.address, "Give an IP address.")
    for number, text in enumerate(wanted.search, 1):
        remedy = "Give a domain such as example.com."
        problems += _checked(f"network.search.{number}", text, fields.domain, remedy)
    for interface in wanted.interfaces:
        problems += _of_interface(interface, wanted, there)
    problems += _of_gateways(wanted)
    if wanted.interfaces and not any(_may_have_address(one) for one in wanted.interfaces):
        managed = {one.name for one in wanted.interfaces}
        if all(one.name in managed or not one.addresses for one in there):
            message = "no interface would have an address: nobody could reach this machine"
            problems.append(Problem("network.interfaces", "", message, "Give one DHCP or address."))
    return problems


def _of_names(wanted: Network, there: Sequence[readings.Interface]) -> Iterator[Problem]:
    if wanted.hostname:
        remedy = "Give letters, digits and hyphens, dots between parts, 64 characters at most."
        yield from _checked("network.hostname", wanted.hostname, fields.hostname, remedy)
    known = {one.name for one in there}
    vlans = {f"{one.name}.{number}" for one in wanted.interfaces for number in one.vlans}
    names = [one.name for one in wanted.interfaces]
    for name in names:
        place = f"network.interfaces.{name}"
        if names.count(name) > 1:
            yield Problem(place, name, "is given twice", "Keep one of the two.")
        parent, dot, _ = name.rpartition(".")
        if name in vlans:
            continue
        if dot and any(one.name == parent for one in there):
            remedy = f"Add the number to the VLANs of {parent}, or reset {name}."
            yield Problem(place, name, f"is no VLAN of {parent}", remedy)
        elif name not in known:
            remedy = f"There are: {', '.join(sorted(known)) or 'none'}."
            yield Problem(place, name, "this machine has no such interface", remedy)


def _checked(
    place: str, text: str, check: Callable[[str], object], remedy: str
) -> Iterator[Problem]:
    try:
        check(text)
    except ValueError as error:
        yield Problem(place, text, str(error), remedy)


def _of_interface(
    one: Interface, wanted: Network, there: Sequence[readings.Interface]
) -> Iterator[Problem]:
    place = f"network.interfaces.{one.name}"
    for text in one.addresses:
        remedy = "Give an address with prefix, such as 10.1.2.3/24."
        yield from _checked(f"{place}.addresses", text, fields.address_with_prefix, remedy)
        if one.ipv6 == "off" and ":" in text:
            remedy = "Set ipv6 to static, or take this address away."
            yield Problem(f"{place}.addresses", text, "IPv6 is off here", remedy)
    if len(set(one.addresses)) != len(one.addresses):
        message = "the same address is given twice"
        yield Problem(f"{place}.addresses", "", message, "Keep one of the two.")
    for key, version in (("gateway4", 4), ("gateway6", 6)):
        text = str(getattr(one, key))
        if text:
            yield from _of_router(f"{place}.{key}", text, one, version)
    for route in one.routes:
        remedy = "Give a network such as 10.50.0.0/16."
        yield from _checked(f"{place}.routes", route.to, fields.network, remedy)
        if route.via:
            yield from _of_router(f"{place}.routes", route.via, one, 6 if ":" in route.to else 4)
    for text in one.dns:
        yield from _checked(f"{place}.dns", text, fields.address, "Give an IP address.")
    yield from _of_vlans(place, one)
    yield from _of_mtu(place, one, wanted, there)


def _of_router(place: str, text: str, one: Interface, version: int) -> Iterator[Problem]:
    """A router must be in a network of the interface, as far as those are known."""
    try:
        router = fields.address(text)
    except ValueError as error:
        yield Problem(place, text, str(error), "Give the router's IP address.")
        return
    if router.version != version:
        yield Problem(place, text, f"is not IPv{version}", f"Give an IPv{version} address.")
        return
    if router.version == 6 and router.is_link_local:
        return
    own = _interfaces(one, version)
    if any(router == inner.ip for inner in own):
        yield Problem(place, text, "is this machine's own address", "Give the router's.")
    elif not any(router in inner.network for inner in own) and not _is_automatic(one, version):
        networks = ", ".join(str(inner.network) for inner in own) or "none"
        remedy = f"Give one inside the networks of {one.name}: {networks}."
        yield Problem(place, text, "cannot be reached directly", remedy)


def _is_automatic(one: Interface, version: int) -> bool:
    return one.dhcp4 if version == 4 else one.ipv6 == "auto"


def _interfaces(
    one: Interface, version: int
) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    found = []
    for text in one.addresses:
        try:
            inner = fields.address_with_prefix(text)
        except ValueError:
            continue  # a problem of its own
        if inner.version == version:
            found.append(inner)
    return found


def _of_vlans(place: str, one: Interface) -> Iterator[Problem]:
    for number in one.vlans:
        if not 1 <= number <= 4094:
            yield Problem(f"{place}.vlans", str(number), "is no VLAN", "Give 1 to 4094.")
        elif len(f"{one.name}.{number}") > 15:
            message = f"{one.name}.{number} is longer than 15 characters"
            remedy = "Linux allows 15: rename the interface first."
            yield Problem(f"{place}.vlans", str(number), message, remedy)
    if len(set(one.vlans)) != len(one.vlans):
        yield Problem(f"{place}.vlans", "", "a VLAN is given twice", "Keep one of the two.")
    if one.vlans and "." in one.name:
        message = "a VLAN inside a VLAN is not offered"
        yield Problem(f"{place}.vlans", "", message, "Give them to the interface below.")


def _of_mtu(
    place: str, one: Interface, wanted: Network, there: Sequence[readings.Interface]
) -> Iterator[Problem]:
    if not one.mtu:
        return
    low = _MIN_MTU if one.ipv6 == "off" else _MIN_MTU_6
    known = next((inner for inner in there if inner.name == one.name), None)
    high = (known.max_mtu if known else 0) or 65535
    parent = next((i for i in wanted.interfaces if i.name == one.name.rpartition(".")[0]), None)
    if parent is not None and parent.mtu:
        high = min(high, parent.mtu)
    if not low <= one.mtu <= high:
        remedy = f"Give {low} to {high}, or 0 for what the network says."
        yield Problem(f"{place}.mtu", str(one.mtu), "does not fit this interface", remedy)


def _of_gateways(wanted: Network) -> Iterator[Problem]:
    for key in ("gateway4", "gateway6"):
        having = [one.name for one in wanted.interfaces if getattr(one, key)]
        if len(having) > 1:
            message = f"there is a default gateway on {having[0]} already"
            remedy = "Keep one; reach other networks by routes."
            yield Problem(f"network.interfaces.{having[1]}.{key}", "", message, remedy)


def _may_have_address(one: Interface) -> bool:
    return bool(one.dhcp4 or one.addresses or one.ipv6 == "auto")


def render(wanted: Network) -> tuple[Write, ...]:
    """Return every file that follows from the settings."""
    writes = []
    for one in wanted.interfaces:
        for number in one.vlans:
            name = f"{one.name}.{number}"
            lines = ["[NetDev]", f"Name={name}", "Kind=vlan", "", "[VLAN]", f"Id={number}"]
            writes.append(Write(f"{_FOLDER}/10-agent-proxy-{name}.netdev", rendered(lines)))
        content = rendered(_network_lines(one))
        writes.append(Write(f"{_FOLDER}/10-agent-proxy-{one.name}.network", content))
    if wanted.dns or wanted.search:
        lines = ["[Resolve]", f"DNS={' '.join(wanted.dns)}", f"Domains={' '.join(wanted.search)}"]
        writes.append(Write(_RESOLVED, rendered(lines)))
    return tuple(writes)


def _network_lines(one: Interface) -> list[str]:
    lines = ["[Match]", f"Name={one.name}", "", "[Network]"]
    lines.append(f"DHCP={'ipv4' if one.dhcp4 else 'no'}")
    lines.append(f"IPv6AcceptRA={'yes' if one.ipv6 == 'auto' else 'no'}")
    lines.append(f"LinkLocalAddressing={'no' if one.ipv6 == 'off' else 'ipv6'}")
    lines += [f"Address={text}" for text in one.addresses]
    lines += [f"DNS={text}" for text in one.dns]
    lines += [f"VLAN={one.name}.{number}" for number in one.vlans]
    if not one.mtu and "." in one.name:
        pass  # a VLAN has its parent's
    elif one.mtu or not one.dhcp4:
        lines += ["", "[Link]", f"MTUBytes={one.mtu or _ETHERNET_MTU}"]
    else:  # overlay networks of clouds tell their smaller MTU by DHCP
        lines += ["", "[DHCPv4]", "UseMTU=yes"]
    for text in (one.gateway4, one.gateway6):
        if text:
            lines += ["", "[Route]", f"Gateway={text}"]
    for route in one.routes:
        lines += ["", "[Route]", f"Destination={route.to}"]
        lines += [f"Gateway={route.via}"] if route.via else ["Scope=link"]
    return lines


def _vlans(network: Network) -> list[str]:
    return [f"{one.name}.{number}" for one in network.interfaces for number in one.vlans]


def _gone(name: str) -> Action:
    """networkd never removes an interface; taken back, it makes it again from its file."""
    return Action(_take_away(name), f"taking the VLAN {name} away", reverse=_RELOAD)


def _come(name: str) -> Action:
    """networkd makes it of its file; only if that is taken back there is something to do."""
    return Action((), f"making the VLAN {name}", reverse=_take_away(name))


def _take_away(name: str) -> tuple[str, ...]:
    return ("systemctl", "start", f"agent-proxy-vlan-gone@{name}.service")


def plan(now: Network, wanted: Network, hostname: str) -> Plan:
    """Return what turns one into the other; `hostname` is what the machine is called now."""
    writes, before = render(wanted), {write.path: write for write in render(now)}
    after = {write.path for write in writes}
    removals = tuple(path for path in before if path not in after)
    changed = {write.path for write in writes if before.get(write.path) != write} | set(removals)
    actions = []
    if any(path.startswith(_FOLDER) for path in changed):
        actions.append(Action(_RELOAD, "letting networkd read its files again"))
    old, new = _vlans(now), _vlans(wanted)
    actions += [_gone(name) for name in old if name not in new]
    actions += [_come(name) for name in new if name not in old]
    if _RESOLVED in changed:
        argv = ("systemctl", "restart", "systemd-resolved.service")
        actions.append(Action(argv, "restarting the resolver"))
    if wanted.hostname and wanted.hostname != hostname:
        actions.append(
            Action(
                ("hostnamectl", "set-hostname", wanted.hostname),
                "setting the host name",
                reverse=("hostnamectl", "set-hostname", hostname) if hostname else (),
                files=("/etc/hostname",),
            )
        )
    return Plan("network", writes, removals, tuple(actions))
