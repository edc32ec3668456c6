"""What may stand in a field: each check raises ValueError with what is wrong.

Values. Neighbours: the topic modules above turn these into problems beside their field.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from proxy import chain

__all__ = [
    "IP",
    "address",
    "address_with_prefix",
    "authorities",
    "clock_time",
    "domain",
    "endpoint",
    "host",
    "hostname",
    "interface_name",
    "network",
    "or_off",
    "path",
    "router",
    "vlan",
    "zone_name",
]

_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
_NAME_LIMIT: Final = 64  # of Linux, HOST_NAME_MAX

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_WithPrefix: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,14}")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def address(text: str) -> IP:
    try:
        if "%" in text:
            raise ValueError
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("is not an IP address") from None


def address_with_prefix(text: str) -> _WithPrefix:
    """Return what a machine can have: no network, broadcast or special address."""
    bare, slash, _ = text.partition("/")
    address(bare)
    if not slash:
        raise ValueError("has no prefix length")
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError("has no valid prefix length") from None
    if found.ip.is_loopback or found.ip.is_multicast or found.ip.is_unspecified:
        raise ValueError("is not an address that a machine can have")
    if found.ip.is_link_local:
        raise ValueError("is link-local: the system gives these by itself")
    hosts = found.network.num_addresses > 2
    if hosts and found.version == 4:
        if found.ip == found.network.network_address:
            raise ValueError("is the network's own address")
        if found.ip == found.network.broadcast_address:
            raise ValueError("is the network's broadcast address")
    return found


def network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is not a network") from None
    raise ValueError(f"has bits behind its prefix; the network is {meant}")


def domain(text: str) -> str:
    """Return a domain name, a final dot allowed."""
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(one) for one in labels):
        raise ValueError("is not a domain name")
    return text


def host(text: str) -> str:
    """Return a name or an address."""
    try:
        return str(address(text))
    except ValueError:
        pass
    if text.replace(".", "").isdigit():
        raise ValueError("is neither a name nor an address")
    return domain(text)


def hostname(text: str) -> str:
    """Return what a machine can be called."""
    if len(text) > _NAME_LIMIT or text.endswith("."):
        raise ValueError("is too long, or ends with a dot")
    if text.replace(".", "").isdigit():
        raise ValueError("is a number")
    return domain(text)


def router(version: int) -> Callable[[str], IP]:
    """Return what judges a router's address of this version of IP."""

    def check(text: str) -> IP:
        found = address(text)
        if found.version != version:
            raise ValueError(f"is not IPv{version}")
        return found

    return check


def vlan(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:5]) <= 4094:
        raise ValueError("is no VLAN")
    return int(text)


def zone_name(text: str) -> str:
    if not _ZONE.fullmatch(text):
        raise ValueError("is not the name of a zone")
    return text


def path(text: str) -> str:
    """Return the path of a file, from / on."""
    if not text.startswith("/") or text.endswith("/") or "/../" in text:
        raise ValueError("is not the whole path of a file, beginning with /")
    return text


def authorities(text: str) -> str:
    """Return certificates in PEM form."""
    chain.certificates(text.encode())
    return text


def or_off(check: Callable[[str], object]) -> Callable[[str], object]:
    """Return what takes the word off as well."""
    return lambda text: text if text == "off" else check(text)


def endpoint(text: str) -> tuple[str, int]:
    """Return host and port of host:port, IPv6 in brackets."""
    name, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError("has no port from 1 to 65535 behind a colon")
    if name.startswith("[") and name.endswith("]"):
        return str(address(name[1:-1])), int(port)
    if ":" in name:
        raise ValueError("is IPv6 without brackets")
    return host(name), int(port)


def interface_name(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError("is not the name of an interface")
    return text


def clock_time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError("is not a time such as 03:00")
    return text
