"""The image, started as a machine: an agent shakes hands through it and is called back.

Needs an image: IMAGE=FILE, or what `make image` left in dist/image. `make image-test` runs these;
`make test` says that they were skipped, since building takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.machine import Bus, Firmware, Machine, missing, until
from tests.image.seeds import nocloud
from tests.lab.cast import Lab

ROOT = Path(__file__).parents[2]
_FOUND = sorted((ROOT / "dist" / "image").glob("agent-proxy-*.qcow2"))
IMAGE = Path(os.environ["IMAGE"]) if "IMAGE" in os.environ else (_FOUND[-1] if _FOUND else None)
WHY_NOT = missing("mformat") or ("" if IMAGE else "no image was built (make image)")
PASSWORD = "seven quiet horses"
ANSWERS: dict[str, object] = {
    "hostname": "node-1",
    "network.1": {"address": "10.1.2.3/24"},
    "console.password": PASSWORD,
    "proxy.id": "45BCEBB32AA9",
    "upstream.endpoint": "10.1.2.9:3302",
    "upstream.verify": "no",
    "platform.networks": "10.1.2.9",
    "certificate.names": "10.1.2.3",
}

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.deadline(1500),
]


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    with Lab(print) as made:
        made.net.switch("lan")
        made.net.machine("platform", "vm-1", "vm-2")
        for name, host in (("platform", 9), ("vm-1", 7), ("vm-2", 8)):
            made.net.attach(name, "eth0", "lan", f"10.1.2.{host}/24")
        yield made


@pytest.mark.parametrize(
    ("bus", "nic", "firmware"),
    [
        ("virtio", "virtio-net-pci", "bios"),
        ("pvscsi", "vmxnet3", "uefi"),
        ("ahci", "e1000", "bios"),
    ],
)
def test_agents_shake_hands_through_it_and_are_called_back(
    lab: Lab, tmp_path: Path, bus: Bus, nic: str, firmware: Firmware
) -> None:
    assert IMAGE is not None
    machine = Machine(tmp_path, "node-1", IMAGE, accelerator=os.environ.get("ACCELERATOR", "tcg"))
    try:
        seed = nocloud(tmp_path / "seed.img", ANSWERS)
        machine.start(lab.net, "lan", seed=seed, bus=bus, nic=nic, firmware=firmware)
        lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
        lab.agent("vm-1", "first", "10.1.2.7", "10.1.2.3:2002", "first-1")
        lab.agent("vm-2", "last", "10.1.2.8", "10.1.2.3:2002", "last-1")
        machine.wait("Enter log in")
        until("the first handshake", lambda: len(lab.order("GET", "/agents")) == 2)
        lab.shake_and_call("first-1", "last-1")
        assert lab.order("POST", "/register")["agentProxyId"] == "45BCEBB32AA9"
        # Nothing but the proxy's port is open, and SSH is off.
        lab.cannot("vm-1", "10.1.2.3", 22)
        lab.cannot("vm-1", "10.1.2.3", 2004)
    finally:
        machine.cut()


def test_without_answers_it_waits_and_says_what_for(lab: Lab, tmp_path: Path) -> None:
    assert IMAGE is not None
    machine = Machine(tmp_path, "node-2", IMAGE, accelerator=os.environ.get("ACCELERATOR", "tcg"))
    try:
        machine.start(lab.net, "lan")
        machine.wait("not set up yet")
        lab.cannot("vm-1", "10.1.2.3", 2002)
        machine.type("\r")
        machine.wait("First boot: a few questions")
    finally:
        machine.cut()
