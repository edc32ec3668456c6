"""Every format that the image comes in, on hardware of the hypervisor that it is for.

One machine after the other at the same address, each told who it is in another way; all of them
come from one image and must have nothing in common.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # documents of JSON

import pytest

from tests.image.conftest import ANSWERS, Started, built, serves
from tests.image.machine import Bus, Firmware
from tests.image.seeds import nocloud, ovf
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(900)


@dataclass(frozen=True)
class Hardware:
    """What a hypervisor gives the machine."""

    pattern: str
    bus: Bus
    nic: str
    firmware: Firmware = "bios"
    by: str = "nocloud"


_TARGETS = {
    "OpenStack by UEFI": Hardware("*.qcow2", "virtio-scsi", "virtio-net-pci", "uefi"),
    "vSphere": Hardware("*.ova", "pvscsi", "vmxnet3", by="ovf"),
    "VirtualBox": Hardware("*.ova", "ahci", "e1000", by="ovf"),
    "vSphere, older, by UEFI": Hardware("*.ova", "mptsas", "e1000e", "uefi", by="ovf"),
    "Hyper-V, XenServer": Hardware("*[!d].vhd", "ahci", "e1000"),
    "Azure": Hardware("*-fixed.vhd", "ahci", "e1000"),
    "raw, NVMe by UEFI": Hardware("*.raw", "nvme", "virtio-net-pci", "uefi"),
}
_seen: list[dict[str, Any]] = []


@pytest.mark.parametrize("target", _TARGETS)
def test_each_format_starts_and_serves(
    lab: Lab, machines: Started, tmp_path: Path, target: str
) -> None:
    hardware = _TARGETS[target]
    image = built(hardware.pattern)
    if image.suffix == ".ova":
        image = _unpacked(image, tmp_path)
    number = len(_seen)
    machine = machines(f"format-{number}", image)
    answers = {**ANSWERS, "hostname": f"format-{number}"}
    seed = (
        ovf(tmp_path / "seed.iso", answers)
        if hardware.by == "ovf"
        else nocloud(tmp_path / "seed.img", answers)
    )
    try:
        machine.start(
            lab.net, "lan", seed=seed, shell=True,
            bus=hardware.bus, nic=hardware.nic, firmware=hardware.firmware,
        )  # fmt: skip
        serves(lab, f"format-{number}")
        told = lab.order("POST", "/register")
        assert told["node"] == f"format-{number}"
        firmware = machine.shell.try_run("test -d /sys/firmware/efi")[0]
        assert (firmware == 0) == (hardware.firmware == "uefi")
        keys = machine.shell.run(
            "sha256sum", "/etc/machine-id", "/opt/agent-proxy/var/secret",
            "/opt/agent-proxy/var/tls/proxy.key", "/etc/ssh/ssh_host_ed25519_key",
        )  # fmt: skip
        told["files"] = re.findall(r"^\w{64}", keys, re.MULTILINE)
        _seen.append(told)
        assert machine.shell.run("systemctl", "--failed", "--plain", "--no-legend") == ""
    finally:
        machine.cut()


def test_machines_of_one_image_have_nothing_in_common() -> None:
    if len(_seen) < 2:
        pytest.skip("fewer than two machines were started")
    for key in ("agentProxyId", "certificateSha256"):
        values = [told[key] for told in _seen]
        assert len(set(values)) == len(values), f"{key} comes twice: {values}"
    sums = [one for told in _seen for one in told["files"]]
    assert len(sums) == 4 * len(_seen)
    assert len(set(sums)) == len(sums), "two machines have one key or machine-id"


def _unpacked(ova: Path, folder: Path) -> Path:
    """Unpack the OVA as vSphere does: descriptor first, sums of the manifest right."""
    with tarfile.open(ova) as archive:
        names = archive.getnames()
        assert [Path(name).suffix for name in names] == [".ovf", ".mf", ".vmdk"]
        for name in names:  # Debian 12's Python has no filter for extractall
            source = archive.extractfile(name)
            assert source is not None and "/" not in name
            with source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)
    manifest = (folder / names[1]).read_text()
    sums = dict(re.findall(r"^SHA256\((\S+)\)= (\w{64})$", manifest, re.MULTILINE))
    assert set(sums) == {names[0], names[2]}
    for name, expected in sums.items():
        with open(folder / name, "rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == expected
    descriptor = (folder / names[0]).read_text()
    assert f'ovf:size="{(folder / names[2]).stat().st_size}"' in descriptor
    return folder / names[2]
