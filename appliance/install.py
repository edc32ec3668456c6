"""Places a release on the machine: its units, drop-ins and first settings, its users and links.

Shell; run by `appliance/install.sh` after it made the release's venv, and by `upgrade` when it
switches to a release or back: `python -m appliance.install VERSION`. Run again it changes only what
is different. What an earlier release placed and this one does not have is removed.

    /opt/agent-proxy/releases/VERSION/venv    programs
                                     /files   a tree that mirrors /: goes to /etc and /opt
                                     /conf    agent-proxy.service, supervisord.conf, proxy.ini
    /opt/agent-proxy/current          -> releases/VERSION, switched in one step
    /opt/agent-proxy/venv             -> current/venv
    /opt/agent-proxy/conf/supervisord.conf -> ../current/conf/supervisord.conf

Nothing is started here, so that it works in the root of an image, too.
"""

from __future__ import annotations

import json
import sys
from typing import Final

from appliance import firewall, updates
from appliance.errors import Refusal
from appliance.model import Appliance
from appliance.plan import rendered
from appliance.system import System

__all__ = ["CURRENT", "HOME", "place", "switch"]

HOME: Final = "/opt/agent-proxy"
CURRENT: Final = f"{HOME}/current"
# Until the first boot is complete every interface asks DHCP, so that answers can be fetched.
_SET_UP: Final = "/var/lib/agent-proxy/first-boot.complete"
_BEFORE: Final = "/etc/systemd/network/95-agent-proxy-first-boot.network"
_PLACED: Final = "/var/lib/agent-proxy/placed.json"
_UNIT: Final = "/etc/systemd/system/agent-proxy.service"
_PROGRAMS: Final = ("/opt/agent-proxy/libexec/",)
_SECRET_MODES: Final = {"/etc/sudoers.d/": 0o440}
_ENABLED: Final = (
    "agent-proxy.service",
    "agent-proxy-first-boot.service",
    "agent-proxy-firewall.service",
    "agent-proxy-grow.service",
    "agent-proxy-recover.service",
    "agent-proxy-console@tty1.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "rsyslog.service",
)
# In a container there is one terminal, /dev/console, which console-getty would take.
_CONTAINER_ENABLED: Final = ("agent-proxy-console@console.service",)
_CONTAINER_MASKED: Final = ("console-getty.service",)
# Off until an operator switches it on; the firewall keeps the port shut as well.
_DISABLED: Final = ("ssh.service", "ssh.socket")


def main(argv: list[str], system: System) -> int:
    """Place the release that `argv` names and let it be the current one."""
    place(system, argv[0])
    switch(system, argv[0])
    enable(system)
    return 0


def place(system: System, version: str) -> None:
    """Put the files of a release in their places, and make its users and folders.

    Raises: Refusal, OSError.
    """
    release = f"{HOME}/releases/{version}"
    files = _tree(system, f"{release}/files")
    unit = system.read(f"{release}/conf/agent-proxy.service")
    if not files or unit is None:
        raise Refusal(f"{release} is no complete release: run the installation again")
    own, before = {*files, _UNIT}, _placed(system)
    system.folder("/var/lib/agent-proxy", mode=0o700)
    # Cut off from here on, whoever goes back must know of this release's files as well.
    _keep_placed(system, own | before)
    for path in files:
        _place_one(system, f"{release}/files{path}", path)
    system.write(_UNIT, unit)
    for path in sorted(before - own):
        system.remove(path)
    _keep_placed(system, own)
    _done(system, "systemd-sysusers", "/etc/sysusers.d/agent-proxy.conf")
    _done(system, "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/agent-proxy.conf")
    _first_settings(system, release)


def switch(system: System, version: str) -> None:
    """Let `version` be the release that everything is started from, in one step."""
    system.link(CURRENT, f"releases/{version}")
    system.link(f"{HOME}/venv", "current/venv")
    system.link(f"{HOME}/conf/supervisord.conf", "../current/conf/supervisord.conf")


def enable(system: System) -> None:
    """Let units start with the machine; tell a running systemd that there are other units."""
    _done(system, "systemctl", "enable", "--quiet", *_ENABLED)
    _done(system, "systemctl", "disable", "--quiet", *_DISABLED)
    if system.ask(("systemd-detect-virt", "--container", "--quiet")).code == 0:
        _done(system, "systemctl", "enable", "--quiet", *_CONTAINER_ENABLED)
        _done(system, "systemctl", "mask", "--quiet", *_CONTAINER_MASKED)
    if system.entry("/run/systemd/system") is not None:
        _done(system, "systemctl", "daemon-reload")


def _tree(system: System, top: str) -> list[str]:
    """Return the paths of all files and links below `top`, each beginning with a slash."""
    found: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        for name in system.list(f"{top}{folder}"):
            entry = system.entry(f"{top}{folder}/{name}")
            if entry is not None and entry.kind == "folder":
                folders.append(f"{folder}/{name}")
            elif entry is not None:
                found.append(f"{folder}/{name}")
    return sorted(found)


def _place_one(system: System, source: str, path: str) -> None:
    entry = system.entry(source)
    assert entry is not None, "it was listed a moment ago"
    if entry.kind == "link":
        system.link(path, entry.target)
        return
    mode = 0o755 if path.startswith(_PROGRAMS) else 0o644
    for prefix, special in _SECRET_MODES.items():
        mode = special if path.startswith(prefix) else mode
    system.write(path, system.read(source) or b"", mode=mode)


def _placed(system: System) -> set[str]:
    """Return what an earlier release placed."""
    try:
        return set(json.loads(system.read(_PLACED) or b"[]"))
    except ValueError:
        return set()  # cut off by damage to the disk: better a file too many than one too few


def _keep_placed(system: System, paths: set[str]) -> None:
    system.write(_PLACED, json.dumps(sorted(paths), indent=2).encode())


def _first_settings(system: System, release: str) -> None:
    """Files that belong to the operator, or to verbs, once they are there."""
    conf = f"{HOME}/conf/proxy.ini"
    if system.read(conf) is None:
        content = system.read(f"{release}/conf/proxy.ini") or b""
        system.write(conf, content, mode=0o640, owner="root:agent-proxy")
    if system.entry(_SET_UP) is None:
        lines = ["[Match]", "Type=ether", "", "[Network]", "DHCP=yes"]
        system.write(_BEFORE, rendered(lines))
    first = Appliance()
    for write in (*firewall.render(None, first), *updates.render(first.updates)):
        if system.read(write.path) is None:
            system.write(write.path, write.content, mode=write.mode, owner=write.owner)


def _done(system: System, *argv: str) -> None:
    done = system.run(argv)
    if done.code:
        raise Refusal(f"{' '.join(argv)} failed with {done.code}: {done.said}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], System()))
    except Refusal as refusal:
        sys.exit(f"appliance-install: {refusal}")
