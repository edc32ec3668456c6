"""One virtual machine of the image: started, watched and typed to through its serial line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from tests.image.shell import PATIENCE_S, Shell, hardware
from tests.lab.network import Network

Bus = Literal["virtio", "virtio-scsi", "pvscsi", "mptsas", "ahci", "nvme"]
Firmware = Literal["bios", "uefi"]
UEFI = Path("/usr/share/ovmf/OVMF.fd")
_SCSI = ["-device", "scsi-hd,bus=bus.0,drive=disk,bootindex=1"]
_BUSES: dict[Bus, list[str]] = {
    "virtio": ["-device", "virtio-blk-pci,drive=disk,bootindex=1"],
    "pvscsi": ["-device", "pvscsi,id=bus", *_SCSI],
    "mptsas": ["-device", "mptsas1068,id=bus", *_SCSI],
    "virtio-scsi": ["-device", "virtio-scsi-pci,id=bus", *_SCSI],
    "nvme": ["-device", "nvme,serial=1,drive=disk,bootindex=1"],
    "ahci": ["-device", "ide-hd,bus=ide.0,drive=disk,bootindex=1"],
}
# By name: a fixed VHD begins like a raw disk, and is told from one by its end only.
_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vhd": "vpc", ".raw": "raw"}
_ESCAPES = re.compile(r"\x1b(\[[0-9;?!]*[a-zA-Z]|\([A-Z0-9]|[=>])")


class Machine:
    """One virtual machine. Its disk is a layer over the image, which stays as it is."""

    def __init__(self, home: Path, name: str, image: Path, *, accelerator: str) -> None:
        self.home = home / name
        self.home.mkdir(parents=True)
        self.name = name
        self.disk = self.home / "disk.qcow2"
        self._said = bytearray()
        self._accelerator = accelerator
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._tap = ""
        self._shell: Shell | None = None
        self._restarts = 0
        layer(image, self.disk)

    def start(
        self,
        net: Network,
        switch: str,
        *,
        seed: Path | None = None,
        bus: Bus = "virtio",
        nic: str = "virtio-net-pci",
        firmware: Firmware = "bios",
        shell: bool = False,
        extra: Sequence[str] = (),
    ) -> None:
        """Power on, with its one interface on a switch of the lab; `seed` is a disk or .iso."""
        if not self._tap:
            self._tap = f"t-{self.name}"[:15]
            net.ip(switch, "tuntap", "add", "dev", self._tap, "mode", "tap")
            net.ip(switch, "link", "set", self._tap, "master", "lan", "up")
        path = self.home / "serial.sock"
        path.unlink(missing_ok=True)
        words = ["qemu-system-x86_64", "-nodefaults", "-display", "none"]
        words += ["-machine", f"q35,accel={self._accelerator}", "-m", "1024", "-smp", "2"]
        words += ["-cpu", "host" if self._accelerator == "kvm" else "max"]
        words += ["-drive", f"file={self.disk},format=qcow2,if=none,id=disk", *_BUSES[bus]]
        words += ["-netdev", f"tap,id=lan,ifname={self._tap},script=no,downscript=no"]
        words += ["-device", f"{nic},netdev=lan,mac={_mac(self.name)}"]
        words += ["-chardev", f"socket,id=line,path={path},server=on,wait=off"]
        words += ["-serial", "chardev:line", "-device", "virtio-rng-pci", "-vga", "std"]
        events = self.home / "events.sock"
        events.unlink(missing_ok=True)
        words += ["-qmp", f"unix:{events},server=on,wait=off"]
        if seed is not None:
            drive = "ide-cd,bus=ide.1" if seed.suffix == ".iso" else "virtio-blk-pci"
            words += ["-drive", f"file={seed},format=raw,if=none,id=seed,readonly=on"]
            words += ["-device", f"{drive},drive=seed"]
        if shell:
            words += hardware(self.home / "shell.sock")
        if firmware == "uefi":
            words += ["-bios", str(UEFI)]
        words += extra
        with open(self.home / "qemu.log", "ab") as log:
            self._process = subprocess.Popen(
                net.inside(switch, *words), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._said.clear()
        self._line = self._connect(path)
        # Always read: a line that nobody reads fills up, and the kernel then waits for it.
        self._reader = threading.Thread(target=self._read_on, args=(self._line,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._count, args=(self._connect(events),), daemon=True).start()
        self._shell = Shell(self.home / "shell.sock") if shell else None

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + 20
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"QEMU ended: {(self.home / 'qemu.log').read_text()}")
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(path))
                return line
            except OSError:
                line.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _read_on(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := line.recv(65536):
                self._said += data

    def _count(self, events: socket.socket) -> None:
        """Count the restarts that the guest asks for, as QEMU tells them until it ends."""
        with events, events.makefile() as lines, contextlib.suppress(OSError):
            events.sendall(b'{"execute": "qmp_capabilities"}\n')
            for line in lines:
                told = json.loads(line)
                self._restarts += told.get("event") == "RESET" and told["data"]["guest"]

    def enlarge(self, gib: int) -> None:
        """Make the disk larger, as an operator does who wants longer logs; while it is off."""
        subprocess.run(["qemu-img", "resize", "-q", str(self.disk), f"{gib}G"], check=True)

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def processor_s(self) -> float:
        """Return how long QEMU had a processor since it was started; a busy host changes little."""
        assert self._process is not None
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def shell(self) -> Shell:
        """A root's shell, of a machine that was started with one."""
        assert self._shell is not None
        return self._shell

    def said(self, begin: int = 0) -> bytes:
        """Return what the serial line has said since the start, from a place in it on."""
        return bytes(self._said[begin:])

    def runs(self) -> None:
        """Raises: AssertionError if the machine has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self.home / "qemu.log").read_text()
            raise AssertionError(f"{self.name} ended; its line said:\n{self.read()[-3000:]}\n{log}")

    def read(self) -> str:
        """Return all that the serial line has said since the start, without escape sequences."""
        return _ESCAPES.sub("", bytes(self._said).decode(errors="replace"))

    @property
    def restarts(self) -> int:
        """How often the machine has restarted by itself."""
        return self._restarts

    def restarted(self, before: int) -> None:
        """Wait until it has done so more often than `before`."""
        until("the machine's restart", lambda: self._restarts > before)
        if self._shell is not None:
            self._shell.begin_again()

    def wait(self, pattern: str, patience_s: float = PATIENCE_S) -> str:
        """Return what `pattern` matched on the serial line. Raises: AssertionError."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = re.search(pattern, self.read())
            if found:
                return found[0]
            self.runs()
            time.sleep(0.1)
        raise AssertionError(f"{self.name} never said {pattern!r}:\n{self.read()[-3000:]}")

    def type(self, text: str) -> None:
        """Type into the serial line, as slowly as a person does."""
        for character in text:
            self.send(character)
            time.sleep(0.01)

    def send(self, key: str) -> None:
        """Send what one key makes, at once: an arrow whose bytes are apart begins with an Esc."""
        assert self._line is not None
        self._line.sendall(key.encode())

    def cut(self) -> None:
        """Take the power away."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._line is not None and self._reader is not None:
            self._reader.join(10)  # QEMU is gone: its end of the line is closed
            self._line.close()
            self._line = None
        if self._shell is not None:
            self._shell.close()
            self._shell = None


def layer(image: Path, disk: Path) -> None:
    """Make a disk that begins as `image` and is written to instead of it."""
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", _FORMATS[image.suffix]]
    subprocess.run([*words, "-b", str(image.resolve()), str(disk)], check=True)


def missing(*programs: str) -> str:
    """Return why no machine can be started here; "" if one can."""
    if os.geteuid() != 0:
        return "virtual machines on the lab's networks need root"
    for program in ("qemu-system-x86_64", "qemu-img", *programs):
        if shutil.which(program) is None:
            return f"{program} is not installed (sh tests/packages.sh)"
    return "" if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun for their networks"


def until(what: str, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition. Raises: AssertionError."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"never within {patience_s:g} s: {what}"
        time.sleep(0.2)


def _mac(name: str) -> str:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return f"52:54:00:{sha256[:2]}:{sha256[2:4]}:{sha256[4:6]}"
