"""The appliance's own settings: what is not in proxy.ini. Kept in /etc/agent-proxy/appliance.json.

Pure. Neighbours: `codec` turns these into JSON and back; the topic modules say what is sensible
(`validate`) and what follows from it (`render`). Everything here is text, numbers and tuples, so
that a file can be read completely before anything is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from appliance import codec

__all__ = [
    "PATH",
    "Access",
    "Appliance",
    "Firewall",
    "Interface",
    "Network",
    "Opening",
    "Route",
    "Syslog",
    "Time",
    "Updates",
    "from_json",
    "to_json",
]

PATH: Final = "/etc/agent-proxy/appliance.json"


@dataclass(frozen=True, slots=True)
class Route:
    """`to` is a network, `via` the router's address; empty: directly through the interface."""

    to: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. A VLAN is an entry of its own, named PARENT.NUMBER, with its own addresses.

    `dhcp4` and static addresses may both be used. `ipv6`: auto follows router advertisements,
    and DHCPv6 where these say so; static takes only what is written here; off has none.
    """

    name: str
    dhcp4: bool = True
    ipv6: Literal["auto", "static", "off"] = "auto"
    addresses: tuple[str, ...] = ()  # with prefix: 10.1.2.3/24
    gateway4: str = ""
    gateway6: str = ""
    routes: tuple[Route, ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int = 0  # 0: the driver's own
    vlans: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """`hostname` empty keeps the machine's. An interface that is not named is left alone."""

    hostname: str = ""
    interfaces: tuple[Interface, ...] = ()
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Time:
    """`servers` empty: what DHCP names, or Debian's own. `timezone` empty keeps the machine's."""

    servers: tuple[str, ...] = ()
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """SSH, by keys only. `networks` empty: from everywhere the firewall lets in."""

    ssh: bool = False
    keys: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Syslog:
    """Where log lines are sent as well. `target` empty: nowhere."""

    target: str = ""  # host:port
    protocol: Literal["tcp", "tls"] = "tls"
    ca: str = ""  # PEM; empty: the system's authorities
    server_name: str = ""  # empty: the host of the target


@dataclass(frozen=True, slots=True)
class Updates:
    """Security updates by themselves, in a window of local time, or not at all."""

    mode: Literal["security", "off"] = "security"
    start: str = "03:00"
    window_minutes: int = 60
    reboot: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """One more port that the firewall lets in, for what an operator runs beside the proxy."""

    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Firewall:
    openings: tuple[Opening, ...] = ()
    ping: bool = True


@dataclass(frozen=True, slots=True)
class Appliance:
    network: Network = Network()
    time: Time = Time()
    access: Access = Access()
    syslog: Syslog = Syslog()
    updates: Updates = Updates()
    firewall: Firewall = Firewall()


def from_json(text: bytes | None) -> Appliance:
    """Return the settings in `text`; None, no file yet, are the defaults. Raises: Problems."""
    return Appliance() if text is None else codec.decode(text, Appliance)


def to_json(appliance: Appliance) -> bytes:
    """Return the content of the file: every value, defaults included, in a fixed order."""
    return codec.encode(appliance)
