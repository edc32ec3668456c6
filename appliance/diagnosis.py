"""What the parts of a diagnosis share: what they work on, and how a firewall ticket is worded.

Shell types. Neighbours: the `diagnose_*` modules ask, `diagnostics` puts them in order. Outcomes
are those of proxy's `check`: PASS, FAIL or SKIP, with a remedy.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from appliance import access_log, readings
from appliance.access_log import Seen
from appliance.facts import Facts
from appliance.places import Places
from appliance.readings import Route
from appliance.system import NOT_FOUND, System
from proxy.probe import Deadline
from proxy.settings import Settings

__all__ = ["Case", "route_to", "seen", "ticket"]

_TAIL_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One diagnosis: the machine, what is known of it, and the time there is."""

    system: System
    places: Places
    facts: Facts
    settings: Settings
    deadline: Deadline
    log: tuple[Seen, ...]


def seen(system: System, places: Places) -> tuple[Seen, ...]:
    """Return the exchanges in the last part of the access logs."""
    names = system.list(places.logs)
    texts = [
        system.tail(f"{places.logs}/{name}", _TAIL_BYTES)[0].decode(errors="replace")
        for name in names
        if name.startswith("access-") and name.endswith(".log")
    ]
    return tuple(access_log.parse("\n".join(texts)))


def ticket(source: str, destination: str, port: int, finding: str) -> str:
    """Return a finding in the words of a firewall ticket."""
    return f"from {source} to {destination}, port {port}/tcp: {finding}"


def route_to(system: System, address: str) -> Route | None:
    """Return which way a packet to `address` takes, and from which address; None: no way.

    Without the program nothing is known but the address, and the connection itself will tell.
    """
    family = "-6" if ipaddress.ip_address(address).version == 6 else "-4"
    done = system.ask(("ip", "-j", family, "route", "get", address))
    return Route(address, "", "") if done.code == NOT_FOUND else readings.way(done.out)
