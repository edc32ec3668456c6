"""One machine in the hands of an operator, from the wizard to a full disk. The tests are in order.

Everything a person would do is typed on the serial line and read from its screen; the shell of the
tests looks, and does what stands for damage.
"""

from __future__ import annotations

import pytest

from tests.image.conftest import PASSWORD, Started, built, serves
from tests.image.node import APPLIANCE, JOURNAL, SETTINGS, SUPERVISORCTL, Node
from tests.image.screen import Screen
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(2400)


@pytest.fixture(scope="module")
def node(lab: Lab, machines: Started) -> Node:
    return Node(machines("node", built("agent-proxy-*.qcow2")), lab)


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
        node.run(*SUPERVISORCTL, "restart", name)
        node.until_ready()
        serves(lab, name)
    after = _workers(node)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values()), (before, after)


def _workers(node: Node) -> dict[str, str]:
    """Return the process of each worker, as supervisor has them: name -> pid."""
    rows = [line.split() for line in node.run(*SUPERVISORCTL, "status").splitlines()]
    assert all(row[1] == "RUNNING" for row in rows), rows
    return {row[0]: row[3].rstrip(",") for row in rows if "worker" in row[0]}


def test_a_restart_at_the_console_keeps_everything(node: Node, lab: Lab) -> None:
    before = node.identity()
    boot = node.run("cat", "/proc/sys/kernel/random/boot_id")
    screen = node.log_in()
    screen.press("9")
    screen.shows("shut the machine down")
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
    node.machine.shell.begin(f"{APPLIANCE} {' '.join(change)} half.example.com")
    node.until("the file is another one", f"grep -q half.example.com {SETTINGS}")
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
    node.run("test", "!", "-e", JOURNAL)
    assert node.identity() == before
    serves(lab, "after-the-cuts")


def _taken_back(node: Node, old: str) -> None:
    assert node.settings() == old
    node.run("test", "!", "-e", JOURNAL)
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
    line = f"{APPLIANCE} upstream set --server-name full.example.com"
    code, said = node.machine.shell.try_run(line)
    assert code == 1 and "nothing was changed" in said, said
    assert "No space left on device" in said, said
    assert node.settings() == old
    for name in _workers(node):
        node.run(*SUPERVISORCTL, "restart", name)
        node.until_ready()
    serves(lab, "still-full")
    node.run("rm", "/var/full", "/var/full2")
    assert node.settings() == old
