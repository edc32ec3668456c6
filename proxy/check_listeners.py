"""The part of `check` that looks at the ports: can they be used, and who has them already.

Shell. Neighbours: `siblings` knows our own workers, `outcome` is what comes back; `check` above.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from proxy import siblings
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.settings import Settings

__all__ = ["can_bind", "listeners"]

_LISTENING: Final = "0A"
_NOBODY: Final = -1
_PROC: Final = Path("/proc")
_REMEDIES: Final = {
    errno.EADDRINUSE: "Another program has this port: see `ss -ltnp`.",
    errno.EADDRNOTAVAIL: "Give one of this machine's addresses: see `ip address`.",
    errno.EACCES: "Ports below 1024 need CAP_NET_BIND_SERVICE: README, As a service.",
}


class Holder(NamedTuple):
    """A process that listens on a port; `pid` is -1 where we may not see whose socket it is."""

    pid: int
    name: str


def listeners(settings: Settings) -> Iterator[Outcome]:
    """Yield whether each address of [listen] can be used, and by whom it is used already."""
    port = settings.listen.port
    for address in settings.listen.addresses:
        shown = f"{address} port {port}"
        try:
            can_bind(address, port)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            holders = _holders(address, port) if in_use else set()
            own = _own_pids(settings)
            # Linux shares a port among sockets of one user only: as root we cannot join in.
            if holders and {one.pid for one in holders} <= own:
                yield passed("listener", f"{shown} is used by {len(holders)} of our workers")
                continue
            # A sandbox may hide whose sockets these are; of which user they are is in the table.
            if own and {one.pid for one in holders} == {_NOBODY} and _is_of_ours(address, settings):
                yield passed("listener", f"{shown} is used by the user of our workers")
                continue
            remedy = _REMEDIES.get(error.errno or 0, "See [listen] addresses and port.")
            yield failed("listener", f"{shown}: {error.strerror}", remedy)
            continue
        yield _sharing(shown, _holders(address, port), _own_pids(settings))


def _sharing(shown: str, holders: set[Holder], own: set[int]) -> Outcome:
    """A port that can be bound may still be another's: SO_REUSEPORT shares it out."""
    foreign = sorted(one for one in holders if one.pid not in own and one.pid != _NOBODY)
    if foreign:
        names = ", ".join(f"{one.name} (process {one.pid})" for one in foreign)
        remedy = "Stop it, or give [listen] another port; see `ss -ltnp`."
        return failed("listener", f"{shown}: {names} takes part of the connections", remedy)
    if any(one.pid == _NOBODY for one in holders):
        remedy = "Run this as root or as the user of the workers."
        return skipped("listener", f"{shown} is in use; by whom cannot be seen", remedy)
    if holders:
        return passed("listener", f"{shown} is used by {len(holders)} of our workers")
    return passed("listener", f"{shown} can be used")


def can_bind(address: str, port: int, device: str = "") -> None:
    """Bind as a worker does, without listening: beside running workers this disturbs nobody.

    Raises: OSError.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        sock.bind((address, port))


def _own_pids(settings: Settings) -> set[int]:
    """Return the processes of our workers, those that answer."""
    found = (siblings.ask(path, "/snapshot") for path in siblings.paths(settings.admin.run_dir))
    return {int(one["pid"]) for one in found if one is not None}


def _is_of_ours(address: str, settings: Settings) -> bool:
    """Return whether every socket that listens there is of the user that the workers run as."""
    users = {user for _, user in _listening(address, settings.listen.port)}
    return users == {Path(settings.admin.run_dir).stat().st_uid}


def _holders(address: str, port: int) -> set[Holder]:
    """Return who listens on a port, at this address or at all of its family."""
    inodes = {inode for inode, _ in _listening(address, port)}
    if not inodes:
        return set()
    found: set[Holder] = set()
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone
            held = inodes & {_inode(fd) for fd in os.scandir(process / "fd")}
            if held:
                inodes -= held
                found.add(Holder(int(process.name), (process / "comm").read_text().strip()))
    return found | ({Holder(_NOBODY, "")} if inodes else set())


def _inode(fd: os.DirEntry[str]) -> str:
    try:
        link = os.readlink(fd.path)
    except OSError:
        return ""
    return link[len("socket:[") : -1] if link.startswith("socket:[") else ""


def _listening(address: str, port: int) -> Iterator[tuple[str, int]]:
    """Yield inode and user of listening sockets: /proc/net/tcp has addresses in the CPU's order."""
    six = ":" in address
    wanted = {ipaddress.ip_address(address), ipaddress.ip_address("::" if six else "0.0.0.0")}
    everything = ipaddress.ip_address(address).is_unspecified
    for line in (_PROC / "net" / ("tcp6" if six else "tcp")).read_text().splitlines()[1:]:
        words = line.split()
        host, _, number = words[1].partition(":")
        if words[3] != _LISTENING or int(number, 16) != port:
            continue
        raw = b"".join(
            int(host[place : place + 8], 16).to_bytes(4, "little")
            for place in range(0, len(host), 8)
        )
        if everything or ipaddress.ip_address(raw) in wanted:
            yield words[9], int(words[7])
