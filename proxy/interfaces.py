"""What the kernel says of a network interface.

Shell. Neighbours: `entrances` watches the interfaces of zones, `node` asks who owns an address.
By system calls on sockets: these see the network namespace of the process, /sys may not.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["up", "down", "missing"]

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915
_LINK_SCOPE: Final = "20"
_UP_AND_RUNNING: Final = 0x1 | 0x40
_IFREQ: Final = struct.Struct("16sH22x")
_SO_BINDTOIFINDEX: Final = 62
_ANY_PORT: Final = 9  # nothing is sent there


def state(device: str) -> State:
    """Return whether an interface or VRF is there and carries traffic."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _IFREQ.pack(device.encode(), 0))
        except OSError:
            return "missing"
    flags: int = _IFREQ.unpack(answer)[1]
    return "up" if flags & _UP_AND_RUNNING == _UP_AND_RUNNING else "down"


def addresses(device: str) -> tuple[str, ...]:
    """Return an interface's first IPv4 address and its IPv6 addresses but for link-local ones."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, _IFREQ.pack(device.encode(), 0))
            found.append(socket.inet_ntoa(answer[20:24]))
        except OSError:
            pass  # it has none
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            lines = [line.split() for line in table]
    except OSError:
        lines = []  # no IPv6 here
    for address, *_, scope, _flags, name in lines:
        if name == device and scope != _LINK_SCOPE:
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)))
    return tuple(found)


def others(zones: frozenset[str]) -> tuple[str, ...]:
    """Return the interfaces that belong to no zone, neither by themselves nor by their VRF."""
    names = [name for _, name in socket.if_nameindex()]
    return tuple(name for name in names if name not in zones and _master(name) not in zones)


def _master(device: str) -> str:
    try:
        return os.path.basename(os.readlink(f"/sys/class/net/{device}/master"))
    except OSError:
        return ""


def is_bound_to(sock: socket.socket, device: str) -> bool:
    """Whether `sock` is bound to the interface that has this name now, not one that had it."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) == socket.if_nametoindex(
            device
        )
    except OSError:
        return False


def is_own(address: str, device: str) -> bool:
    """Whether a connection to `address` would come back to this machine.

    Through a zone's interface: only that interface's addresses are our own there; another zone's
    VM may well have the address that we have in this one.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            if not device:
                sock.bind((address, 0))  # only own addresses can be bound to
                return True
            option = device.encode() + b"\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, option)
            sock.connect((address, _ANY_PORT))  # sends nothing; the kernel chooses a source
        except OSError:
            return False
        return bool(sock.getsockname()[0] == address)
