"""Upgrades on a real machine that serves meanwhile: to a good release, and away from bad ones."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from proxy import __version__
from tests.appliance.conftest import Boot, answers
from tests.appliance.container import Machine
from tests.appliance.releases import Publisher
from tests.appliance.upgrading import APPLIANCE, FILE, TOLD, let_upgrade, upgrade, version
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(900)

_DOES_NOT_START = ("proxy/worker.py", "import gevent\n", "import nothing_of_that_name\n")
# Serves in its trial, whose settings lie elsewhere, and ends at once in its real place.
_FAILS_LATER = (
    "proxy/__main__.py",
    "    from proxy import cli\n",
    '    if "/opt/agent-proxy/conf/proxy.ini" in sys.argv and "worker" in sys.argv:\n'
    "        return 1\n"
    "    from proxy import cli\n",
)


class Load(threading.Thread):
    """Calls an agent through the proxy, over and over; remembers what went wrong."""

    def __init__(self, lab: Lab, name: str) -> None:
        super().__init__()
        self._lab, self._name = lab, name
        self._known = lab.shake_and_call(name)[name]
        self._stop_asked = threading.Event()
        self.calls = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self.calls += 1
            try:
                self._lab.call(self._name, self._known)
            except (AssertionError, OSError, LookupError, ValueError) as fault:
                self.lost.append(str(fault))

    def end(self) -> None:
        self._stop_asked.set()
        self.join()


def test_upgrades(boot: Boot, lab: Lab, publisher: Publisher) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot("upgraded", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    let_upgrade(machine, publisher)
    lab.net.machine("vm")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    settings = machine.read("/opt/agent-proxy/conf/proxy.ini")

    _forged_ones_are_refused(machine, publisher)
    _one_that_is_stopped_changes_nothing(machine, publisher)

    load = Load(lab, "agent-1")
    load.start()
    try:
        good = publisher.release("0.9.1")
        code, told = upgrade(machine, good)
        assert (code, told["state"]) == (0, "done"), told
        assert version(machine) == "0.9.1"
        assert machine.read("/opt/agent-proxy/conf/proxy.ini") == settings

        code, told = upgrade(machine, good)
        assert code == 1 and "0.9.1 is not above 0.9.1" in str(told)
        _one_that_does_not_start_is_not_switched_to(machine, publisher)
        _one_that_fails_later_is_taken_back(machine, publisher)
    finally:
        load.end()
    assert load.calls > 20
    assert load.lost == []

    _a_power_cut_while_switching_is_taken_back(machine, publisher)
    machine.appliance("upgrade", "rollback", "--yes")
    machine.until("the first one serves", lambda: version(machine) == __version__)
    assert machine.read("/opt/agent-proxy/conf/proxy.ini") == settings


def _forged_ones_are_refused(machine: Machine, publisher: Publisher) -> None:
    content = bytearray(publisher.release("0.9.1"))
    content[-20_000] ^= 1
    code, told = upgrade(machine, bytes(content))
    assert (code, told["state"]) == (1, "failed"), told
    assert version(machine) == __version__
    assert not machine.path("/opt/agent-proxy/releases/0.9.1").exists()


def _one_that_is_stopped_changes_nothing(machine: Machine, publisher: Publisher) -> None:
    """By Ctrl-C while it is installed, before its switch; a later one succeeds all the same."""
    machine.write(FILE, publisher.release("0.9.1"), 0o600)
    command = f"""{APPLIANCE} upgrade install --yes {FILE} & pid=$!
while ! grep -q installing {TOLD} 2>/dev/null; do sleep 0.1; done
kill -TERM $pid; wait $pid"""
    done = machine.try_run("sh", "-c", command, timeout_s=300)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "stopping: what was begun is taken back" in done.stderr
    assert "it was stopped by whoever waited (nothing was changed)" in done.stdout
    assert machine.document(TOLD)["state"] == "failed"
    assert version(machine) == __version__
    assert not machine.path("/opt/agent-proxy/releases/0.9.1").exists()
    assert not machine.is_active("agent-proxy-trial.service")
    assert not machine.path("/run/agent-proxy/upgrade-stop").exists()


def _one_that_does_not_start_is_not_switched_to(machine: Machine, publisher: Publisher) -> None:
    code, told = upgrade(machine, publisher.release("0.9.2", _DOES_NOT_START))
    assert (code, told["state"]) == (1, "failed"), told
    assert "failed its trial" in str(told)
    assert version(machine) == "0.9.1"


def _one_that_fails_later_is_taken_back(machine: Machine, publisher: Publisher) -> None:
    code, told = upgrade(machine, publisher.release("0.9.3", _FAILS_LATER))
    assert (code, told["state"]) == (1, "rolled back"), told
    machine.until("the old one serves", lambda: version(machine) == "0.9.1")
    assert machine.path("/opt/agent-proxy/current").readlink() == Path("releases/0.9.1")


def _a_power_cut_while_switching_is_taken_back(machine: Machine, publisher: Publisher) -> None:
    """The worst moment: everything is of the new release, nobody has watched it yet."""
    content = publisher.release("0.9.4")
    machine.write(FILE, content, 0o600)
    enter = threading.Thread(target=upgrade, args=(machine, content))
    unfinished = machine.path("/var/lib/agent-proxy/upgrade-unfinished.json")
    current = machine.path("/opt/agent-proxy/current")
    enter.start()
    machine.until(
        "it has switched", lambda: unfinished.exists() and str(current.readlink()).endswith("0.9.4")
    )
    machine.kill()
    enter.join()
    machine.boot()
    machine.until("it is ready", lambda: machine.ready()["ready"])
    assert version(machine) == "0.9.1"
    assert not unfinished.exists()
