"""One machine in the hands of an operator, from the wizard to a full disk. The tests are in order.

Everything a person would do is typed on the serial line and read from its screen; the shell of the
tests looks, and does what stands for damage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import __version__
from tests.appliance import base
from tests.appliance.releases import Publisher
from tests.image.conftest import PASSWORD, Started, built, serves
from tests.image.machine import Machine
from tests.image.screen import Screen
from tests.image.seeds import volume
from tests.image.shell import PATIENCE_S
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(2400)

_APPLIANCE = "/opt/agent-proxy/venv/bin/agent-proxy-appliance"
_SUPERVISORCTL = (
    "/opt/agent-proxy/venv/bin/supervisorctl", "-s", "unix:///opt/agent-proxy/var/run/supervisor.sock",
)  # fmt: skip
_READY = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:2004/ready').read().decode())"
)
_SETTINGS = "/opt/agent-proxy/conf/proxy.ini"
_JOURNAL = "/var/lib/agent-proxy/transaction/journal.json"
_NEWER = "0.9.7"


class Node:
    """The machine, its switch and the volume with a release; started again and again."""

    def __init__(self, machine: Machine, lab: Lab, release: Path) -> None:
        self.machine, self.lab = machine, lab
        drive = f"file={release},format=raw,if=none,id=release,readonly=on"
        self._extra = ["-drive", drive, "-device", "virtio-blk-pci,drive=release"]

    def start(self) -> None:
        self.machine.start(self.lab.net, "lan", shell=True, extra=self._extra)

    def run(self, *words: str) -> str:
        return self.machine.shell.run(*words)

    def appliance(self, *words: str, patience_s: float = PATIENCE_S) -> str:
        return self.machine.shell.run(_APPLIANCE, *words, patience_s=patience_s)

    def until_ready(self) -> None:
        """Wait until all workers say that they are ready. Raises: AssertionError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            code, said = self.machine.shell.try_run(
                f'/opt/agent-proxy/venv/bin/python -c "{_READY}"'
            )
            if code == 0 and json.loads(said)["ready"]:
                return
            assert time.monotonic() < deadline, f"not ready: {said}"
            time.sleep(1)

    def until(self, what: str, script: str) -> None:
        """Wait until a line of shell ends well, asked every tenth of a second over there."""
        line = f"for n in $(seq 3000); do {script} && exit 0; sleep 0.1; done; exit 1"
        code, said = self.machine.shell.try_run(line)
        assert code == 0, f"never: {what}; {said}"

    def lose_power(self) -> None:
        """Take the power away, at once, and give it back; wait until the node takes traffic."""
        self.machine.cut()
        self.start()
        self.until_ready()

    def settings(self) -> str:
        return self.run("cat", _SETTINGS)

    def identity(self) -> str:
        return self.run(
            "sha256sum", "/etc/machine-id", "/opt/agent-proxy/var/secret",
            "/opt/agent-proxy/var/tls/proxy.key", "/etc/ssh/ssh_host_ed25519_key",
        )  # fmt: skip

    def log_in(self) -> Screen:
        """Return the serial line's screen with the main menu on it."""
        screen = Screen(self.machine)
        screen.shows("Enter log in")
        screen.press("enter")
        screen.shows("Password of this console")
        screen.press(PASSWORD, "enter")
        screen.shows("1-9 at once")
        return screen


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(tmp_path_factory.mktemp("publisher") / "keys", base.wheels("trixie"))


@pytest.fixture(scope="module")
def node(
    lab: Lab, machines: Started, publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("release")
    (folder / "new").write_bytes(publisher.release(_NEWER))
    (folder / "key").write_bytes(publisher.public_key)
    files = {"new.release": folder / "new", "publisher.pub": folder / "key"}
    size_mib = 8 + ((folder / "new").stat().st_size >> 20)
    medium = volume(folder / "release.img", "RELEASE", files, size_mib)
    yield Node(machines("node", built("agent-proxy-*.qcow2")), lab, medium)


def test_the_wizard_on_the_serial_line_sets_it_up(node: Node, lab: Lab) -> None:
    node.machine.enlarge(6)
    node.start()
    screen = Screen(node.machine)
    screen.shows("not set up yet")
    lab.cannot("vm-1", "10.1.2.3", 2002)
    screen.press("enter")
    screen.shows("First boot: a few questions")
    # The platform is at .9: its address is corrected at the console, in the next test.
    screen.press(PASSWORD, "down", PASSWORD)  # unseen, so twice
    screen.press("down", "10.1.2.10:3302", "down", "10.1.2.9", "down", "45BCEBB32AA9")
    screen.press("down", "node-1", "down", "10.1.2.3/24", "f2")
    screen.shows("Enter do it")
    screen.press("enter")
    screen.shows("5 complete   done", no_more="what it would change")
    assert node.run("hostname").strip() == "node-1"
    assert "10.1.2.3/24" in node.run("ip", "-color=never", "-br", "address", "show", "eth0")
    assert int(node.run("df", "--output=size", "-BM", "/").split()[-1].rstrip("M")) > 5500
    _log_out(screen)


def _log_out(screen: Screen) -> None:
    """From wherever: each Esc is one screen back, and on the first one nothing."""
    screen.press("esc", "esc", "esc", "esc", "esc")
    screen.shows("Enter log in")


def test_upstream_is_set_through_the_console(node: Node, lab: Lab) -> None:
    screen = node.log_in()
    screen.press("2")
    screen.shows("5  Difference")
    screen.press("2")
    screen.shows("3  upstream")
    screen.press("3")
    screen.shows("Proxy settings: [upstream]")
    screen.press("ctrl u", "10.1.2.9:3302", "down", "right")
    screen.shows("< no >")
    screen.press("f2")
    screen.shows("Enter do it")
    screen.press("end", "enter")
    screen.shows("Taken back by itself")
    screen.press("c")
    screen.shows("confirmed, final")
    _log_out(screen)
    node.until_ready()
    assert "endpoint = 10.1.2.9:3302" in node.settings()
    serves(lab, "set-up")
    assert lab.order("POST", "/register")["agentProxyId"] == "45BCEBB32AA9"


def test_each_worker_restarts_by_supervisorctl(node: Node, lab: Lab) -> None:
    before = _workers(node)
    assert len(before) == 2
    for name in before:
        node.run(*_SUPERVISORCTL, "restart", name)
        node.until_ready()
        serves(lab, name)
    after = _workers(node)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values()), (before, after)


