"""One virtual machine of the image: started, watched and typed to through its serial line."""

from __future__ import annotations

import contextlib
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

from tests.lab.network import Network

Bus = Literal["virtio", "pvscsi", "lsi", "ahci"]
Firmware = Literal["bios", "uefi"]
UEFI = Path("/usr/share/ovmf/OVMF.fd")
# A start takes half a minute under software emulation on a quiet machine; this one may be busy.
PATIENCE_S = 300.0
_BUSES: dict[Bus, list[str]] = {
    "virtio": ["-device", "virtio-blk-pci,drive=disk,bootindex=1"],
    "pvscsi": ["-device", "pvscsi,id=bus", "-device", "scsi-hd,bus=bus.0,drive=disk,bootindex=1"],
    "lsi": ["-device", "lsi53c895a,id=bus", "-device", "scsi-hd,bus=bus.0,drive=disk,bootindex=1"],
    "ahci": ["-device", "ide-hd,bus=ide.0,drive=disk,bootindex=1"],
}
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
        extra: Sequence[str] = (),
    ) -> None:
        """Power on, with its one interface on a switch of the lab."""
        tap = f"t-{self.name}"[:15]
        net.ip(switch, "tuntap", "add", "dev", tap, "mode", "tap")
        net.ip(switch, "link", "set", tap, "master", "lan", "up")
        path = self.home / "serial.sock"
        path.unlink(missing_ok=True)
        words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-machine", f"q35,accel={self._accelerator}", "-m", "1024", "-smp", "2"]
        words += ["-cpu", "host" if self._accelerator == "kvm" else "max"]
        words += ["-drive", f"file={self.disk},format=qcow2,if=none,id=disk", *_BUSES[bus]]
        words += ["-netdev", f"tap,id=lan,ifname={tap},script=no,downscript=no"]
        words += ["-device", f"{nic},netdev=lan,mac={_mac(self.name)}"]
        words += ["-chardev", f"socket,id=line,path={path},server=on,wait=off"]
        words += ["-serial", "chardev:line", "-device", "virtio-rng-pci", "-vga", "std"]
        if seed is not None:
            words += ["-drive", f"file={seed},format=raw,if=none,id=seed,readonly=on"]
            words += ["-device", "virtio-blk-pci,drive=seed"]
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

    def read(self) -> str:
        """Return all that the serial line has said since the start, without escape sequences."""
        return _ESCAPES.sub("", bytes(self._said).decode(errors="replace"))

    def wait(self, pattern: str, patience_s: float = PATIENCE_S) -> str:
        """Return what `pattern` matched on the serial line. Raises: AssertionError."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = re.search(pattern, self.read())
            if found:
                return found[0]
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name} ended; the line said:\n{self.read()[-3000:]}")
            time.sleep(0.1)
        raise AssertionError(f"{self.name} never said {pattern!r}:\n{self.read()[-3000:]}")

    def type(self, text: str) -> None:
        """Type into the serial line, as slowly as a person's terminal sends."""
        assert self._line is not None
        for character in text:
            self._line.sendall(character.encode())
            time.sleep(0.01)

    def cut(self) -> None:
        """Take the power away."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._line is not None and self._reader is not None:
            self._reader.join(10)  # QEMU is gone: its end of the line is closed
            self._line.close()
            self._line = None

    def ended(self, patience_s: float = 120.0) -> None:
        """Wait until the machine has switched itself off or, with -no-reboot, wants to restart."""
        assert self._process is not None
        self._process.wait(patience_s)


def layer(image: Path, disk: Path) -> None:
    """Make a disk that begins as `image`, of whatever format, and is written to instead of it."""
    found = subprocess.run(
        ["qemu-img", "info", "--output=json", str(image)],
        capture_output=True,
        check=True,
        text=True,
    )
    form = re.search(r'"format": "(\w+)"', found.stdout)
    assert form is not None
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form[1], "-b", str(image.resolve())]
    subprocess.run([*words, str(disk)], check=True)


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
    number = sum(ord(letter) << (5 * place) for place, letter in enumerate(name)) & 0xFFFFFF
    return f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
