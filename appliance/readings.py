"""What programs and files of Linux say of a machine, as values.

Values only. Neighbours: `facts` fetches the texts. A text that cannot be read gives nothing rather
than a guess; what is absent is None or empty.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

__all__ = [
    "Interface",
    "Memory",
    "Route",
    "Worker",
    "interfaces",
    "memory",
    "properties",
    "resolvers",
    "routes",
    "way",
]

_VIRTUAL: Final = frozenset({"vlan", "vrf", "bond", "bridge", "veth", "dummy"})


class Interface(NamedTuple):
    """A network interface. `kind` is vlan, vrf, bond, bridge... or empty for a card."""

    name: str
    state: str  # up, down, no carrier
    kind: str = ""
    parent: str = ""
    vlan: int = 0
    mac: str = ""
    mtu: int = 0
    min_mtu: int = 0
    max_mtu: int = 0
    driver: str = ""
    addresses: tuple[str, ...] = ()  # with prefix, without link-local
    dynamic: tuple[str, ...] = ()  # those of them that DHCP or a router gave


class Route(NamedTuple):
    to: str  # "default" or a network
    via: str
    interface: str
    source: str = ""


class Memory(NamedTuple):
    total_bytes: int
    available_bytes: int


class Worker(NamedTuple):
    """A process as supervisor knows it."""

    name: str
    state: str
    detail: str = ""

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING"

    @property
    def is_changing(self) -> bool:
        return self.state in ("STARTING", "STOPPING", "BACKOFF")

    @property
    def is_down(self) -> bool:
        """Whether somebody, or the watchdog, has to start it."""
        return self.state in ("FATAL", "STOPPED", "EXITED", "UNKNOWN")


def interfaces(text: str) -> tuple[Interface, ...]:
    """Return what `ip -j -d addr` says, without the loopback."""
    return tuple(
        _interface(one)
        for one in _objects(text)
        if "LOOPBACK" not in one.get("flags", ()) and one.get("ifname")
    )


def _interface(one: dict[str, Any]) -> Interface:
    # Any: what iproute2 writes as JSON.
    link: dict[str, Any] = one.get("linkinfo") or {}
    kind = str(link.get("info_kind", ""))
    kept = [item for item in one.get("addr_info", ()) if item.get("scope") != "link"]
    return Interface(
        name=str(one["ifname"]),
        state=_state(one),
        kind=kind if kind in _VIRTUAL else "",
        parent=str(one.get("link") or one.get("master") or ""),
        vlan=int((link.get("info_data") or {}).get("id", 0)) if kind == "vlan" else 0,
        mac=str(one.get("address", "")),
        mtu=int(one.get("mtu", 0)),
        min_mtu=int(one.get("min_mtu", 0)),
        max_mtu=int(one.get("max_mtu", 0)),
        addresses=tuple(_with_prefix(item) for item in kept),
        dynamic=tuple(_with_prefix(item) for item in kept if item.get("dynamic")),
    )


def _state(one: dict[str, Any]) -> str:
    flags = one.get("flags", ())
    if "UP" not in flags:
        return "down"
    return "up" if "LOWER_UP" in flags else "no carrier"


def _with_prefix(item: dict[str, Any]) -> str:
    return f"{item.get('local', '')}/{item.get('prefixlen', '')}"


def routes(*texts: str) -> tuple[Route, ...]:
    """Return what `ip -j route` says, without those that come with an address by themselves."""
    return tuple(
        _route(one)
        for text in texts
        for one in _objects(text)
        if one.get("protocol") != "kernel" and one.get("dev") != "lo"
    )


def way(text: str) -> Route | None:
    """Return what `ip -j route get` says; None: there is no way."""
    found = [_route(one) for one in _objects(text)]
    return found[0] if found and found[0].interface else None


def _route(one: dict[str, Any]) -> Route:
    return Route(
        str(one.get("dst", "")),
        str(one.get("gateway", "")),
        str(one.get("dev", "")),
        str(one.get("prefsrc", "")),
    )


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def resolvers(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name servers and search domains of a resolv.conf."""
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver":
            servers += rest[:1]
        elif word in ("search", "domain"):
            search = [one for one in rest if one != "."]
    return tuple(servers), tuple(search)


def memory(text: str) -> Memory | None:
    """Return what /proc/meminfo says."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            values[name] = int(number[0]) * 1024
    if "MemTotal" not in values or "MemAvailable" not in values:
        return None
    return Memory(values["MemTotal"], values["MemAvailable"])


def properties(text: str) -> dict[str, str]:
    """Return lines of NAME=VALUE, as /etc/os-release and `timedatectl show` have them."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found