def _workers(node: Node) -> dict[str, str]:
    """Return the process of each worker, as supervisor has them: name -> pid."""
    rows = [line.split() for line in node.run(*_SUPERVISORCTL, "status").splitlines()]
    assert all(row[1] == "RUNNING" for row in rows), rows
    return {row[0]: row[3].rstrip(",") for row in rows if "worker" in row[0]}


def test_a_restart_at_the_console_keeps_everything(node: Node, lab: Lab) -> None:
    before = node.identity()
    boot = node.run("cat", "/proc/sys/kernel/random/boot_id")
    screen = node.log_in()
    screen.press("9")
    screen.shows("shut down the machine")
    screen.press("1")
    screen.shows("Type yes to do it")
    restarts = node.machine.restarts
    screen.press("yes", "enter")
    node.machine.restarted(restarts)
    serves(lab, "restarted")
    assert node.run("cat", "/proc/sys/kernel/random/boot_id") != boot
    assert node.identity() == before


def test_a_power_cut_in_a_change_leaves_the_old_settings_or_the_new(node: Node, lab: Lab) -> None:
    """Cut when the first file is another one, when it waits for a word, and right after that."""
    before, old = node.identity(), node.settings()
    change = ("upstream", "set", "--server-name")
    node.machine.shell.begin(f"{_APPLIANCE} {' '.join(change)} half.example.com")
    node.until("the file is another one", f"grep -q half.example.com {_SETTINGS}")
    node.lose_power()
    _taken_back(node, old)
    assert "unless confirmed" in node.appliance(*change, "waits.example.com")
    assert "waits.example.com" in node.settings()
    node.lose_power()
    _taken_back(node, old)
    node.appliance(*change, "kept.example.com")
    node.appliance("confirm")
    node.lose_power()
    assert "server_name = kept.example.com" in node.settings()
    node.run("test", "!", "-e", _JOURNAL)
    assert node.identity() == before
    serves(lab, "after-the-cuts")


def _taken_back(node: Node, old: str) -> None:
    assert node.settings() == old
    node.run("test", "!", "-e", _JOURNAL)
    unit = ("journalctl", "-b", "-o", "cat", "-u", "agent-proxy-recover.service")
    assert "taken back, the old state is in force again" in node.run(*unit)


def test_a_full_disk_stops_nobody(node: Node, lab: Lab) -> None:
    fill = (
        "fallocate -l $(df --output=avail -B1 / | tail -n 1) /var/full; cat /dev/zero >/var/full2"
    )
    node.machine.shell.try_run(fill)
    assert node.run("df", "--output=avail", "/").split()[-1] == "0"
    serves(lab, "full")
    screen = node.log_in()
    screen.press("1")
    screen.shows("2  Diagnose")
    _log_out(screen)
    old = node.settings()
    line = f"{_APPLIANCE} upstream set --server-name full.example.com"
    code, said = node.machine.shell.try_run(line)
    assert code == 1 and "nothing was changed" in said, said
    assert "No space left on device" in said, said
    assert node.settings() == old
    for name in _workers(node):
        node.run(*_SUPERVISORCTL, "restart", name)
        node.until_ready()
    serves(lab, "still-full")
    node.run("rm", "/var/full", "/var/full2")
    assert node.settings() == old


def test_an_upgrade_to_a_newer_build_and_back(node: Node, lab: Lab) -> None:
    node.run("mkdir", "-p", "/run/release", "/etc/agent-proxy/release-keys")
    node.run("mount", "-o", "ro", "LABEL=RELEASE", "/run/release")
    node.run("cp", "/run/release/publisher.pub", "/etc/agent-proxy/release-keys/publisher.pub")
    node.run("cp", "/run/release/new.release", "/var/lib/agent-proxy/new.release")
    node.until_ready()
    install = ("upgrade", "install", "--yes", "/var/lib/agent-proxy/new.release")
    said = node.appliance(*install, patience_s=1200)
    assert f"in force: {_NEWER}" in said, said
    node.until_ready()
    serves(lab, "upgraded")
    assert lab.order("POST", "/register")["version"] == _NEWER
    node.appliance("upgrade", "rollback", "--yes", patience_s=600)
    node.until_ready()
    serves(lab, "rolled-back")
    assert lab.order("POST", "/register")["version"] == __version__
