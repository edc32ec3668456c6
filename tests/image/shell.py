"""A root's shell inside a machine of the image, which has no way to one.

The unit comes in by SMBIOS, as a credential of systemd's (systemd.system-credentials(7)): whoever
owns the hypervisor owns the machine. Nothing on the disk is different for it.
"""

from __future__ import annotations

import base64
import re
import shlex
import socket
import threading
import time
from pathlib import Path

# A start takes a minute under software emulation on a quiet machine; this one may be busy.
PATIENCE_S = 600.0
_UNIT = """\
[Unit]
Description=Shell of the tests
[Service]
ExecStart=/bin/sh -c 'stty raw -echo; exec sh'
StandardInput=tty
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Environment=PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat
"""
_WANTED = "[Unit]\nWants=tests-shell.service\n"


def hardware(path: Path) -> list[str]:
    """Return QEMU's words for the second serial line, at the socket `path`, and the unit."""
    path.unlink(missing_ok=True)
    words = ["-chardev", f"socket,id=shell,path={path},server=on,wait=off"]
    words += ["-serial", "chardev:shell"]
    for name, text in (
        ("systemd.extra-unit.tests-shell.service", _UNIT),
        ("systemd.unit-dropin.multi-user.target", _WANTED),
    ):
        coded = base64.b64encode(text.encode()).decode()
        words += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={coded}"]
    return words


class Shell:
    """One shell; commands are run one after the other."""

    def __init__(self, path: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(path))
        self._said = bytearray()
        self._count = 0
        self._up = False
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def _read_on(self) -> None:
        try:
            while piece := self._line.recv(65536):
                self._said += piece
        except OSError:
            pass  # closed: the machine is off

    def run(self, *words: str, patience_s: float = PATIENCE_S) -> str:
        """Return what a command printed. Raises: AssertionError if it failed."""
        code, said = self.try_run(shlex.join(words), patience_s=patience_s)
        assert code == 0, f"{' '.join(words)}: {code} {said}"
        return said

    def try_run(self, script: str, patience_s: float = PATIENCE_S) -> tuple[int, str]:
        """Return the code and the output of a line of shell."""
        self._wait_until_up()
        self._count += 1
        mark = f"said-{self._count}"
        self._said.clear()
        self._line.sendall(f"({script}) 2>&1 </dev/null; echo {mark} $? end\n".encode())
        found = self._wait(rf"(?s)(.*){mark} (\d+) end\n", patience_s)
        return int(found[2]), found[1]

    def begin(self, script: str) -> None:
        """Let a line of shell run, and do not wait for it."""
        self._wait_until_up()
        self._line.sendall(f"{script} </dev/null >/dev/null 2>&1 &\n".encode())

    def _wait_until_up(self) -> None:
        """Ask until the shell is there: what comes before it is lost."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._up:
            assert time.monotonic() < deadline, f"no shell: {bytes(self._said[-500:])!r}"
            self._line.sendall(b"echo shell is up\n")
            time.sleep(1)
            if b"shell is up\n" in self._said:
                self._up = True
                self._line.sendall(b"echo shell is ready\n")
                self._wait("shell is ready\n", PATIENCE_S)

    def _wait(self, pattern: str, patience_s: float) -> re.Match[str]:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = re.search(pattern, bytes(self._said).decode(errors="replace"))
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"the shell said nothing but {bytes(self._said[-500:])!r}")

    def begin_again(self) -> None:
        """Expect the shell of another start of the machine."""
        self._up = False
        self._said.clear()

    def close(self) -> None:
        self._line.close()
        self._reader.join(10)
