"""Upgrades of a machine, and which release its processes are of."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from tests.appliance.container import Machine
from tests.appliance.releases import Publisher

TOLD = "/var/lib/agent-proxy/upgrade.json"
FILE = "/var/lib/agent-proxy/new.release"
APPLIANCE = "/opt/agent-proxy/venv/bin/agent-proxy-appliance"
# The real unit with its sandbox, but for the 60 s of watching.
_WATCH_SHORTER = """[Service]
ExecStart=
ExecStart=/opt/agent-proxy/venv/bin/python -m appliance.upgrade run %f 5
"""


class Process(NamedTuple):
    pid: int
    what: str
    release: str


class Supervisord(NamedTuple):
    pid: int
    children: tuple[Process, ...]


def let_upgrade(machine: Machine, publisher: Publisher) -> None:
    machine.write("/etc/agent-proxy/release-keys/publisher.pub", publisher.public_key)
    unit = "/etc/systemd/system/agent-proxy-upgrade@.service.d/test.conf"
    machine.write(unit, _WATCH_SHORTER)
    machine.run("systemctl", "daemon-reload")


def upgrade(machine: Machine, content: bytes) -> tuple[int, dict[str, object]]:
    """Return the exit code, and what the upgrade wrote down."""
    machine.write(FILE, content, 0o600)
    done = machine.try_run(APPLIANCE, "upgrade", "install", "--yes", FILE, timeout_s=300)
    told: dict[str, object] = json.loads(machine.read(TOLD))
    return done.returncode, told


def version(machine: Machine) -> str:
    """Return the version that serves, whichever is installed."""
    page = machine.run("curl", "-sS", "-m", "3", "http://127.0.0.1:2004/status")
    return str(json.loads(page)["product"]).rpartition(" ")[2]


def supervisord(machine: Machine) -> Supervisord:
    """Return supervisord and its children, each with the release that its libraries are of."""
    pid = int(machine.run("systemctl", "show", "-P", "MainPID", "agent-proxy.service"))
    found = []
    for child in machine.run("cat", f"/proc/{pid}/task/{pid}/children").split():
        words = machine.run("cat", f"/proc/{child}/cmdline").split("\0")
        what = " ".join(one for one in words if one in ("worker", "watchdog") or one.isdigit())
        maps = machine.run("cat", f"/proc/{child}/maps")
        releases = set(re.findall(r"/opt/agent-proxy/releases/([^/]+)/", maps))
        found.append(Process(int(child), what, " ".join(sorted(releases))))
    return Supervisord(pid, tuple(found))
