"""One machine: a disk laid over a Debian, booted with a real systemd in a network namespace.

The disk is an overlay: what the machine writes goes into a folder of its own and is there again
after the power was cut (`kill`) and it was booted anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any  # documents of JSON

PATIENCE_S = 90.0
_LAST_UNIT = "agent-proxy-first-boot.service"
_UNLOCK, _NUMBER = 0x40045431, 0x80045430  # TIOCSPTLCK, TIOCGPTN of a pseudo-terminal
# systemd 257 wants to be told that control groups of the first version will do.
_LEGACY = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"


class Machine:
    """A container with one veth or more of a namespace that the test made.

    `layers` are the read-only parts of its disk, the uppermost first.
    """

    def __init__(self, name: str, home: Path, layers: list[Path], netns: str = "") -> None:
        self.name = name
        self.home = home / name
        self.root = self.home / "root"
        self.upper = self.home / "upper"
        self._netns = netns
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._terminal = -1
        self._reader: threading.Thread | None = None
        self.screen = ""
        self.listener: Callable[[bytes], object] = lambda piece: None
        for folder in (self.root, self.upper, self.home / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.home / 'work'}"
        _run("mount", "-t", "overlay", "-o", options, f"agent-proxy-{name}", str(self.root))

    # -- its disk, whether it runs or not

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    def document(self, path: str) -> Any:
        return json.loads(self.read(path))

    # -- power

    def once(self, *words: str, binds: tuple[str, ...] = ()) -> str:
        """Run one program on the disk without booting. Raises: RuntimeError."""
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network"]
        command += [f"--bind-ro={bind}" for bind in binds]
        return _run(*command, "-D", str(self.root), *words)

    def boot(self, *, binds: tuple[str, ...] = (), kernel: tuple[str, ...] = ()) -> Machine:
        """Switch on, and wait until the first boot has come as far as it can."""
        network = (
            f"--network-namespace-path=/run/netns/{self._netns}"
            if self._netns
            else "--private-network"
        )
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", network]
        command += [f"--hostname={self.name}", "--link-journal=no", "--resolv-conf=off"]
        command += ["--timezone=off", "--capability=CAP_NET_ADMIN", "-D", str(self.root)]
        command += [f"--bind-ro={bind}" for bind in binds]
        self._terminal, end = os.openpty()  # its /dev/console
        self._process = subprocess.Popen(
            [*command, f"--setenv={_LEGACY}", "-b", *kernel],
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        self._reader = threading.Thread(
            target=self._read_screen, args=(self._terminal,), daemon=True
        )
        self._reader.start()
        self._leader = self.until("its init runs", self._find_leader)
        self.until("it has booted", self._has_booted)
        return self

    def kill(self) -> None:
        """Cut the power: every process ends at once, nothing is written any more."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader or self._process.pid, signal.SIGKILL)
            self._ended(self._process)

    def shut_down(self) -> None:
        """Switch off as one should."""
        if self._process is not None:
            self.try_run("systemctl", "poweroff", "--no-block")
            self._ended(self._process)

    def take_disk(self, place: Path) -> Path:
        """Move what was written to `place`, as a layer for other machines; return it."""
        _run("umount", str(self.root))
        return self.upper.rename(place)

    def close(self) -> None:
        self.kill()
        subprocess.run(["umount", "-l", str(self.root)], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(10)
        os.close(self._terminal)
        self._process, self._leader = None, 0

    def _read_screen(self, terminal: int) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has its other end any more
            while piece := os.read(terminal, 4096):
                self.screen = (self.screen + piece.decode(errors="replace"))[-100_000:]
                self.listener(piece)

    def _find_leader(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} did not boot: {self.screen[-1500:]}")
        # First comes a helper of nspawn's own, which ends; its init is process 1 of its namespace.
        found = (child for child in _children(self._process.pid) if _is_init(child))
        return next(found, 0)

    def _has_booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} went down: {self.screen[-1500:]}")
        asked = ("-P", "ActiveState", "-P", "ConditionTimestampMonotonic", _LAST_UNIT)
        said = self.try_run("systemctl", "show", *asked).stdout.split()
        # Once a machine is set up it is only looked at whether it is.
        return said[:1] in (["active"], ["failed"]) or (
            said[:1] == ["inactive"] and said[1:] not in ([], ["0"])
        )

    @property
    def leader(self) -> int:
        """The process here that is process 1 there."""
        return self._leader

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # -- its terminals

    def serial_line(self) -> tuple[int, str]:
        """Return the far end of a new terminal of the machine, and its name: pts/3."""
        far = os.open(f"/proc/{self._leader}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(far, _UNLOCK, struct.pack("i", 0))
        number = struct.unpack("i", fcntl.ioctl(far, _NUMBER, b"\0" * 4))[0]
        return far, f"pts/{number}"

    def own_terminal(self) -> tuple[int, int]:
        """Return what is shown on /dev/console from now on, and where keys for it go."""
        shown, into = os.pipe()
        self.listener = lambda piece: os.write(into, piece)
        return shown, self._terminal

    # -- what runs on it

    def try_run(
        self, *words: str, stdin: str = "", timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root on the booted machine."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run(
            [*enter, *clean, "LANG=C.UTF-8", "SYSTEMD_COLORS=0", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def run(self, *words: str, stdin: str = "", timeout_s: float = 120) -> str:
        """Return what it printed. Raises: RuntimeError with what it complained about."""
        done = self.try_run(*words, stdin=stdin, timeout_s=timeout_s)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.returncode} {done.stdout}{done.stderr}")
        return done.stdout

    def appliance(self, *words: str, stdin: str = "") -> str:
        return self.run("/opt/agent-proxy/venv/bin/agent-proxy-appliance", *words, stdin=stdin)

    def is_active(self, unit: str) -> bool:
        return self.try_run("systemctl", "is-active", "--quiet", unit).returncode == 0

    def failed(self) -> list[str]:
        lines = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        return [line.split()[0] for line in lines.splitlines()]

    def journal(self, *words: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "short-monotonic", *words)

    def ready(self) -> Any:
        return json.loads(self.run("curl", "-sS", "-m", "3", "http://127.0.0.1:2004/ready"))

    def until(self, what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Return the first true value. Raises: AssertionError with the last complaint."""
        deadline = time.monotonic() + patience_s
        complaint = ""
        while time.monotonic() < deadline:
            try:
                if value := condition():
                    return value
            except (OSError, RuntimeError, LookupError, ValueError) as fault:
                complaint = str(fault)
            time.sleep(0.1)
        raise AssertionError(
            f"{self.name}: never within {patience_s:g} s: {what}; {complaint}\n"
            f"{self.screen[-1500:]}"
        )


def _is_init(pid: int) -> bool:
    """Return whether a process is systemd, as process 1 of a namespace of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    name = re.search(r"^Name:\s+(\S+)$", status, re.MULTILINE)
    numbers = re.search(r"^NSpid:\s+(.*)$", status, re.MULTILINE)
    if name is None or numbers is None:
        return False
    return name[1] in ("systemd", "init") and numbers[1].split()[-1] == "1"


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout
