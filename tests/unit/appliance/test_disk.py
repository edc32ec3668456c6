"""Growing the root file system, from what recorded machines say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import disk
from appliance.system import Completed
from tests.unit.appliance.machines import Machine

_FINDMNT = "findmnt --noheadings --output SOURCE /"


def machine(folder: Path, source: str, device: dict[str, object], **more: Completed) -> Machine:
    lsblk = f"lsblk --json --nodeps --output TYPE,PKNAME,KNAME {source}"
    found = json.dumps({"blockdevices": [device]})
    answers = {_FINDMNT: Completed(0, f"{source}\n", ""), lsblk: Completed(0, found, "")}
    made = Machine(folder, {**answers, **more})
    if device["type"] == "part":
        name = str(device["kname"])
        made.write(f"/sys/class/block/{name}/partition", f"{name[-1]}\n".encode())
    return made


def test_a_partition_is_grown_and_then_its_file_system(tmp_path: Path) -> None:
    device = {"type": "part", "pkname": "nvme0n1", "kname": "nvme0n1p3"}
    found = machine(tmp_path, "/dev/nvme0n1p3", device)
    disk.grow(found)
    assert found.ran == ["growpart /dev/nvme0n1 3", "systemd-growfs /var/lib/agent-proxy"]


def test_a_partition_that_fills_the_disk_is_well(tmp_path: Path) -> None:
    device = {"type": "part", "pkname": "sda", "kname": "sda1"}
    said = {"growpart /dev/sda 1": Completed(1, "NOCHANGE: partition 1 could only be grown", "")}
    found = machine(tmp_path, "/dev/sda1", device, **said)
    assert disk.grow(found)[0].startswith("NOCHANGE")
    assert len(found.ran) == 2


@pytest.mark.parametrize(("left", "ran"), [(2048, []), (4096, ["growpart /dev/vda 3"])])
def test_growpart_is_spared_where_hardly_anything_is_left(
    tmp_path: Path, left: int, ran: list[str]
) -> None:
    sizes = {"vda/size": 8388608, "vda3/start": 135168, "vda3/size": 8388608 - 135168 - left}
    for name, sectors in sizes.items():
        path = tmp_path / "sys/class/block" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{sectors}\n")
    found = machine(tmp_path, "/dev/vda3", {"type": "part", "pkname": "vda", "kname": "vda3"})
    disk.grow(found)
    assert found.ran == [*ran, "systemd-growfs /var/lib/agent-proxy"]


def test_a_partition_that_cannot_be_grown_leaves_its_file_system_alone(tmp_path: Path) -> None:
    device = {"type": "part", "pkname": "sda", "kname": "sda1"}
    said = {"growpart /dev/sda 1": Completed(2, "", "FAILED: sfdisk")}
    found = machine(tmp_path, "/dev/sda1", device, **said)
    assert disk.grow(found) == ["growpart /dev/sda 1 failed with 2: FAILED: sfdisk"]
    assert len(found.ran) == 1


@pytest.mark.parametrize("kind", ["disk", "lvm", "crypt"])
def test_without_a_partition_only_the_file_system_is_grown(tmp_path: Path, kind: str) -> None:
    found = machine(tmp_path, "/dev/x", {"type": kind, "pkname": None, "kname": "x"})
    disk.grow(found)
    assert found.ran == ["systemd-growfs /var/lib/agent-proxy"]


def test_an_overlay_is_left_alone(tmp_path: Path) -> None:
    found = Machine(tmp_path, {_FINDMNT: Completed(0, "overlay\n", "")})
    assert disk.grow(found) == ["/ is on overlay: not ours to grow"]
    assert found.ran == []
