"""What every run of the tests shows of the image: it starts, sets itself up, and agents use it.

Needs an image (`make image`, or what tests/image/ci.sh built of this tree).
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.image.conftest import ANSWERS, Started, built, serves
from tests.image.seeds import nocloud
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(900)
_OPEN = {("tcp", "0.0.0.0:2002"), ("tcp", "[::]:2002")}


def test_agents_shake_hands_through_it_and_are_called_back(
    lab: Lab, machines: Started, tmp_path: Path
) -> None:
    """The qcow2 under BIOS, set up by a NoCloud volume."""
    machine = machines("node-1", built("agent-proxy-*.qcow2"))
    seed = nocloud(tmp_path / "seed.img", {**ANSWERS, "proxy.id": "45BCEBB32AA9"})
    begun = time.monotonic()
    machine.start(lab.net, "lan", seed=seed, shell=True)
    print("   from power-on")
    shaken = serves(lab, "boot")
    print(f"   {shaken - begun:5.1f} s  handshake of both agents, routed calls answered")
    assert lab.order("POST", "/register")["agentProxyId"] == "45BCEBB32AA9"
    machine.wait("Enter log in")
    print(f"   {time.monotonic() - begun:5.1f} s  the console on the serial line")
    # Nothing but the proxy's port is open to the network, and SSH is off.
    for port in (22, 2003, 2004):
        lab.cannot("vm-1", "10.1.2.3", port)
    assert _listening(machine.shell.run("ss", "-Hltun")) <= _OPEN
    machine.shell.run("systemctl", "is-system-running", "--wait")
    rows = machine.shell.run("free", "--mebi").splitlines()
    print(f"   {rows[1].split()[2]} MiB of {rows[1].split()[1]} in use, with two workers")
    print(f"   {time.monotonic() - begun:5.1f} s  systemd: running, no unit has failed")


def _listening(table: str) -> set[tuple[str, str]]:
    """Return what listens on more than loopback, from the lines of ss."""
    found = {(line.split()[0], line.split()[4]) for line in table.splitlines()}
    return {one for one in found if not one[1].startswith(("127.", "[::1]"))}
