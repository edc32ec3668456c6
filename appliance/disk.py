"""Grows the partition and the file system of / to the disk: `python -m appliance.disk`.

Shell; run by agent-proxy-grow.service at every start. growpart (cloud-guest-utils) moves the
partition's end, systemd-growfs the file system's, while it is mounted. Where / is no partition of
a disk (a whole disk, LVM, an overlay) only the file system is grown, or nothing.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from appliance.system import System

__all__ = ["grow"]

_GROWFS: Final = "/usr/lib/systemd/systemd-growfs"
# A mount of the same file system as /, which the unit's sandbox has read-only.
_WRITABLE: Final = "/var/lib/agent-proxy"
_NOTHING_TO_GROW: Final = 1  # growpart: NOCHANGE
_LITTLE_SECTORS: Final = 4096  # 2 MiB; the copy of the partition table is among them


def grow(system: System) -> list[str]:
    """Return what was done. What cannot be grown is left as it is, with the reason."""
    lines = []
    source = system.ask(("findmnt", "--noheadings", "--output", "SOURCE", "/")).out.strip()
    if not source.startswith("/dev/"):
        return [f"/ is on {source or 'nothing known'}: not ours to grow"]
    found = system.ask(("lsblk", "--json", "--nodeps", "--output", "TYPE,PKNAME,KNAME", source))
    device = _device(found.out)
    # Not lsblk's PARTN: that of Debian 12 does not know it.
    number = system.read(f"/sys/class/block/{device.get('kname')}/partition")
    if device.get("type") == "part" and device.get("pkname") and number:
        if _fills(system, str(device["pkname"]), source):
            return ["the partition fills the disk", _grow_file_system(system)]
        argv = ("growpart", f"/dev/{device['pkname']}", number.decode().strip())
        done = system.run(argv)
        if done.code not in (0, _NOTHING_TO_GROW):
            return [f"{' '.join(argv)} failed with {done.code}: {done.said}"]
        lines.append(done.out.strip() or "the partition fills the disk")
    return [*lines, _grow_file_system(system)]


def _fills(system: System, disk: str, partition: str) -> bool:
    """Return whether less is left behind a partition than is worth growpart's seconds."""
    name = partition.removeprefix("/dev/")
    try:
        size, start, length = (
            int(system.read(f"/sys/class/block/{path}") or b"")
            for path in (f"{disk}/size", f"{name}/start", f"{name}/size")
        )
    except ValueError:
        return False  # growpart finds out
    return size - start - length < _LITTLE_SECTORS


def _grow_file_system(system: System) -> str:
    """Always tried: the power may have been cut after the partition was grown."""
    done = system.run((_GROWFS, _WRITABLE))
    return "the file system fills it" if done.code == 0 else f"not grown: {done.said}"


def _device(text: str) -> dict[str, Any]:
    # Any: what lsblk writes as JSON.
    try:
        devices: list[dict[str, Any]] = json.loads(text or "{}").get("blockdevices", [])
    except ValueError:
        return {}
    return devices[0] if devices else {}


if __name__ == "__main__":
    for line in grow(System()):
        sys.stdout.write(f"{line}\n")
