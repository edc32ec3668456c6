"""Where answers are found, from recorded machines, real ISO and FAT volumes and a real server."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from appliance import answer_sources
from appliance.errors import Problems
from appliance.system import Completed, System
from tests.unit.appliance.machines import Machine

_USER_DATA = "#cloud-config\nagent-proxy: {proxy.id: 45BCEBB32AA9}\n"
_VALUES = {"proxy.id": "45BCEBB32AA9"}
_OVF = (
    '<Environment xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"><PropertySection>'
    '<Property oe:key="agent-proxy.proxy.id" oe:value="45BCEBB32AA9"/>'
    "</PropertySection></Environment>"
)
_LSBLK = "lsblk --json --paths --output PATH,FSTYPE,LABEL,TYPE"


def nothing(host: str, path: str) -> bytes:
    return b""


def well(text: str) -> Completed:
    return Completed(0, text, "")


def test_nowhere(tmp_path: Path) -> None:
    assert answer_sources.find(Machine(tmp_path), nothing) == ({}, "", "", "")


def test_a_seed_and_words_of_the_kernel_command_line(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(f"{answer_sources.SEED}/user-data", _USER_DATA.encode())
    machine.write(f"{answer_sources.SEED}/meta-data", b"local-hostname: proxy-7\n")
    machine.write("/proc/cmdline", b"quiet agent-proxy.proxy.id=OTHER1 agent-proxy.hostname=x\n")
    found = answer_sources.find(machine, nothing)
    assert found.values == {"proxy.id": "OTHER1", "hostname": "x"}
    assert found.source == "/var/lib/agent-proxy/seed (user-data) and kernel command line"
    assert found.hostname == "proxy-7"


@pytest.mark.parametrize(
    "answers",
    [
        {"vmware-rpctool info-get guestinfo.ovfEnv": well(_OVF)},
        {"vmware-rpctool info-get guestinfo.userdata": well(_USER_DATA)},
        {
            "vmware-rpctool info-get guestinfo.userdata": well(
                base64.b64encode(_USER_DATA.encode()).decode()
            ),
            "vmware-rpctool info-get guestinfo.userdata.encoding": well("base64\n"),
        },
    ],
    ids=["ovf", "user data", "encoded user data"],
)
def test_vmware(tmp_path: Path, answers: dict[str, Completed]) -> None:
    assert answer_sources.find(Machine(tmp_path, answers), nothing).values == _VALUES


class WithVolume(Machine):
    """A machine with one volume, read by the real programs."""

    def __init__(self, folder: Path, volume: Path, kind: str, label: str) -> None:
        device = {"path": str(volume), "fstype": kind, "label": label, "type": "disk"}
        text = json.dumps({"blockdevices": [{"path": "/dev/x", "children": [device]}]})
        super().__init__(folder, {_LSBLK: well(text)})

    def ask(self, argv: tuple[str, ...], *, timeout_s: float = 10.0) -> Completed:
        if argv[0] in ("bsdtar", "mcopy"):
            return System().ask(argv, timeout_s=timeout_s)
        return super().ask(argv, timeout_s=timeout_s)


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (sh tests/packages.sh)")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("user-data", _USER_DATA),
        ("openstack/latest/user_data", _USER_DATA),
        ("ovf-env.xml", _OVF),
    ],
)
def test_a_cd(tmp_path: Path, name: str, content: str) -> None:
    _need("xorriso", "bsdtar")
    place = tmp_path / "cd" / name
    place.parent.mkdir(parents=True)
    place.write_text(content)
    image = tmp_path / "cd.iso"
    command = ["xorriso", "-as", "mkisofs", "-J", "-r", "-V", "CIDATA", "-o", str(image)]
    subprocess.run([*command, str(tmp_path / "cd")], check=True, capture_output=True)
    machine = WithVolume(tmp_path / "disk", image, "iso9660", "CIDATA")
    found = answer_sources.find(machine, nothing)
    assert found.values == _VALUES
    assert found.source.startswith("volume CIDATA")


def test_a_fat_volume(tmp_path: Path) -> None:
    _need("mkfs.vfat", "mcopy")
    image, file = tmp_path / "seed.img", tmp_path / "user-data"
    image.write_bytes(b"\0" * (1 << 20))
    file.write_text(_USER_DATA)
    subprocess.run(["mkfs.vfat", "-n", "CIDATA", str(image)], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", str(image), str(file), "::user-data"], check=True)
    machine = WithVolume(tmp_path / "disk", image, "vfat", "CIDATA")
    assert answer_sources.find(machine, nothing).values == _VALUES


def test_another_fat_volume_is_not_looked_into(tmp_path: Path) -> None:
    machine = WithVolume(tmp_path, tmp_path / "none", "vfat", "EFI")
    assert answer_sources.find(machine, nothing).values == {}


@pytest.mark.parametrize(
    ("firmware", "expected"),
    [
        ("OpenStack Nova", [("169.254.169.254", "/openstack/latest/user_data")]),
        ("CloudStack KVM Hypervisor", [("10.1.2.1", "/latest/user-data")]),
        ("VMware Virtual Platform", []),
    ],
)
def test_only_the_cloud_that_the_firmware_names_is_asked(
    tmp_path: Path, firmware: str, expected: list[tuple[str, str]]
) -> None:
    asked: list[tuple[str, str]] = []

    def get(host: str, path: str) -> bytes:
        asked.append((host, path))
        return b""

    machine = Machine(tmp_path)
    machine.write("/sys/class/dmi/id/product_name", firmware.encode())
    machine.write("/run/systemd/netif/leases/2", b"# lease\nSERVER_ADDRESS=10.1.2.1\n")
    answer_sources.find(machine, get)
    assert asked == expected


def test_a_cloud_that_answers(tmp_path: Path) -> None:
    pages = {
        "/openstack/latest/user_data": _USER_DATA.encode(),
        "/openstack/latest/meta_data.json": b'{"hostname": "proxy-9.example.com"}',
    }
    machine = Machine(tmp_path)
    machine.write("/sys/class/dmi/id/product_name", b"OpenStack Compute")
    found = answer_sources.find(machine, lambda host, path: pages.get(path, b""))
    assert (found.values, found.hostname) == (_VALUES, "proxy-9")


def test_bad_answers_are_a_problem_not_another_source(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vmware-rpctool info-get guestinfo.ovfEnv": well(_OVF)})
    machine.write(f"{answer_sources.SEED}/user-data", b"agent-proxy: {broken")
    with pytest.raises(Problems, match="this is no YAML"):
        answer_sources.find(machine, nothing)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/latest/user-data"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(_USER_DATA.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        monkeypatch.setattr(answer_sources, "_PORT", made.server_address[1])
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield
        made.shutdown()
        thread.join()


def test_only_200_counts(server: None) -> None:
    assert answer_sources.get("127.0.0.1", "/latest/user-data") == _USER_DATA.encode()
    assert answer_sources.get("127.0.0.1", "/latest/none") == b""


def test_a_server_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_sources, "_PORT", 1)
    assert answer_sources.get("127.0.0.1", "/latest/user-data") == b""


def test_a_volume_that_udev_has_not_looked_at_yet(tmp_path: Path) -> None:
    device = {"path": "/dev/sr0", "fstype": None, "label": None, "type": "rom"}
    machine = Machine(tmp_path)
    machine.answers[_LSBLK] = well(json.dumps({"blockdevices": [device]}))
    machine.answers["blkid --probe --output export /dev/sr0"] = well(
        "DEVNAME=/dev/sr0\nLABEL=OVF\\ ENV\nTYPE=iso9660\n"
    )
    machine.answers["bsdtar -x -O -f /dev/sr0 user-data"] = well(_USER_DATA)
    found = answer_sources.find(machine, nothing)
    assert (found.values, found.source) == (_VALUES, "volume OVF ENV (user-data)")


@pytest.mark.parametrize(
    ("said", "user_data", "expected"),
    [
        (b"a long password", _USER_DATA, "a long password"),
        (b"saved_password", _USER_DATA, None),
        (b"bad_request", _USER_DATA, None),
        (b"", _USER_DATA, None),
        (b"other", _USER_DATA.replace("{", "{console.password: mine, "), "mine"),
    ],
)
def test_cloudstack_s_password_server(
    tmp_path: Path, said: bytes, user_data: str, expected: str | None
) -> None:
    asked: list[tuple[str, str]] = []

    def password(host: str, request: str) -> bytes:
        asked.append((host, request))
        return said

    machine = Machine(tmp_path)
    machine.write("/sys/class/dmi/id/product_name", b"CloudStack KVM Hypervisor")
    machine.write("/run/systemd/netif/leases/2", b"SERVER_ADDRESS=10.1.2.1\n")
    pages = {"/latest/user-data": user_data.encode()}
    found = answer_sources.find(machine, lambda host, path: pages.get(path, b""), password)
    assert found.values.get("console.password") == expected
    assert found.password_from == ("10.1.2.1" if expected == "a long password" else "")
    assert asked == ([] if expected == "mine" else [("10.1.2.1", "send_my_password")])
