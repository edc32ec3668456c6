"""Where answers come from, for real: volumes as block devices, DHCP, metadata by HTTP, passwords.

The firmware of this machine says nothing of a cloud: what it would say is laid over /sys/class.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.conftest import PASSWORD, Boot, answers
from tests.appliance.container import Machine
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(600)

_PYTHON = "/opt/agent-proxy/venv/bin/python"
_FIND = (
    "import json; from appliance import answer_sources as s; from appliance.system import System; "
    "f = s.find(System(), s.get); "
    "print(json.dumps([f.values, f.source, f.hostname, f.password_from]))"
)
_OVF = """<Environment xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"><PropertySection>
<Property oe:key="agent-proxy.proxy.id" oe:value="OVF123456789"/></PropertySection></Environment>
"""
_SMALL = "#cloud-config\nagent-proxy: {proxy.id: %s}\n"


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


class Volumes:
    """Disks that a hypervisor puts into a machine, as loop devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._devices: list[str] = []

    def iso(self, machine: Machine, label: str, files: dict[str, str]) -> None:
        tree = self._folder / f"tree-{len(self._devices)}"
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        image = self._folder / f"{label}.iso"
        words = ["xorriso", "-as", "mkisofs", "-quiet", "-V", label, "-J", "-r"]
        run(*words, "-o", str(image), str(tree))
        self._insert(machine, image)

    def fat(self, machine: Machine, label: str, files: dict[str, str]) -> None:
        image = self._folder / f"{label}.img"
        run("mkfs.vfat", "-C", "-n", label, str(image), "1440")
        for name, text in files.items():
            (self._folder / "file").write_text(text)
            run("mcopy", "-i", str(image), str(self._folder / "file"), f"::{name}")
        self._insert(machine, image)

    def _insert(self, machine: Machine, image: Path) -> None:
        device = run("losetup", "--find", "--show", "--read-only", str(image)).strip()
        self._devices.append(device)
        major, minor = run("lsblk", "-dno", "MAJ:MIN", device).strip().split(":")
        machine.run("mknod", "-m", "600", device, "b", major, minor)

    def take_out(self, machine: Machine) -> None:
        for device in self._devices:
            machine.try_run("rm", device)
            subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
        self._devices.clear()
        for left in self._folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")
    folder = tmp_path / "volumes"
    folder.mkdir()
    yield Volumes(folder)
    for line in run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
        name, _, backing = line.partition(" ")
        if str(folder) in backing:
            run("losetup", "--detach", name)


def found(machine: Machine) -> tuple[dict[str, str], str, str, str]:
    values, source, hostname, server = json.loads(machine.run(_PYTHON, "-c", _FIND))
    return values, source, hostname, server


def firmware(machine: Machine, product: str) -> None:
    """Let the machine believe that it was made by somebody else."""
    machine.write("/run-firmware/dmi/id/product_name", f"{product}\n")
    machine.try_run("umount", "/sys/class")
    layers = "lowerdir=/run-firmware:/sys/class"
    machine.run("mount", "-t", "overlay", "-o", layers, "firmware", "/sys/class")


def test_sources(boot: Boot, lab: Lab, volumes: Volumes, tmp_path: Path) -> None:
    machine = boot("asking")
    assert found(machine) == ({}, "", "", "")
    _volumes(machine, volumes)
    _vmware(machine)
    folder = _cloud(lab, tmp_path)
    machine.until("it has a lease", lambda: "10.1.2." in machine.run("ip", "-4", "addr"))
    _openstack(machine, folder)
    _cloudstack(machine, folder)
    _a_whole_first_boot(machine, folder)


def _volumes(machine: Machine, volumes: Volumes) -> None:
    """Each as a block device that the machine finds by itself; none of them is mounted."""
    meta = "instance-id: i-1\nlocal-hostname: node-7\n"
    files = {"user-data": _SMALL % "NOCLOUD", "meta-data": meta}
    volumes.iso(machine, "cidata", files)
    assert found(machine)[:3] == ({"proxy.id": "NOCLOUD"}, "volume cidata (user-data)", "node-7")
    volumes.take_out(machine)

    volumes.fat(machine, "CIDATA", files)
    assert found(machine)[0] == {"proxy.id": "NOCLOUD"}
    volumes.take_out(machine)

    drive = {
        "openstack/latest/user_data": _SMALL % "DRIVE",
        "openstack/latest/meta_data.json": json.dumps({"hostname": "node-8.example.com"}),
    }
    volumes.iso(machine, "config-2", drive)
    values, source, hostname, _ = found(machine)
    assert values == {"proxy.id": "DRIVE"} and "config-2" in source
    assert hostname.startswith("node-8")
    volumes.take_out(machine)

    volumes.iso(machine, "OVF ENV", {"ovf-env.xml": _OVF})
    assert found(machine)[:2] == ({"proxy.id": "OVF123456789"}, "volume OVF ENV (OVF)")
    volumes.take_out(machine)
    assert found(machine) == ({}, "", "", "")


