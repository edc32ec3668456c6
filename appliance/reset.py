"""Factory reset: what was set up goes, so that the machine begins with its first boot again.

Shell. Neighbours: `system` removes; the verbs `factory-reset` and `recover` call. A mark is written
first and removed last: a power cut in between leaves the mark, and `recover` at boot goes on. Kept:
the release, Debian's packages, the machine's own identity (machine-id, SSH host keys).
"""

from __future__ import annotations

import posixpath
from typing import Final

from appliance import access, firewall, model, network, syslog, timekeeping, updates
from appliance.errors import Problems
from appliance.model import Appliance
from appliance.places import STATE, Places
from appliance.system import System

__all__ = ["begin", "finish", "is_pending"]

_MARK: Final = f"{STATE}/factory-reset"
_FOLDERS: Final = (f"{STATE}/backups", f"{STATE}/bundles", f"{STATE}/drafts")
_FILES: Final = (
    f"{STATE}/first-boot.complete",
    f"{STATE}/first-boot.json",
    f"{STATE}/console.json",
    model.PATH,
    access.KEYS,
)


def is_pending(system: System) -> bool:
    """Return whether a reset was begun and is not finished."""
    return system.entry(_MARK) is not None


def begin(system: System) -> None:
    """Decide it: from here on nothing but the end of the reset is possible. Raises: OSError."""
    system.write(_MARK, b"begun\n")


def finish(system: System, conf: str) -> list[str]:
    """Remove everything that was set up; return what was removed. Raises: OSError."""
    places = Places(conf)
    removed = []
    for path in _paths(system, places):
        if system.entry(path) is not None:
            system.remove(path)
            removed.append(path)
    pristine = system.read(f"{places.base}/current/conf/proxy.ini")
    if pristine is not None:
        system.write(conf, pristine, mode=0o640, owner="root:agent-proxy")
        removed.append(f"{conf} (as shipped again)")
    for write in firewall.render(None, Appliance()):  # closed, until the first boot knows more
        system.write(write.path, write.content, mode=write.mode, owner=write.owner)
    system.remove(_MARK)
    return removed


def _paths(system: System, places: Places) -> list[str]:
    """Return files in the order they go: first what says that the machine is set up."""
    try:
        known = model.from_json(system.read(model.PATH))
    except Problems:
        known = Appliance()
    rendered = [
        *network.render(known.network),
        *timekeeping.render(known.time),
        *access.render(known.access),
        *syslog.render(known.syslog, places),
        *updates.render(known.updates),
    ]
    inside = [
        f"{folder}/{name}"
        for folder in (*_FOLDERS, f"{places.var}/tls", places.logs, places.var)
        for name in system.list(folder)
        if not _is_folder(system, f"{folder}/{name}")
    ]
    # An upgrade keeps the settings of the release before, secrets included.
    conf = posixpath.dirname(places.conf)
    inside += [f"{conf}/{name}" for name in system.list(conf) if name.startswith("proxy.ini.")]
    return [_FILES[0], *inside, *(write.path for write in rendered), *_FILES[1:]]


def _is_folder(system: System, path: str) -> bool:
    entry = system.entry(path)
    return entry is not None and entry.kind == "folder"
