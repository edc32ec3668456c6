"""The part of a diagnosis that waits for others: does the platform arrive, do agents.

Shell. Neighbours: `arrivals` watches the wire while everything else is asked, `diagnosis` words it.
Whoever has called lately needs no waiting for. What never arrived is a matter of the network
outside; what arrived and is let in nowhere is one of settings, or of a NAT that hides the caller.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final

from appliance.arrivals import Arrivals
from appliance.diagnosis import Case, ticket
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.settings import Network, Zone

__all__ = ["outcomes", "registration"]

_PAUSE_S: Final = 0.5
_STRANGERS_SHOWN: Final = 3


def registration(case: Case) -> Outcome:
    """Return whether the platform has asked for the registration, as far as the log reaches."""
    asked = [one for one in case.log if one.is_registration]
    if asked:
        last = asked[-1]
        if last.status == 200:
            return passed("registration", f"asked for by {last.source} at {last.time}")
        remedy = "Set proxy ID and secret, then let the platform ask again."
        return failed("registration", f"asked for at {last.time}, answered {last.status}", remedy)
    if any(one.caller == "platform" for one in case.log):
        return passed("registration", "the platform calls; its first question is no longer logged")
    remedy = "Name this node's IP:port to the platform: platform register-info."
    return skipped("registration", "the platform has not asked for it in the logs kept", remedy)


def outcomes(
    case: Case,
    arrivals: Arrivals | None,
    waited: Callable[[], float],
    wait_s: float,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Yield the direction inwards, of the platform and of each zone; waits up to `wait_s`.

    `waited` tells the seconds since `arrivals` began; None: the wire cannot be watched.
    """
    expected = case.settings.listen.balancers or case.settings.platform.networks
    if arrivals is not None and not _has_called(case, "platform"):
        while waited() < wait_s and not stop() and not _inside(arrivals.seen, expected):
            case.system.pause(_PAUSE_S)
    found = None if arrivals is None else _others(case, arrivals.seen)
    seconds = max(1, round(waited()))
    yield _platform(case, found, expected, seconds)
    for zone in case.settings.zones:
        yield _zone(case, zone, found, seconds)


def _others(case: Case, found: dict[str, int]) -> dict[str, int]:
    """Leave out this node's own addresses: the self-test calls from them."""
    own = {text.partition("/")[0] for one in case.facts.interfaces for text in one.addresses}
    return {source: count for source, count in found.items() if source not in own}


def _has_called(case: Case, caller: str) -> str:
    """Return when the platform last called, empty if the log does not know."""
    times = [one.time for one in case.log if one.caller == caller]
    return times[-1] if times else ""


def _platform(
    case: Case, found: dict[str, int] | None, expected: tuple[Network, ...], seconds: int
) -> Outcome:
    name = "way from the platform"
    port = case.settings.listen.port
    through = " (the balancer)" if case.settings.listen.balancers else ""
    if not expected:
        remedy = "Say from where it calls: platform networks ADDRESS."
        return skipped(name, "no network of the platform is set: nobody may call", remedy)
    source = ", ".join(str(one).removesuffix("/32").removesuffix("/128") for one in expected)
    inside = _inside(found or {}, expected)
    if inside:
        told = ", ".join(f"{one} ({count} times)" for one, count in inside.items())
        return passed(name, f"port {port}: {told}{through} arrived in {seconds} s")
    last = _has_called(case, "platform")
    if last:
        return passed(name, f"the platform called at {last}")
    if found is None:
        return skipped(name, "the wire cannot be watched: CAP_NET_RAW is missing", "Run as root.")
    text = ticket(source + through, "this node", port, f"nothing arrived in {seconds} s")
    remedy = "Open this in the firewall, and let the platform call: a registration will do."
    strangers = _strangers(case, found)
    if strangers:
        text += f"; but {strangers} arrived, who may not call"
        remedy = "Does a NAT hide the platform's address? Then keep it, or see platform networks."
    return failed(name, text, remedy)


def _zone(case: Case, zone: Zone, found: dict[str, int] | None, seconds: int) -> Outcome:
    name = f"way from {zone.name}"
    port = case.settings.listen.port
    for one in (case.facts.status or {}).get("zones") or ():
        if one.get("name") == zone.name and one.get("connections"):
            return passed(name, f"{one['connections']} connections are open")
    inside = _inside(found or {}, zone.networks)
    barred = _inside(inside, case.settings.platform.networks)
    arrived = [one for one in inside if one not in barred]
    if arrived:
        return passed(name, f"port {port}: {len(arrived)} addresses arrived in {seconds} s")
    called = [one.time for one in case.log if one.caller == "agent" and one.zone == zone.name]
    if called:
        return passed(name, f"an agent called at {called[-1]}")
    if found is None:
        return skipped(name, "the wire cannot be watched: CAP_NET_RAW is missing", "Run as root.")
    networks = ", ".join(map(str, zone.networks))
    text = ticket(networks, zone.listen or "this node", port, f"nothing arrived in {seconds} s")
    remedy = "Agents try every 5 minutes or more: look longer with --wait 360, or start one."
    return skipped(name, text, remedy)


def _inside(found: dict[str, int], networks: tuple[Network, ...]) -> dict[str, int]:
    return {
        source: count
        for source, count in found.items()
        if any(ipaddress.ip_address(source) in network for network in networks)
    }


def _strangers(case: Case, found: dict[str, int]) -> str:
    """Return who arrived and is nobody here, the most frequent first."""
    settings = case.settings
    known = [*settings.platform.networks, *settings.listen.balancers]
    known += [network for peer in settings.peers for network in peer.networks]
    known += [network for zone in settings.zones for network in zone.networks]
    inside = _inside(found, tuple(known))
    others = {one: count for one, count in found.items() if one not in inside}
    first = sorted(others, key=lambda one: -others[one])[:_STRANGERS_SHOWN]
    return ", ".join(f"{one} ({others[one]} times)" for one in first)