def _vmware(machine: Machine) -> None:
    """open-vm-tools' program is asked; what it prints on ESXi is all that is made up here."""
    program = f"#!/bin/sh\n[ \"$1\" = 'info-get guestinfo.ovfEnv' ] && cat <<'E'\n{_OVF}E\n"
    machine.write("/usr/local/bin/vmware-rpctool", program, 0o755)
    assert found(machine)[:2] == ({"proxy.id": "OVF123456789"}, "VMware (guestinfo.ovfEnv)")
    machine.run("rm", "/usr/local/bin/vmware-rpctool")


def _cloud(lab: Lab, tmp_path: Path) -> Path:
    """A router with DHCP that has the metadata address and CloudStack's servers."""
    folder = tmp_path / "cloud"
    (folder / "metadata").mkdir(parents=True)
    lab.net.machine("router")
    lab.net.attach("router", "eth0", "lan", "10.1.2.1/24", "169.254.169.254/32")
    words = ["dnsmasq", "--no-daemon", "--port=0", "--interface=eth0", "--bind-interfaces"]
    words += ["--dhcp-range=10.1.2.100,10.1.2.120,1h", f"--dhcp-leasefile={folder / 'leases'}"]
    lab.spawn("router", *words, "--user=root", name="dnsmasq")
    lab.spawn("router", "python3", "-m", "tests.appliance.cloud", str(folder), name="cloud")
    return folder


def _put(folder: Path, files: dict[str, str]) -> None:
    shutil.rmtree(folder / "metadata")
    for name, text in files.items():
        place = folder / "metadata" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def _openstack(machine: Machine, folder: Path) -> None:
    _put(
        folder,
        {
            "openstack/latest/user_data": _SMALL % "NOVA",
            "openstack/latest/meta_data.json": json.dumps({"hostname": "node-9"}),
        },
    )
    assert found(machine)[0] == {}, "nobody says that this is OpenStack"
    firmware(machine, "OpenStack Nova")
    assert found(machine)[:3] == (
        {"proxy.id": "NOVA"},
        "OpenStack (openstack/latest/user_data)",
        "node-9",
    )


def _cloudstack(machine: Machine, folder: Path) -> None:
    firmware(machine, "CloudStack KVM Hypervisor")
    _put(
        folder, {"latest/user-data": _SMALL % "CLOUDSTACK", "latest/local-hostname": "node-10.x\n"}
    )
    (folder / "password").write_text("short1")
    values, source, hostname, server = found(machine)
    assert values == {"proxy.id": "CLOUDSTACK", "console.password": "short1"}
    assert (source, hostname, server) == (
        "CloudStack (metadata at 10.1.2.1)",
        "node-10",
        "10.1.2.1",
    )
    assert (folder / "password").exists(), "asking alone must not use it up"


def _a_whole_first_boot(machine: Machine, folder: Path) -> None:
    """A password that is too short is reported and kept; a good one is set, and forgotten there."""
    text = answers(console__password="", hostname="", upstream__verify="no")
    _put(folder, {"latest/user-data": text, "latest/local-hostname": "node-10.x\n"})
    unit = "agent-proxy-first-boot.service"
    machine.run("systemctl", "restart", unit)
    shown = machine.try_run(
        "/opt/agent-proxy/venv/bin/agent-proxy-appliance", "first-boot", "status"
    )
    assert "console.password: has 6 characters" in shown.stdout, shown.stdout
    assert (folder / "password").exists()

    (folder / "password").write_text(PASSWORD)
    machine.run("systemctl", "restart", unit)
    state = machine.document("/var/lib/agent-proxy/first-boot.json")
    assert [one["state"] for one in state["steps"]] == ["done"] * 5, state
    assert not (folder / "password").exists()
    assert machine.run("hostname").strip() == "node-10"
    check = (
        "from appliance import passwords; from appliance.system import System; "
        f"print(passwords.matches({PASSWORD!r}, System().read(passwords.PATH)))"
    )
    assert machine.run(_PYTHON, "-c", check).strip() == "True"
    machine.until("it listens", lambda: machine.run("ss", "-Hltn", "sport = :2002"))
