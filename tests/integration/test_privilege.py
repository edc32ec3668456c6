"""What the processes may do, read from /proc and from their system calls; as root only.

supervisord is started as the service unit starts it, as far as that goes without systemd: by a
user without rights, no capability left to get back, no new privileges, the unit's umask. That the
unit's system call filter lets everything through that is used is compared with a trace.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.certificates import self_signed
from tests.integration.nodes import ROOT, Reservation
from tests.integration.peers import eventually

NOBODY = 65534
BIN = Path(sys.executable).parent
UNIT = (ROOT / "conf" / "agent-proxy.service").read_text()
PRIVILEGE = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
PRIVILEGE += ["--bounding-set=-all", "--inh-caps=-all"]
SECRET = "privilege-test-secret-0123456789abcdef"
DESCRIPTORS = 1112
WORST_EXPOSURE = 2.5


def unit(key: str) -> list[str]:
    """Return the values of all lines `key=` of the service unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def may_run() -> str:
    """Return why these tests cannot run here; "" if they can."""
    if os.geteuid():
        return "not root"
    missing = [name for name in ("setpriv", "strace") if not shutil.which(name)]
    if missing:
        return f"{' and '.join(missing)} not installed (apt-get)"
    tried = subprocess.run(
        ["setpriv", *PRIVILEGE, str(BIN / "python"), "-c", "import proxy, supervisor"],
        cwd="/",
        capture_output=True,
    )
    return "" if tried.returncode == 0 else "user 65534 cannot read this clone or its .venv"


REASON = may_run()
needs_root = pytest.mark.skipif(bool(REASON), reason=REASON)


class Service:
    """supervisord and its workers, as nobody, traced."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.var = home / "var"
        self._ports = Reservation(2)
        for name in ("conf", "var/log", "var/run"):
            (home / name).mkdir(parents=True)
        self_signed(self.var / "tls", "proxy", ("localhost",))
        listen, admin = self._ports.ports
        (home / "conf" / "proxy.ini").write_text(
            f"[proxy]\nid = 45BCEBB32AA9\nsecret = {SECRET}\n[platform]\nnetworks = 127.0.2.1\n"
            f"[upstream]\nendpoint = 127.0.2.1:9\n[limits]\nconnections = 300\n"
            f"[listen]\naddresses = 127.0.0.1\nport = {listen}\n[admin]\nport = {admin}\n"
        )
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        (umask,) = unit("UMask")
        self.process = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(home / "trace"), "setpriv", *PRIVILEGE]
            + [str(BIN / "supervisord"), "-c", str(ROOT / "conf" / "supervisord.conf")],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            umask=int(umask, 8),
            env={
                "PATH": f"{BIN}:/usr/bin:/bin",
                "AGENT_PROXY_CONF": str(home / "conf" / "proxy.ini"),
                "AGENT_PROXY_VAR": str(self.var),
                "AGENT_PROXY_WORKERS": "2",
                "AGENT_PROXY_MINFDS": str(DESCRIPTORS),
                "AGENT_PROXY_INCLUDE": "",
            },
        )
        log = self.var / "log"
        for number in (0, 1):
            path = log / f"worker-{number}.log"
            eventually(
                lambda path=path: path.exists() and " is up" in path.read_text(),
                f"worker {number} is up: {[p.read_text() for p in log.glob('*.log')]}",
                45.0,
            )
        watchdog = log / "watchdog.log"
        eventually(
            lambda: watchdog.exists() and "is up" in watchdog.read_text(),
            "the watchdog is up",
            45.0,
        )

    def pids(self) -> list[int]:
        """Return supervisord first, then the workers and their watchdog."""
        first = int((self.var / "run" / "supervisord.pid").read_text())
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def stop(self) -> None:
        if self.process.poll() is None:
            os.kill(self.pids()[0], signal.SIGTERM)
        self.process.wait(50)
        self._ports.release()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    # Not pytest's directory: only root may enter that.
    with tempfile.TemporaryDirectory(prefix="ap-") as home:
        service = Service(Path(home))
        yield service
        service.stop()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@needs_root
def test_every_process_is_unprivileged_and_stays_so(service: Service) -> None:
    pids = service.pids()
    assert len(pids) == 4
    for pid in pids:
        seen = status(pid)
        assert seen["Uid"].split() == seen["Gid"].split() == ["65534"] * 4
        assert seen["Groups"] == ""
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(seen[kind], 16) == 0, kind
        assert seen["NoNewPrivs"] == "1"


@needs_root
def test_no_worker_can_leave_a_core_dump_with_what_it_knows(service: Service) -> None:
    for pid in service.pids()[1:]:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
        assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0


@needs_root
def test_no_process_tells_a_secret_to_who_looks_at_it_from_outside(service: Service) -> None:
    for pid in service.pids():
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    for path in service.var.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            assert SECRET.encode() not in path.read_bytes(), path


@needs_root
def test_what_the_processes_make_is_nobody_elses(service: Service) -> None:
    """Logs of supervisord, sockets and pid file: nothing for group or others."""
    made = [*(service.var / "log").iterdir(), *(service.var / "run").iterdir()]
    assert len(made) >= 9
    for path in made:
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def filtered() -> set[str]:
    """Return the system calls that the unit allows, its lines applied in their order."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    groups: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            groups[line.split()[0]] = members = []
        elif line.strip() and not line.strip().startswith("#") and line.startswith(" "):
            members.append(line.strip())

    def expand(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        return {one for member in groups[name] for one in expand(member)}

    allowed = expand("@default")
    for value in unit("SystemCallFilter"):
        names = {one for name in value.lstrip("~").split() for one in expand(name)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


@needs_root
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_filter_of_system_calls_lets_through_all_that_is_used(service: Service) -> None:
    """Before: supervisord gives its socket an owner, was not permitted to, and ended."""
    service.stop()  # ending counts as well
    trace = (service.home / "trace").read_text(errors="replace")
    begin = re.search(r"execve\(\"\S*supervisord\".* = 0$", trace, re.MULTILINE)
    assert begin is not None
    used = set(re.findall(r"^\d+ +(\w+)\(", trace[begin.end() :], re.MULTILINE))
    assert {"bind", "chown", "setsockopt"} <= used
    assert used - filtered() == set()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_unit_leaves_little_exposed() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
        + [str(ROOT / "conf" / "agent-proxy.service")],
        capture_output=True,
        text=True,
    )
    found = re.search(r"Overall exposure level.*: ([\d.]+) ", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= WORST_EXPOSURE


@needs_root
def test_a_zones_interface_needs_no_capability() -> None:
    """SO_BINDTODEVICE on a socket that has none yet: Linux 5.7 and newer."""
    script = "import socket; s = socket.socket(); "
    script += "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')"
    subprocess.run(["setpriv", *PRIVILEGE, str(BIN / "python"), "-c", script], cwd="/", check=True)
